"""HTTP to Coze: requests that the SDK makes and signs, carried by aiohttp; its failures as the service's."""

import asyncio
import re
import ssl
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from typing import Any, cast

import aiohttp
import httpx
import msgspec
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from service.coze.sdk import HTTPRequest
from service.errors import BROKE_OFF, NOT_UNDERSTOOD, TIMED_OUT, UNREACHABLE, ServiceError

# Connections beyond those of the chats: uploads, cancellations, probes.
_SPARE_CONNECTIONS = 100
# The length of a line or of all headers of an answer.
_MAX_HEADER_BYTES = 32 * 1024
# The length of an answer that is no stream.
_MAX_ANSWER_BYTES = 4 * 1024 * 1024


def session(
    *, connect_timeout: float, max_chats: int, trace_configs: Sequence[aiohttp.TraceConfig]
) -> aiohttp.ClientSession:
    """A client whose connections are bounded by what the service can ask for at once, and of no other limit."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=max_chats + _SPARE_CONNECTIONS, ttl_dns_cache=60),
        timeout=aiohttp.ClientTimeout(total=None, connect=connect_timeout),
        cookie_jar=aiohttp.DummyCookieJar(),
        # Compressed answers would be held back while they fill a block, and could be bombs.
        auto_decompress=False,
        skip_auto_headers=("User-Agent",),
        max_line_size=_MAX_HEADER_BYTES,
        max_field_size=_MAX_HEADER_BYTES,
        trace_configs=list(trace_configs),
    )


async def send(client: aiohttp.ClientSession, request: HTTPRequest[Any]) -> aiohttp.ClientResponse:
    """Sends what the SDK has made. Raises aiohttp.ClientError. Redirects are answers, not followed."""
    headers = {**(request.headers or {}), "Accept-Encoding": "identity"}
    data: bytes | AsyncIterable[bytes] | None = None
    if request.files:
        # httpx writes the form: streamed, and with its length known.
        form = request.as_httpx
        headers |= {name: form.headers[name] for name in ("Content-Type", "Content-Length")}
        data = cast("httpx.AsyncByteStream", form.stream)
    elif request.json_body is not None:
        headers["Content-Type"] = "application/json"
        data = msgspec.json.encode(request.json_body)
    return await client.request(
        request.method, URL(request.url), params=request.params, data=data, headers=headers, allow_redirects=False
    )


class _Listening(asyncio.Protocol):
    """Stands between a response's connection and aiohttp's protocol, and passes everything on; see `listen`."""

    def __init__(
        self,
        inner: ResponseHandler,
        transport: asyncio.Transport,
        content: aiohttp.StreamReader,
        on_news: Callable[[], None],
    ) -> None:
        self._inner = inner
        self._transport = transport
        self._content = content
        self._on_news = on_news

    def let_go(self) -> None:
        self._transport.set_protocol(self._inner)

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)
        self._on_news()
        if self._transport.is_closing():
            # aiohttp closes behind the end of the body, or where it is malformed; over TLS that may take long.
            self.end()

    def eof_received(self) -> None:
        self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._inner.connection_lost(exc)
        self.end()

    def end(self) -> None:
        _end(self._content)
        self._on_news()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()


def listen(response: aiohttp.ClientResponse, on_news: Callable[[], None]) -> None:
    """Calls `on_news` as soon as there is something new in the response's body, until it has ended or its connection is
    gone: in the very turn of the loop that read it, where a task that waits is woken in the next.
    """
    content, connection = response.content, response.connection
    protocol = connection.protocol if connection is not None else None
    if protocol is None or protocol.transport is None:
        _end(content)
        return
    listening = _Listening(protocol, protocol.transport, content, on_news)
    protocol.transport.set_protocol(listening)
    # From then on the connection may serve another request.
    content.on_eof(listening.let_go)


def _end(content: aiohttp.StreamReader) -> None:
    """Says of a body whose connection is gone that it has ended: after a malformed chunk aiohttp does not."""
    if not content.is_eof() and content.exception() is None:
        content.set_exception(aiohttp.ClientPayloadError("the connection is gone"))


async def read_body(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body, at most `limit` bytes of it. Raises aiohttp.ClientError."""
    # So that the wait ends with the connection.
    listen(response, lambda: None)
    body = bytearray()
    while len(body) < limit and (chunk := await response.content.readany()):
        body += chunk
    if not response.content.at_eof():
        response.close()
    return bytes(body[:limit])


async def exchange(request: Awaitable[aiohttp.ClientResponse], timeout: float) -> tuple[aiohttp.ClientResponse, bytes]:
    """The response to a request that is being sent, and its body, read to its end. Raises ServiceError."""
    started = time.monotonic()
    try:
        async with asyncio.timeout(timeout):
            response = await request
            try:
                return response, await read_body(response, _MAX_ANSWER_BYTES)
            finally:
                response.release()
    except TimeoutError:
        raise ServiceError(TIMED_OUT, cause=f"no answer in {time.monotonic() - started:.1f} s") from None
    except (aiohttp.ClientError, OSError) as error:
        raise transport_error(error) from None


def logid_of(response: aiohttp.ClientResponse) -> str | None:
    """Coze's id of an exchange. The cloud and Coze Studio name the header differently."""
    logid = response.headers.get("X-Tt-Logid") or response.headers.get("X-Log-ID")
    return logid if logid and len(logid) <= 128 and logid.isascii() and logid.isprintable() else None


def retry_after_of(response: aiohttp.ClientResponse) -> int | None:
    """In how many seconds Coze wants to be asked again, if it says so in seconds and means less than a day."""
    value = response.headers.get("Retry-After", "")
    return int(value) if re.fullmatch(r"[1-9][0-9]{0,4}", value) else None


def transport_error(error: BaseException, logid: str | None = None) -> ServiceError:
    """What a failed exchange means. The error's own text stays out: it may quote what was sent."""
    cause = type(error).__name__
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ssl.SSLError):
        cause = "TLS failure"
    match error:
        case aiohttp.ServerTimeoutError() | asyncio.TimeoutError():
            failure = TIMED_OUT
        case aiohttp.ClientConnectorError() | aiohttp.ClientConnectorDNSError():
            failure = UNREACHABLE
        case aiohttp.ClientResponseError():
            failure = NOT_UNDERSTOOD
        case _:
            failure = BROKE_OFF
    return ServiceError(failure, cause=cause, logid=logid)
