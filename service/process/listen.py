"""Resources taken before serving: the limit of open files, the listening socket, the port of the metrics."""

import contextlib
import errno
import resource
import socket
import sys

import structlog

from service.observe import metrics
from service.settings import Settings, SettingsError
from service.settings.values import MEMORY

log = structlog.get_logger()

# A chat has two descriptors: the client's connection and Coze's. The rest is for everything else, with a margin.
_FILES_OF_A_CHAT = 2
_OTHER_FILES = 200
# The limit to ask for where the hard limit is infinite, which macOS does not accept as a soft limit.
_MANY_FILES = 10_240


def allow_files(settings: Settings) -> None:
    """Raises the limit of open files, which counts connections, for this process and its children.

    The usual soft limit is 1,024. Beyond it uvloop refuses clients without a log line.
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
    """Opens the listening socket and logs its address. Raises SettingsError if HOST and PORT cannot be used."""
    try:
        family = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0][0]
        # A socket on every IPv6 address accepts IPv4 as well.
        both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
        address = settings.host, settings.port
        listener = socket.create_server(address, family=family, backlog=2048, dualstack_ipv6=both)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "that is no host name"
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            reason = "another program listens there. Stop it, or set PORT to another number"
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
    """Returns the address at which this machine reaches the service."""
    host, port = listener.getsockname()[:2]
    return f"http://{_reachable(host)}:{port}"


def serve_metrics(settings: Settings, folder: str | None) -> None:
    """Serves `/metrics` on METRICS_PORT, for this process or for the workers that write into `folder`.

    Raises SettingsError if the port cannot be used.
    """
    try:
        port = metrics.serve(settings.host, settings.metrics_port or 0, folder)
    except OSError as error:
        raise SettingsError(f"METRICS_PORT {settings.metrics_port} cannot be used: {error.strerror}.") from None
    log.info("serving metrics", url=f"http://{_reachable(settings.host)}:{port}/metrics", port=port)


def _reachable(host: str) -> str:
    """Returns an address at which this machine reaches `host`: loopback for a wildcard address."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not listened on
    return f"[{host}]" if ":" in host else host
