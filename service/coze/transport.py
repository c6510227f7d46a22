"""HTTP to Coze: requests that the SDK makes and signs, on connections of aiohttp's pool; failures as the service's.

aiohttp finds, secures, bounds and keeps the connections. Its client is not used: what a chat needs of one is little
(service/coze/exchange.py), and of the time from a request to Coze's first word it would take a good part.
"""

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, cast

import aiohttp
import httpx
import msgspec
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from yarl import URL

from service.coze.exchange import NO_ANSWER, Answer, Exchange, Receiver, Span
from service.coze.sdk import HTTPRequest
from service.errors import BROKE_OFF, TIMED_OUT, UNREACHABLE, ServiceError

# Connections beyond those of the chats: uploads, cancellations, probes.
_SPARE_CONNECTIONS = 100
# How often one is made until it is good for anything.
_CONNECTS = 3
# The length of an answer that is no stream.
_MAX_ANSWER_BYTES = 4 * 1024 * 1024

# Begins a span for a request of this method and URL, and may add to its headers.
Trace = Callable[[str, URL, dict[str, str]], Span | None]


class _Connector(aiohttp.TCPConnector):
    """Leaves no connection half made, whoever is cancelled: uvloop fails loudly where that is within a handshake."""

    async def _create_connection(self, req: Any, traces: Any, timeout: aiohttp.ClientTimeout) -> ResponseHandler:
        making = asyncio.ensure_future(super()._create_connection(req, traces, timeout))
        try:
            await asyncio.wait((making,))
        except asyncio.CancelledError:
            making.add_done_callback(_close_unused)
            asyncio.get_running_loop().call_later(timeout.connect or 0, making.cancel)
            raise
        return making.result()


def _close_unused(making: asyncio.Future[ResponseHandler]) -> None:
    if not making.cancelled() and making.exception() is None:
        making.result().close()


class Transport:
    """The connections to Coze at `base`, bounded by what the service can ask for at once. To be made in the loop."""

    def __init__(self, base: str, *, connect_timeout: float, max_chats: int, trace: Trace | None) -> None:
        url = URL(base)
        self._connector = _Connector(limit=max_chats + _SPARE_CONNECTIONS, ttl_dns_cache=60)
        # Never sent: it tells the pool where to.
        self._target = aiohttp.ClientRequest("GET", url, loop=asyncio.get_running_loop())
        self._host = url.host_port_subcomponent or ""
        self._timeout = aiohttp.ClientTimeout(total=None, connect=connect_timeout)
        self._trace = trace

    async def close(self) -> None:
        await self._connector.close()

    async def begin(self, request: HTTPRequest[Any], receiver: Receiver, form: httpx.Request | None = None) -> Exchange:
        """Sends what the SDK has made; of a `form` only the head. Raises ServiceError if Coze cannot be reached.

        Once something is sent, nothing is waited for: whoever is cancelled in here has asked Coze nothing.
        """
        url = URL(request.url)
        if request.params:
            url = url.extend_query(request.params)
        # Compressed answers would be held back while they fill a block, and could be bombs.
        headers = {"Host": self._host, "Accept": "*/*", "Accept-Encoding": "identity", **(request.headers or {})}
        body = b""
        if form is not None:
            headers |= {name: form.headers[name] for name in ("Content-Type", "Content-Length")}
        elif request.json_body is not None:
            body = msgspec.json.encode(request.json_body)
            headers |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        span = self._trace(request.method, url, headers) if self._trace is not None else None
        try:
            head = _head(request.method, url, headers)
            connection = await self._connect()
        except BaseException as error:
            if span is not None:
                span.unanswered(type(error).__name__)
            if isinstance(error, aiohttp.ClientError | OSError):
                raise _connect_failure(error) from None
            raise
        exchange = Exchange(connection, receiver, span)
        exchange.write(head + body)
        return exchange

    async def _connect(self) -> Connection:
        for _ in range(_CONNECTS):
            connection = await self._connector.connect(self._target, [], self._timeout)
            assert connection.protocol is not None
            if connection.protocol.is_connected() and not connection.protocol.should_close:
                return connection
            # A new one that is closed already, or over which something came that nobody had asked for.
            connection.close()
        raise ServiceError(BROKE_OFF, cause=NO_ANSWER)

    async def exchange(self, request: HTTPRequest[Any], *, repeatable: bool = False) -> tuple[Answer, bytes]:
        """The answer and the body, up to the bound. Raises ServiceError if none comes, or it breaks off."""
        try:
            return await self._exchange(request)
        except ServiceError as failure:
            # As when Coze closes an idle connection while the request is on its way.
            if not repeatable or failure.cause != NO_ANSWER:
                raise
        return await self._exchange(request)

    async def _exchange(self, request: HTTPRequest[Any]) -> tuple[Answer, bytes]:
        # httpx writes the form: streamed, and with its length known.
        form = request.as_httpx if request.files else None
        whole = _Whole()
        exchange = whole.exchange = await self.begin(request, whole, form)
        try:
            if form is not None:
                await exchange.send(cast("httpx.AsyncByteStream", form.stream))
            return await whole.come()
        finally:
            exchange.close()


class _Whole:
    """Receives an answer that is wanted whole."""

    def __init__(self) -> None:
        self.exchange: Exchange | None = None
        self._answer: Answer | None = None
        self._body = bytearray()
        self._failure: ServiceError | None = None
        self._over = asyncio.Event()

    def answered(self, answer: Answer) -> None:
        self._answer = answer

    def received(self, part: bytes) -> None:
        self._body += part
        if len(self._body) >= _MAX_ANSWER_BYTES:
            assert self.exchange is not None
            self.exchange.close()
            self._over.set()

    def ended(self, failure: ServiceError | None) -> bool:
        self._failure = failure
        self._over.set()
        return True

    async def come(self) -> tuple[Answer, bytes]:
        await self._over.wait()
        failure, self._failure = self._failure, None
        if failure is not None:
            failure.logid = self._answer.logid if self._answer else None
            try:
                raise failure
            finally:
                # It leads back to here: nothing of it shall be left for the garbage collector.
                del failure
        assert self._answer is not None  # it ended well
        return self._answer, bytes(self._body[:_MAX_ANSWER_BYTES])


@contextlib.asynccontextmanager
async def time_limit(seconds: float) -> AsyncIterator[None]:
    """For an exchange and what leads to it. Raises ServiceError in its time."""
    started = time.monotonic()
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise ServiceError(TIMED_OUT, cause=f"no answer in {time.monotonic() - started:.1f} s") from None


def _head(method: str, url: URL, headers: Mapping[str, str]) -> bytes:
    """The head of a request, RFC 9112, sections 3 and 5."""
    lines = [f"{method} {url.raw_path_qs} HTTP/1.1", *[f"{name}: {value}" for name, value in headers.items()]]
    head = "\r\n".join(lines)
    if head.count("\r\n") != len(lines) - 1 or not head.replace("\r\n", "").isprintable() or not head.isascii():
        # Not quoted: it may hold the token.
        raise ValueError("A request's header is not printable ASCII on one line.")
    return head.encode() + b"\r\n\r\n"


def _connect_failure(error: BaseException) -> ServiceError:
    """Why there is no connection. The error's own text stays out: it may quote what was sent."""
    cause = type(error).__name__
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ssl.SSLError):
        cause = "TLS failure"
    match error:
        case TimeoutError():
            failure = TIMED_OUT
        case aiohttp.ClientConnectorError():
            failure = UNREACHABLE
        case _:
            failure = BROKE_OFF
    return ServiceError(failure, cause=cause)
