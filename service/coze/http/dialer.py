"""Dialling: connections to any of Coze's addresses, through a proxy if there is one, over TLS."""

import asyncio
import socket
import ssl
import traceback

from aiohappyeyeballs import AddrInfoType, start_connection

from service.bounds import BOUNDS
from service.coze.errors import PROXY_AWAY, PROXY_FAILED, PROXY_REFUSES, TIMED_OUT, UNREACHABLE, UNTRUSTED
from service.coze.http.connection import Connection, Owner
from service.coze.http.reader import Reader
from service.coze.http.route import Address, Proxy, Route
from service.errors import Failure, ServiceError


class Dialer:
    """Dials by one `route`, each time within `timeout` seconds. Must be created in the event loop."""

    def __init__(self, route: Route, timeout: float) -> None:
        self._route = route
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._lookup: asyncio.Task[list[AddrInfoType]] | None = None
        self._cached_until = 0.0

    def close(self) -> None:
        if self._lookup is not None:
            self._lookup.cancel()

    async def dial(self, owner: Owner) -> Connection:
        """Opens a connection for `owner`, all the way to Coze. Raises ServiceError if that fails or takes too long."""
        deadline = self._loop.time() + self._timeout
        unreachable = UNREACHABLE if self._route.proxy is None else PROXY_AWAY
        try:
            async with asyncio.timeout_at(deadline):
                addresses = await self._addresses()
                sock = await start_connection(
                    addresses, happy_eyeballs_delay=BOUNDS.coze_next_address_seconds, interleave=1
                )
        except OSError as error:
            if self._lookup is not None and self._lookup.done():
                self._lookup = None
            # The frames refer to the error that refers to them: a cycle for the garbage collector.
            traceback.clear_frames(error.__traceback__)
            raise _refusal(error, unreachable) from None
        _, connection = await self._loop.create_connection(lambda: Connection(owner), sock=sock)
        try:
            if self._route.first.tls:
                await self._secure(connection, self._route.first.host, deadline)
            if self._route.proxy is not None and self._route.coze.tls:
                async with asyncio.timeout_at(deadline):
                    await _tunnel(connection, self._route.coze, self._route.proxy)
                unreachable = UNREACHABLE
                await self._secure(connection, self._route.coze.host, deadline)
        except BaseException as error:
            connection.drop()
            if isinstance(error, OSError):
                # A handshake that takes too long ends as if it had been aborted.
                late = self._loop.time() >= deadline
                raise _refusal(TimeoutError() if late else error, unreachable) from None
            raise
        return connection

    async def _addresses(self) -> list[AddrInfoType]:
        """Returns the addresses of the host to connect to; concurrent calls share one look-up. Raises OSError."""
        if self._lookup is None or self._loop.time() >= self._cached_until:
            self._lookup = self._loop.create_task(self._look_up())
            # Retrieve the error, or asyncio logs that it never was.
            self._lookup.add_done_callback(lambda lookup: lookup.cancelled() or lookup.exception())
            self._cached_until = self._loop.time() + BOUNDS.coze_name_seconds
        return await asyncio.shield(self._lookup)

    async def _look_up(self) -> list[AddrInfoType]:
        host, port, _ = self._route.first
        return [*await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)]

    async def _secure(self, connection: Connection, host: str, deadline: float) -> None:
        assert self._route.tls is not None
        if connection.transport.is_closing():
            raise ConnectionResetError
        # Not asyncio.timeout: uvloop logs an error if a handshake is cancelled.
        patience = max(deadline - self._loop.time(), 0.001)
        secured = await self._loop.start_tls(
            connection.transport, connection, self._route.tls, server_hostname=host, ssl_handshake_timeout=patience
        )
        assert secured is not None
        connection.transport = secured


def _refusal(error: OSError, unreachable: Failure) -> ServiceError:
    """Returns the failure for a connection error, without the error's own text, which may quote the request."""
    match error:
        case TimeoutError():
            return ServiceError(TIMED_OUT, cause="no connection in time")
        case ssl.SSLCertVerificationError():
            return ServiceError(UNTRUSTED, cause="a certificate that is not trusted")
        case ssl.SSLError():
            return ServiceError(unreachable, cause="TLS failure")
        case _:
            return ServiceError(unreachable, cause=type(error).__name__)


async def _tunnel(connection: Connection, target: Address, proxy: Proxy) -> None:
    """Opens a tunnel through a proxy to `target` (RFC 9110, section 9.3.6). Raises ServiceError if it fails."""
    connect = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"
    if proxy.authorization is not None:
        connect += f"Proxy-Authorization: {proxy.authorization}\r\n"
    connection.user = opening = _Opening()
    connection.transport.write(f"{connect}\r\n".encode())
    status = await opening.status
    connection.user = None
    if not 200 <= status < 300:
        failure = PROXY_REFUSES if 300 <= status < 500 and status not in (408, 425, 429) else PROXY_FAILED
        raise ServiceError(failure, cause=f"HTTP {status} of the proxy" if status else "no answer of the proxy")


class _Opening:
    """Reads a proxy's answer to CONNECT. `status` is 0 if that is malformed or missing."""

    def __init__(self) -> None:
        self.status: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._reader = Reader()

    def data_received(self, data: bytes) -> None:
        if self.status.done():
            return
        rest = self._reader.feed(data)
        if (answer := self._reader.answer) is not None:
            # No byte may follow the head before TLS begins.
            self._end(0 if rest and 200 <= answer.status < 300 else answer.status)
        elif self._reader.malformed:
            self._end(0)

    def cut_off(self, exc: Exception | None) -> None:
        self._end(0)

    def _end(self, status: int) -> None:
        self._reader.close()
        if not self.status.done():
            self.status.set_result(status)
