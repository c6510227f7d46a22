"""The server: uvicorn, stopping as an operator expects it to."""

import asyncio
import contextlib
import ctypes
import gc
import logging
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from types import FrameType

import structlog
import uvicorn
from litestar.types import ASGIApp

from service.bounds import BOUNDS
from service.coze import Coze, Route
from service.http.protocol import NarrowedProtocol, Protocol
from service.observe import metrics
from service.process.workers import RETIRE, Parent
from service.settings import Settings, SettingsError
from service.settings.values import MEMORY

log = structlog.get_logger()


# How many more objects there must be before garbage is searched for among them, how many such searches make one among
# the older ones too, and how many of those one among all. Python's own numbers are 700, 10 and 10. What a connection
# that breaks leaves behind may wait for a search among all, together with some 180,000 other objects at most.
_GARBAGE_THRESHOLDS = (10_000, 5, 2)
# The size in bytes of what malloc takes from the system by itself and gives back at once, and the number of that
# parameter in glibc's malloc.h.
_LARGE_BYTES = 128 * 1024
_M_MMAP_THRESHOLD = -3
# What a chat opens: the client's connection and Coze's. And what there is beside the chats, with room to spare.
_FILES_OF_A_CHAT = 2
_OTHER_FILES = 200
# How many files to ask for where there may be any number, which macOS does not take for an answer.
_MANY_FILES = 10_240


class _Server(uvicorn.Server):
    """Stops in order: no new work, then the chats in flight finish, then those that did not are ended; exit code 0."""

    def __init__(
        self,
        config: uvicorn.Config,
        coze: Coze,
        grace: float,
        on_ready: Callable[[], None],
        on_stop: Callable[[], None],
        parent: Parent | None,
    ) -> None:
        super().__init__(config)
        self._coze = coze
        self._grace = grace
        self._on_ready = on_ready
        self._on_stop = on_stop
        self._parent = parent

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.started:
            return
        # What there is now stays: the garbage collector need not go through it again and again. Nor need it search so
        # often, for a chat leaves it nothing, and all streams wait meanwhile: with 1,000 of them some 60 ms.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GARBAGE_THRESHOLDS)
        _give_memory_back()
        self._on_ready()
        if self._parent is not None:
            self._keep_beating(self._parent)

    def _keep_beating(self, parent: Parent) -> None:
        parent.beat()
        asyncio.get_running_loop().call_later(BOUNDS.worker_beat_seconds, self._keep_beating, parent)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._coze.stopping = self._coze.stopping or sig != RETIRE
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        log.info("stopping", grace_seconds=self._grace)
        self._on_stop()
        loop = asyncio.get_running_loop()
        ends = [
            loop.call_later(self._grace, self._coze.stop_chats),
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
        # uvicorn's own raises the signal once more at the end, and the process would not exit with 0.
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
    coze: Coze,
    settings: Settings,
    listener: socket.socket,
    *,
    on_ready: Callable[[], None] = lambda: None,
    on_stop: Callable[[], None] = lambda: None,
    parent: Parent | None = None,
) -> None:
    """Serves on `listener` until SIGTERM, SIGINT or SIGHUP.

    Calls `on_ready` once it does and `on_stop` when it begins to stop. A worker gives its `parent` signs of life.
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
    _Server(config, coze, settings.shutdown_grace, on_ready, on_stop, parent).run(sockets=[listener])
    if parent is not None:
        parent.say_over()


def _give_memory_back() -> None:
    """Has malloc keep no memory that was a long question's.

    That is glibc's default only until such a piece is freed: then it takes pieces of this size from among the small
    ones, which hold on to the place.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # not everywhere
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def allow_files(settings: Settings) -> None:
    """Has this process and its children open as many files as they may, connections being files too.

    Many systems let a process open 1,024 until it asks for more. Past them uvloop turns clients away without a word.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft == unlimited:
        return
    most = max(soft, _MANY_FILES) if hard == unlimited else hard
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    taken = _FILES_OF_A_CHAT * settings.max_concurrent_chats + _OTHER_FILES
    if soft < taken:
        log.warning("fewer files may be open than MAX_CONCURRENT_CHATS takes", allowed=soft, taken=taken)


def announce(route: Route) -> None:
    """Says what of the way to Coze depends on the machine."""
    if route.proxy is not None:
        log.info("a proxy leads to Coze", proxy=str(route.proxy.address))
    if route.certifi:
        log.warning("this machine has no certificates, those of certifi are trusted")


def listen(settings: Settings) -> socket.socket:
    """The listening socket; says where it is. Raises SettingsError if HOST and PORT cannot be used."""
    try:
        family = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0][0]
        # What listens on every IPv6 address takes IPv4 as well.
        both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
        address = settings.host, settings.port
        listener = socket.create_server(address, family=family, backlog=2048, dualstack_ipv6=both)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "that is no host name"
        raise SettingsError(f"HOST {settings.host} and PORT {settings.port} cannot be used: {reason}.") from None
    url = url_of(listener)
    log.info(
        "listening",
        url=url,
        port=listener.getsockname()[1],
        coze=settings.coze_api_base,
        environment=settings.environment,
        workers=settings.workers,
    )
    if settings.workers > 1 and settings.enable_rate_limit and settings.rate_limit_storage == MEMORY:
        log.warning("each worker counts for itself, and a client may call up to WORKERS times as often")
    if settings.sandbox:
        page = "playground" if settings.playground else ""
        print(f"\nThe sandbox is ready: {url}/{page}  Docs: {url}/docs  Ctrl-C ends it.\n", file=sys.stderr)
    return listener


def url_of(listener: socket.socket) -> str:
    """Where the service is reached from this machine."""
    host, port = listener.getsockname()[:2]
    return f"http://{_reachable(host)}:{port}"


def serve_metrics(settings: Settings, folder: str | None) -> None:
    """Serves `/metrics` on METRICS_PORT, of this process or of the workers that write into `folder`; says where.

    Raises SettingsError if it cannot be used.
    """
    try:
        port = metrics.serve(settings.host, settings.metrics_port or 0, folder)
    except OSError as error:
        raise SettingsError(f"METRICS_PORT {settings.metrics_port} cannot be used: {error.strerror}.") from None
    log.info("serving metrics", url=f"http://{_reachable(settings.host)}:{port}/metrics", port=port)


def _reachable(host: str) -> str:
    """An address to reach `host` by: what listens on all of them is on this machine's own too."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"[{host}]" if ":" in host else host
