"""The server: uvicorn with an orderly stop."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from types import FrameType

import structlog
import uvicorn
from litestar.types import ASGIApp

from service.bounds import BOUNDS
from service.http.protocol import NarrowedProtocol, Protocol
from service.lifecycle import Lifecycle
from service.process import memory
from service.process.worker import RETIRE, Parent
from service.settings import Settings

log = structlog.get_logger()


class _Server(uvicorn.Server):
    """Stops in order: refuses new work, lets running chats finish, then ends the rest. The exit code is 0."""

    def __init__(
        self,
        config: uvicorn.Config,
        lifecycle: Lifecycle,
        grace: float,
        on_ready: Callable[[], None],
        on_stop: Callable[[], None],
        parent: Parent | None,
    ) -> None:
        super().__init__(config)
        self._lifecycle = lifecycle
        self._grace = grace
        self._on_ready = on_ready
        self._on_stop = on_stop
        self._parent = parent

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.started:
            return
        memory.settle()
        self._on_ready()
        if self._parent is not None:
            self._keep_beating(self._parent)

    def _keep_beating(self, parent: Parent) -> None:
        parent.beat()
        asyncio.get_running_loop().call_later(BOUNDS.worker_beat_seconds, self._keep_beating, parent)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._lifecycle.stopping = self._lifecycle.stopping or sig != RETIRE
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        log.info("stopping", grace_seconds=self._grace)
        self._on_stop()
        loop = asyncio.get_running_loop()
        ends = [
            loop.call_later(self._grace, self._lifecycle.end_grace),
            loop.call_later(self._grace + BOUNDS.last_events_seconds, self._abort_connections),
        ]
        await super().shutdown(sockets)
        for end in ends:
            end.cancel()

    def _abort_connections(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn's own re-raises the signal at the end, and the exit code would not be 0.
        stops = [signal.SIGINT, signal.SIGTERM, RETIRE]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as it is under nohup
            stops.append(signal.SIGHUP)
        before = {sig: signal.signal(sig, self.handle_exit) for sig in stops}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)


def serve(
    app: ASGIApp,
    lifecycle: Lifecycle,
    settings: Settings,
    listener: socket.socket,
    *,
    on_ready: Callable[[], None] = lambda: None,
    on_stop: Callable[[], None] = lambda: None,
    parent: Parent | None = None,
) -> None:
    """Serves on `listener` until SIGTERM, SIGINT or SIGHUP.

    Calls `on_ready` once it accepts connections and `on_stop` when it begins to stop. A worker sends heartbeats to its
    `parent`.
    """
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=Protocol if "*" in settings.cors_allow_origins else NarrowedProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # service/gate/forwarded.py reads them
        timeout_graceful_shutdown=int(settings.shutdown_grace) + BOUNDS.last_events_seconds + BOUNDS.uvicorn_seconds,
    )
    _Server(config, lifecycle, settings.shutdown_grace, on_ready, on_stop, parent).run(sockets=[listener])
    if parent is not None:
        parent.end_beats()
