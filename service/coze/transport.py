"""HTTP to Coze: requests that the SDK makes and signs, carried by aiohttp; its failures as the service's."""

import asyncio
import re
import ssl
import time
from collections.abc import AsyncIterable, Awaitable, Sequence
from typing import Any, cast

import aiohttp
import httpx
import msgspec
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
    response = await client.request(
        request.method, URL(request.url), params=request.params, data=data, headers=headers, allow_redirects=False
    )
    _notice_loss(response)
    return response


def _notice_loss(response: aiohttp.ClientResponse) -> None:
    """Tells a reader of the body when the connection goes: after a malformed chunk aiohttp closes it silently."""
    protocol = response.connection.protocol if response.connection is not None else None
    closed = protocol.closed if protocol is not None else None
    if closed is None:
        return

    def on_closed(closed: "asyncio.Future[None]") -> None:
        _take_note(closed)
        if not response.content.is_eof() and response.content.exception() is None:
            response.content.set_exception(aiohttp.ClientPayloadError("the connection is gone"))

    def let_go() -> None:
        # The connection goes on to other requests, and would keep this one's answer for as long.
        closed.remove_done_callback(on_closed)
        closed.remove_done_callback(_take_note)
        closed.add_done_callback(_take_note)

    closed.add_done_callback(on_closed)
    response.content.on_eof(let_go)


def _take_note(closed: "asyncio.Future[None]") -> None:
    if not closed.cancelled():
        closed.exception()


async def read_body(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body, at most `limit` bytes of it. Raises aiohttp.ClientError."""
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
