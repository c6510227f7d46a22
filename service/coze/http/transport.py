"""HTTP to Coze: sends requests that the SDK makes and signs, on connections of the pool."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, cast
from urllib.parse import quote, urlencode, urlsplit

import httpx
import msgspec

from service.bounds import BOUNDS
from service.coze.errors import TIMED_OUT
from service.coze.http.exchange import Exchange, Receiver
from service.coze.http.observer import CallObserver
from service.coze.http.pool import NO_ANSWER, Pool
from service.coze.http.reader import Answer
from service.coze.http.route import Route
from service.coze.sdk import HTTPRequest
from service.errors import ServiceError

# Characters of a path that are not escaped, "%" included (RFC 3986, section 3.3).
_PATH = "/%:@!$&'()*+,;=~"


class Transport:
    """The transport by one `route`. `connect_timeout` is in seconds. Must be created in the event loop."""

    def __init__(self, route: Route, *, connect_timeout: float, max_chats: int, observer: CallObserver) -> None:
        self._pool = Pool(route, limit=max_chats + BOUNDS.coze_spare_connections, connect_timeout=connect_timeout)
        self._observer = observer
        self._host = route.coze.name
        # Requests to http:// go to the proxy itself, with an absolute target; all others go through its tunnel.
        reader = route.proxy if not route.coze.tls else None
        self._prefix = f"http://{self._host}" if reader is not None else ""
        authorization = reader.authorization if reader is not None else None
        self._for_proxy = {"Proxy-Authorization": authorization} if authorization is not None else {}

    async def close(self) -> None:
        await self._pool.close()

    async def begin(self, request: HTTPRequest[Any], receiver: Receiver, form: httpx.Request | None = None) -> Exchange:
        """Sends a request of the SDK's; of a `form` only the head. Raises ServiceError if Coze cannot be reached.

        Nothing is awaited after the first byte is sent: if this is cancelled, Coze has not been asked.
        """
        # Compression delays a stream until a block is full, and could hide a bomb.
        headers = {"Host": self._host, "Accept": "*/*", "Accept-Encoding": "identity", **(request.headers or {})}
        body = b""
        if form is not None:
            headers |= {name: form.headers[name] for name in ("Content-Type", "Content-Length")}
        elif request.json_body is not None:
            body = msgspec.json.encode(request.json_body)
            headers |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        call = self._observer.begin_call(request.method, request.url, headers)
        try:
            head = _head(request.method, self._target(request), headers | self._for_proxy)
            connection = await self._pool.take()
        except BaseException as error:
            call.unanswered(getattr(error, "cause", None) or type(error).__name__)
            raise
        exchange = Exchange(connection, receiver, call)
        exchange.write(head + body)
        return exchange

    def _target(self, request: HTTPRequest[Any]) -> str:
        """Returns the target of the request line (RFC 9112, section 3.2)."""
        path = quote(urlsplit(request.url).path, safe=_PATH)
        return self._prefix + path + ("?" + urlencode(request.params) if request.params else "")

    async def exchange(self, request: HTTPRequest[Any], *, repeatable: bool = False) -> tuple[Answer, bytes]:
        """Returns the answer and its body, up to the bound. Raises ServiceError if it is missing or incomplete.

        A `repeatable` request is sent once more if its connection ends without an answer.
        """
        try:
            return await self._exchange_once(request)
        except ServiceError as failure:
            # Coze may close an idle connection just as the request is sent.
            if not repeatable or failure.cause != NO_ANSWER:
                raise
        return await self._exchange_once(request)

    async def _exchange_once(self, request: HTTPRequest[Any]) -> tuple[Answer, bytes]:
        # httpx encodes the form, as a stream of known length.
        form = request.as_httpx if request.files else None
        whole = _WholeAnswer()
        exchange = whole.exchange = await self.begin(request, whole, form)
        try:
            if form is not None:
                await exchange.send(cast("httpx.AsyncByteStream", form.stream))
            return await whole.collect()
        finally:
            exchange.close()


class _WholeAnswer:
    """Receiver that collects a whole answer."""

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
        if len(self._body) >= BOUNDS.coze_answer_bytes:
            assert self.exchange is not None
            self.exchange.close()
            self._over.set()

    def ended(self, failure: ServiceError | None) -> bool:
        self._failure = failure
        self._over.set()
        return True

    async def collect(self) -> tuple[Answer, bytes]:
        await self._over.wait()
        failure, self._failure = self._failure, None
        if failure is not None:
            failure.logid = self._answer.logid if self._answer else None
            try:
                raise failure
            finally:
                # Its traceback refers to this frame: a cycle for the garbage collector.
                del failure
        assert self._answer is not None  # it ended well
        return self._answer, bytes(self._body[: BOUNDS.coze_answer_bytes])


@contextlib.asynccontextmanager
async def time_limit(seconds: float) -> AsyncIterator[None]:
    """Bounds the block in time. Raises ServiceError when `seconds` are over."""
    started = time.monotonic()
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise ServiceError(TIMED_OUT, cause=f"no answer in {time.monotonic() - started:.1f} s") from None


def _head(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    """Returns the head of a request (RFC 9112, sections 3 and 5)."""
    lines = [f"{method} {target} HTTP/1.1", *[f"{name}: {value}" for name, value in headers.items()]]
    head = "\r\n".join(lines)
    if head.count("\r\n") != len(lines) - 1 or not head.replace("\r\n", "").isprintable() or not head.isascii():
        # Do not quote it: it may hold the token.
        raise ValueError("A request's header is not printable ASCII on one line.")
    return head.encode() + b"\r\n\r\n"
