"""What the process takes from the system before it serves: open files, its address, the port of its figures."""

import contextlib
import resource
import socket
import sys

import structlog

from service.observe import metrics
from service.settings import Settings, SettingsError
from service.settings.values import MEMORY

log = structlog.get_logger()

# What a chat opens: the client's connection and Coze's. And what there is beside the chats, with room to spare.
_FILES_OF_A_CHAT = 2
_OTHER_FILES = 200
# How many files to ask for where there may be any number, which macOS does not take for an answer.
_MANY_FILES = 10_240


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
