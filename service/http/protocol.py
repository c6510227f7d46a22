"""HTTP/1.1 (RFC 9112) on one client's connection: which request is answered when, and when the connection ends.

uvicorn makes a `Protocol` for each connection. Everything a client sends is bounded in bytes and in time: heads and
framing in service/http/reader.py, their time and pipelined requests here, bodies in service/http/body.py.
"""

import asyncio
import contextvars
from collections import deque
from collections.abc import Iterable
from typing import Any, cast

import uvicorn
from litestar.types import ASGIApp, Scope
from uvicorn.server import ServerState

from service.bounds import BOUNDS
from service.errors import BAD_REQUEST, ServiceError, envelope
from service.http.connection import CONNECTION, Connection
from service.http.head import Address, Head, target_of
from service.http.headers import Header, common_headers
from service.http.outflow import Outflow
from service.http.reader import RequestReader
from service.observe.report import report_refusal


class Protocol(asyncio.Protocol):
    """A client's connection. Malformed or oversized input ends it, and so does a client that stalls."""

    # For the answer to a malformed request, whose origin is unknown.
    cors: tuple[Header, ...] = ((b"access-control-allow-origin", b"*"),)

    transport: asyncio.Transport
    outflow: Outflow

    def __init__(
        self, config: uvicorn.Config, server_state: ServerState, app_state: dict[str, Any], _loop: object
    ) -> None:
        self._app = config.loaded_app
        self._server = server_state
        self._state = app_state
        self._loop = asyncio.get_running_loop()
        # A fresh context for each request's task: one may start within the task of the request before it.
        self._context = contextvars.copy_context()
        self._addresses: tuple[Address, ...] = (None, None)  # the server's and the client's
        self._deadline: asyncio.TimerHandle | None = None  # for a head
        self._stopping = False
        self._reader = RequestReader(self)
        # The request being read, the one being answered, pipelined requests that are parsed, and the unparsed rest.
        self._body_of: Connection | None = None
        self._current: Connection | None = None
        self._waiting: deque[tuple[Connection, Scope]] = deque()
        self._unparsed = b""
        self._idle = False  # no byte of the next request has come
        self._paused = False
        self._discarding = False  # all further input
        self._discarded = 0  # bytes

    # Called by uvicorn.

    def shutdown(self) -> None:
        self._stopping = True
        # An answer that has begun can no longer say `Connection: close`; the next one will, if there is one.
        newest = self._waiting[-1][0] if self._waiting else self._current
        if newest is None:
            self._set_deadline(BOUNDS.stop_idle_seconds)
        elif not newest.started:
            newest.last = True

    # Called by the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.outflow = Outflow(self.transport)
        self._addresses = tuple(
            (str(address[0]), int(address[1])) if address else None
            for address in map(transport.get_extra_info, ("sockname", "peername"))
        )
        self._server.connections.add(self)  # type: ignore[arg-type] # uvicorn names only its own
        self._set_deadline(BOUNDS.request_head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        self._cancel_deadline()
        self.outflow.lose()
        # Break reference cycles, so that the garbage collector has nothing to find.
        self._reader.close()
        self._body_of = None
        self._waiting.clear()
        current, self._current = self._current, None
        if current is not None:
            current.lose()

    def eof_received(self) -> None:
        """Treats a half-closed connection as closed, although the client may still read."""
        self._close()

    def data_received(self, data: bytes) -> None:
        if self._discarding:
            self._discarded += len(data)
            if self._discarded > BOUNDS.linger_bytes:
                self._close()
            return
        was_idle, self._idle = self._idle, False
        self._parse(self._unparsed + data)
        if was_idle and self._current is None and not self._discarding:
            # The next request has a deadline even if these bytes turn out to begin none.
            self._set_deadline(BOUNDS.request_head_seconds)

    def pause_writing(self) -> None:
        self.outflow.fill()
        if self._current is not None:
            self._current.on_full()

    def resume_writing(self) -> None:
        self.outflow.empty()
        if self._current is not None:
            self._current.on_drained()

    # Called by a request.

    @property
    def own_headers(self) -> Iterable[Header]:
        return self._server.default_headers

    def read_on(self) -> None:
        if self._paused and not self.transport.is_closing():
            self._paused = False
            self.transport.resume_reading()

    def answered(self, request: Connection) -> None:
        self._current = None
        self.read_on()
        if self.transport.is_closing():
            return
        if request.last or request.reading:
            # The rest of its body would be parsed as the next request.
            self._end()
            return
        if self._waiting:
            self._start(*self._waiting.popleft())
        self._parse(self._unparsed)
        if self._current is None and not self._discarding:
            self._idle = not self._reader.in_request
            seconds = BOUNDS.client_idle_seconds if self._idle else BOUNDS.request_head_seconds
            self._set_deadline(BOUNDS.stop_idle_seconds if self._stopping else seconds)

    # Input.

    def _parse(self, data: bytes) -> None:
        """Parses until a request has to wait for the one before it; the bytes behind that stay unparsed."""
        view, at = memoryview(data), 0
        while at < len(data) and not self._waiting and not self._discarding:
            self._reader.feed(view[at : at + BOUNDS.parsed_at_once_bytes])
            at += BOUNDS.parsed_at_once_bytes
        self._unparsed = data[at:]
        if len(self._unparsed) > BOUNDS.pipelined_bytes and not self._discarding:
            # Pausing the socket would hide a disconnect. So input is discarded, and the current answer is the last.
            assert self._current is not None
            self._current.last = self._discarding = True
            self._waiting.clear()
        if self._discarding:
            self._discarded += len(self._unparsed)
            self._unparsed = b""

    # Called by the reader.

    def began(self, head: Head) -> None:
        if self._discarding:
            return
        self._body_of = request = Connection(
            self,
            http_1_0=head.version == "1.0",
            is_head=head.method == "HEAD",
            expects_continue=head.expects_continue,
            last=head.version == "1.0" or self._stopping or not head.keep_alive,
        )
        server, client = self._addresses
        scope = head.scope(server, client, {**self._state, CONNECTION: request})
        if self._current is None:
            self._start(request, scope)
        else:
            self._waiting.append((request, scope))

    def received(self, part: bytes) -> None:
        if self._body_of is not None and self._body_of.add(part) > BOUNDS.unread_body_bytes and not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def completed(self) -> None:
        request, self._body_of = self._body_of, None
        if request is not None:
            request.end_of_request()
            self._discarding = self._discarding or request.last

    def refused(self, message: str) -> None:
        """Stops reading from a client that sent malformed input, and answers 400 if no other answer comes first."""
        if self._discarding:
            return
        self._discarding = True
        self._discarded += 1  # at least
        if self._current is None:
            self._answer(message)
            self._end()
        elif self._body_of is self._current:
            self._body_of = None
            self._current.last = True
            self._current.end_of_request(message)
        else:
            # The client would take it for the answer to the request before.
            self._close()

    def _start(self, request: Connection, scope: Scope) -> None:
        self._cancel_deadline()
        self._current = request
        app = cast("ASGIApp", self._app)
        task = self._loop.create_task(request.run(app, scope), context=self._context.copy())
        self._server.tasks.add(task)
        task.add_done_callback(self._server.tasks.discard)

    # Closing.

    def _answer(self, message: str) -> None:
        """Writes the answer to malformed input."""
        # In the form of the path, as far as it is known.
        path, _, _ = target_of(self._reader.url) or ("", b"", None)
        body = envelope(path, ServiceError(BAD_REQUEST, message))
        headers = (
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
            *self._server.default_headers,
            *self.cors,
            *common_headers(report_refusal(BAD_REQUEST.status, message, self._addresses[1])),
        )
        lines = (b"HTTP/1.1 400 Bad Request", *(b"%b: %b" % header for header in headers), b"", body)
        self.transport.write(b"\r\n".join(lines))

    def _end(self) -> None:
        """Closes after an answer. Lingers while the client still sends, so that it can read that (RFC 9112, 9.6)."""
        self._discarding = True
        if self._discarded and not self._stopping:
            self.transport.write_eof()
            self._set_deadline(BOUNDS.linger_seconds)
        else:
            self._close()

    def _close(self) -> None:
        if self._current is not None:
            self._current.lose()
        self.outflow.close()

    def _set_deadline(self, seconds: float) -> None:
        """Sets the deadline for the next head, in seconds from now."""
        self._cancel_deadline()
        self._deadline = self._loop.call_later(seconds, self._time_out)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _time_out(self) -> None:
        if self._reader.in_request and not (self._stopping or self._discarding):
            self.refused("The request's headers did not arrive in time.")
        else:
            self._close()


class NarrowedProtocol(Protocol):
    """The protocol where CORS_ALLOW_ORIGINS names origins."""

    cors = ()
