"""A request and its answer, through the messages of ASGI and beside them.

ASGI has a task wait for the client to leave, and await each part of an answer. A stream of many small parts pays for
that with every part. So the server (service/http/protocol.py) also puts the `Connection` into the request's scope: it
calls back as soon as the client leaves, and writes without waiting.
"""

import asyncio
import re
from collections.abc import Callable, Coroutine, Iterable
from http import HTTPStatus
from typing import Any, Protocol, TypeVar

import structlog
from litestar.types import ASGIApp, HTTPReceiveMessage, Message, Scope

from service.errors import BUG, ClientLeft, ServiceError, envelope
from service.http.headers import Header
from service.http.outflow import Outflow

log = structlog.get_logger()

T = TypeVar("T")

CONNECTION = "connection"  # its place in the state of a scope

_PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}
# Statuses whose answers have no body (RFC 9112, section 6.3).
_BODILESS = frozenset({204, 304})
_LAST_CHUNK = b"0\r\n\r\n"
# Characters by which a header would not end where it is meant to.
_UNFIT = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def _nothing() -> None:
    pass


class Client(Protocol):
    """The server's end of a client's connection, over which one request comes after the other."""

    transport: asyncio.Transport
    outflow: Outflow

    @property
    def own_headers(self) -> Iterable[Header]:
        """The headers that the server adds to every answer."""

    def read_on(self) -> None:
        """Resumes reading if it was paused."""

    def answered(self, request: "Connection") -> None:
        """Takes note that the answer to `request` is complete."""


