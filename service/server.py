"""The server: uvicorn, stopping as an operator expects it to."""

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Iterator
from types import FrameType

import structlog
import uvicorn
from litestar.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.coze import Coze
from service.errors import envelope
from service.settings import Settings

log = structlog.get_logger()

# How long uvicorn still waits once SHUTDOWN_GRACE is over, for the last events to be written.
_LAST_WORDS_SECONDS = 5


class _Protocol(HttpToolsProtocol):
    """Answers what is no HTTP request with the envelope too."""

    def send_400_response(self, msg: str) -> None:
        body = envelope("", msg)
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
            b"access-control-allow-origin: *\r\nconnection: close\r\n\r\n%b" % (len(body), body)
        )
        self.transport.close()


class _Server(uvicorn.Server):
    """Stops in order: no new work, then the chats in flight finish, then those that did not are ended; exit code 0."""

    def __init__(self, config: uvicorn.Config, coze: Coze, grace: float) -> None:
        super().__init__(config)
        self._coze = coze
        self._grace = grace

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._coze.stopping = True
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        log.info("stopping", grace_seconds=self._grace)
        ending = asyncio.get_running_loop().call_later(self._grace, self._coze.stop_chats)
        await super().shutdown(sockets)
        ending.cancel()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn's own raises the signal once more at the end, and the process would not exit with 0.
        before = {sig: signal.signal(sig, self.handle_exit) for sig in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)


def serve(app: ASGIApp, coze: Coze, settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT. Raises SystemExit with a code other than 0 if it cannot start."""
    with _listen(settings.host, settings.port) as listener:
        config = uvicorn.Config(
            app,
            loop="uvloop",
            http=_Protocol,
            ws="none",
            lifespan="on",
            log_config=None,
            log_level=logging.WARNING,
            access_log=False,
            server_header=False,
            proxy_headers=bool(settings.forwarded_allow_ips),
            forwarded_allow_ips=list(settings.forwarded_allow_ips),
            timeout_graceful_shutdown=int(settings.shutdown_grace) + _LAST_WORDS_SECONDS,
            timeout_keep_alive=75,
        )
        host, port = listener.getsockname()[:2]
        url = f"http://{_reachable(host)}:{port}"
        log.info("listening", url=url, port=port, coze=settings.coze_api_base, environment=settings.environment)
        if settings.sandbox:
            print(f"\nThe sandbox is ready: {url}  Docs: {url}/docs  Ctrl-C ends it.\n", file=sys.stderr)
        _Server(config, coze, settings.shutdown_grace).run(sockets=[listener])


def _reachable(host: str) -> str:
    """An address to reach `host` by: what listens on all of them is on this machine's own too."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"[{host}]" if ":" in host else host


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise SystemExit(f"HOST {host} and PORT {port} cannot be used: {error.strerror}.") from None
