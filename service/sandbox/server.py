"""Runs the sandbox: in the foreground until a signal, or in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator

from aiohttp import web

from .app import make_app
from .settings import Flavour, Settings
from .world import WORLD


@contextlib.asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[str]:
    """Serves while the block runs; gives the base URL. Raises OSError where it can not listen."""
    app = make_app(settings)
    # handler_cancellation tells a stream at once that its client has left.
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        app[WORLD].server = runner.server
        await web.TCPSite(runner, settings.host, settings.port, backlog=1024).start()
        host, port = runner.addresses[0][:2]
        yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    finally:
        await runner.cleanup()


@contextlib.contextmanager
def running(
    host: str = "127.0.0.1", port: int = 0, delta_seconds: float = 0.05, flavour: Flavour = "cloud"
) -> Iterator[str]:
    """Runs a sandbox in a daemon thread while the block runs; gives its base URL, as http://127.0.0.1:40123.

    host: the address to listen on. port: 0 for any free one. delta_seconds: the pause between two words of an
    answer, in seconds. flavour: "cloud" or "studio". Raises OSError where it can not listen.
    """
    settings = Settings(host, port, delta_seconds, flavour)
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    outcome: list[str | BaseException] = []

    async def serve() -> None:
        try:
            async with serving(settings) as url:
                outcome.append(url)
                ready.set()
                await stop.wait()
        except BaseException as error:
            outcome.append(error)
            raise
        finally:
            ready.set()

    def main() -> None:
        with contextlib.suppress(OSError), asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=main, name="coze-sandbox", daemon=True)
    thread.start()
    ready.wait()
    if isinstance(outcome[0], BaseException):
        thread.join()
        raise outcome[0]
    try:
        yield outcome[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