class Connection:
    """A client's connection for the time of one request.

    `on_left` is called when the client leaves before its answer is complete. `on_full` and `on_drained` are for
    backpressure: they are called when the write buffer fills up, and when it has drained.
    """

    __slots__ = (
        "_body",
        "_chunked",
        "_client",
        "_delivered",
        "_expects_continue",
        "_has_body",
        "_head",
        "_http_1_0",
        "_is_head",
        "_news",
        "_unsent",
        "complete",
        "fault",
        "last",
        "left",
        "on_drained",
        "on_full",
        "on_left",
        "reading",
        "started",
    )

    def __init__(self, client: Client, *, http_1_0: bool, is_head: bool, expects_continue: bool, last: bool) -> None:
        self._client = client
        self._http_1_0 = http_1_0
        self._is_head = is_head
        self._expects_continue = expects_continue
        self._body = bytearray()  # of the request: what nobody has received yet
        self._delivered = False  # all of it
        self._news: asyncio.Future[None] | None = None  # while somebody waits to receive
        self.reading = True  # more of the request is to come
        self.fault: str | None = None  # in the request's body: no more of it can be read
        self.started = False  # the answer
        self.complete = False
        self.last = last  # the connection ends with this answer
        self._head = b""  # of the answer, until it is written
        self._has_body = False
        self._chunked = False
        self._unsent: int | None = None  # bytes of a body whose length was told
        self.left = False
        self.on_left: Callable[[], object] = _nothing
        self.on_full: Callable[[], object] = _nothing
        self.on_drained: Callable[[], object] = _nothing

    @property
    def full(self) -> bool:
        return self._client.outflow.full

    def write(self, part: bytes) -> None:
        """Writes a part of an answer that has begun without a length. A full connection buffers it."""
        self._write(_chunk(part) if self._chunked else part)

    def end(self, last: bytes = b"") -> None:
        """Ends an answer that has begun without a length, with a `last` part if there is one."""
        if not self.left:
            self._end(last)

    async def drained(self) -> bool:
        """Waits until more may be written, also after a complete answer. Returns False if the client leaves instead."""
        return await self._client.outflow.drained()

    # Called by the server.

    def add(self, part: bytes) -> int:
        """Adds to the request's body. Returns the number of its bytes that wait to be received."""
        self._body += part
        self._wake()
        return len(self._body)

    def end_of_request(self, fault: str | None = None) -> None:
        """Takes note that the request has ended, or that the rest of it cannot be read because of a `fault`."""
        self.reading = False
        self.fault = fault
        self._wake()

    def lose(self) -> None:
        """Takes note that the client has left."""
        if not self.left:
            self.left = True
            self._wake()
            self.on_left()

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        """Calls `app` to answer the request."""
        try:
            await app(scope, self._receive, self._send)
        except Exception as error:
            # Raised outside of the layer that turns failures into answers.
            log.error("bug", exc_info=error)
            if not self.started and not self.left:
                body = envelope(scope["path"], ServiceError(BUG))
                headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
                self._begin(BUG.status, headers)
                self._add(body)
                self._end()
        finally:
            if not self.complete:
                self._client.transport.close()

    async def _receive(self) -> HTTPReceiveMessage:
        """Returns the next piece of the request's body, then the disconnect (ASGI's `receive`).

        The disconnect comes once the client has left, its answer is complete, or the body cannot be read further.
        """
        if self._expects_continue and not self.started:
            self._client.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._expects_continue = False
        while not (self._body or self.left or self.complete) and (self.reading or self._delivered):
            self._news = asyncio.get_running_loop().create_future()
            try:
                await self._news
            finally:
                self._news = None
        if self.left or self.complete or (self.fault and not self._body):
            return {"type": "http.disconnect"}
        body = bytes(self._body)
        self._body.clear()
        self._delivered = not self.reading and not self.fault
        # After the last piece, too: else nobody would notice that the client leaves.
        self._client.read_on()
        return {"type": "http.request", "body": body, "more_body": not self._delivered}

    async def _send(self, message: Message) -> None:
        """Writes the answer's head, or a part of its body (ASGI's `send`)."""
        if self.full:
            await self.drained()
        if self.left:
            return
        if message["type"] == "http.response.start":
            self._begin(message["status"], message.get("headers", ()))
        elif message["type"] == "http.response.body":
            self._add(message.get("body", b""))
            if not message.get("more_body", False):
                self._end()

    def _begin(self, status: int, headers: Iterable[Header]) -> None:
        self.started = True
        lines = [b"HTTP/1.1 %d %b" % (status, _PHRASES.get(status, b""))]
        for name, value in (*self._client.own_headers, *headers):
            name = name.lower()
            if name == b"connection":
                self.last = True  # its value is always `close`
                continue
            if name == b"content-length":
                self._unsent = int(value)
            lines.append(b"%b: %b" % (name, value))
        self._has_body = not self._is_head and status not in _BODILESS
        if self._has_body and self._unsent is None:
            if self._http_1_0:
                # It knows no chunks: the answer ends with the connection (RFC 9112, section 6.3).
                self.last = True
            else:
                self._chunked = True
                lines.append(b"transfer-encoding: chunked")
        if self.last:
            lines.append(b"connection: close")
        if any(map(_UNFIT.search, lines)):
            raise ValueError("A header of the answer has a character that none may have.")
        self._head = b"\r\n".join((*lines, b"", b""))
        # What follows in this turn of the loop goes into the same write: each is a system call.
        asyncio.get_running_loop().call_soon(self._write, b"")

    def _add(self, body: bytes) -> None:
        if not self._has_body or not body:
            return
        if self._unsent is not None:
            self._unsent -= len(body)
            if self._unsent < 0:
                raise ValueError("The answer's body is longer than its Content-Length.")
        self.write(body)

    def _end(self, last: bytes = b"") -> None:
        if not self._chunked and self._has_body and self._unsent:
            raise ValueError("The answer's body is shorter than its Content-Length.")
        if self._chunked:
            last = (_chunk(last) if last else b"") + _LAST_CHUNK
        self._write(last)
        self.complete = True
        self._wake()
        self._client.answered(self)

    def _write(self, data: bytes) -> None:
        """Writes the head, unless it is written, and `data`."""
        if self.left:
            return
        head, self._head = self._head, b""
        if head:
            self._client.transport.writelines([head, data])
        elif data:
            self._client.transport.write(data)

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)


def _chunk(part: bytes) -> bytes:
    """Encodes a part of a body by RFC 9112, section 7.1."""
    return b"%x\r\n%b\r\n" % (len(part), part)


def connection_of(scope: Scope) -> Connection:
    connection: Connection = scope["state"][CONNECTION]
    return connection


async def unless_client_leaves(connection: Connection, work: Coroutine[Any, Any, T]) -> T:
    """Returns the result of `work`. Cancels it and raises ClientLeft as soon as the client leaves."""
    if connection.left:
        work.close()
        raise ClientLeft
    task = asyncio.current_task()
    assert task is not None
    others = task.cancelling()
    left = False

    def on_left() -> None:
        nonlocal left
        left = True
        task.cancel()

    connection.on_left = on_left
    try:
        result = await work
        if not left:
            return result
    except asyncio.CancelledError:
        # Ours, unless somebody else wants the task cancelled too.
        if not left or task.cancelling() > others + 1:
            raise
    finally:
        connection.on_left = _nothing
        if left:
            task.uncancel()
    raise ClientLeft
