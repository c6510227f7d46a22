"""HTTP/1.1 (RFC 9112) on one client's connection, parsed by llhttp through httptools.

uvicorn makes a `Protocol` for each connection. Everything a client sends is bounded in bytes and in time: heads,
framing and pipelined requests here, bodies in service/http/body.py.
"""

import asyncio
import contextvars
import re
from collections import deque
from collections.abc import Iterable
from typing import Any, cast
from urllib.parse import unquote

import httptools
import uvicorn
from litestar.types import ASGIApp, Scope
from uvicorn.server import ServerState

from service.bounds import BOUNDS
from service.errors import BAD_REQUEST, ServiceError, envelope
from service.http.connection import CONNECTION, Connection
from service.http.headers import Header, common_headers
from service.http.outflow import Outflow
from service.observe.report import report_refusal

_ABSOLUTE = re.compile(rb"[a-z][a-z0-9+.-]*://(?:[^/?#]*@)?([^/?#]*)", re.IGNORECASE)


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
        self._addresses: tuple[tuple[str, int] | None, ...] = (None, None)  # the server's and the client's
        self._deadline: asyncio.TimerHandle | None = None  # for a head
        self._stopping = False
        # The request being parsed.
        self._parser = httptools.HttpRequestParser(self)
        self._in_request = False
        self._in_head = True
        self._url = b""
        self._headers: list[Header] = []
        self._bytes = 0  # received of it
        self._body_bytes = 0
        self._body_of: Connection | None = None
        # The request being answered, pipelined requests that are parsed, and the unparsed rest.
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
        del self._parser
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
            self._idle = not self._in_request
            seconds = BOUNDS.client_idle_seconds if self._idle else BOUNDS.request_head_seconds
            self._set_deadline(BOUNDS.stop_idle_seconds if self._stopping else seconds)

    # Input.

    def _parse(self, data: bytes) -> None:
        """Parses until a request has to wait for the one before it; the bytes behind that stay unparsed."""
        view, at = memoryview(data), 0
        while at < len(data) and not self._waiting and not self._discarding:
            self._feed(view[at : at + BOUNDS.parsed_at_once_bytes])
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

    def _feed(self, piece: memoryview | bytes) -> None:
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(bytes(piece[upgrade.args[0] :]))
            return
        except httptools.HttpParserCallbackError:
            raise
        except httptools.HttpParserError:
            self._refuse("Invalid HTTP request received.")
            return
        self._bytes += len(piece)
        if self._bytes - self._body_bytes > BOUNDS.request_head_bytes + BOUNDS.framing_bytes_a_byte * self._body_bytes:
            what = "The request's headers are" if self._in_head else "What is around the request's body is"
            self._refuse(f"{what} too large.")

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Parses the head again without its Upgrade header, which a server may ignore (RFC 9110, section 7.8).

        llhttp itself cannot: it stops behind the head, and `rest` holds the bytes that follow.
        """
        method, version = self._parser.get_method(), self._parser.get_http_version()
        if method == b"CONNECT":
            self._refuse("This server is no proxy.")
            return
        lines = [b"%b %b HTTP/%b" % (method, self._url, version.encode())]
        lines += [b"%b: %b" % header for header in self._headers if header[0] != b"upgrade"]
        self._parser = httptools.HttpRequestParser(self)
        self._feed(b"\r\n".join((*lines, b"", b"")))
        self._feed(rest)

    def on_message_begin(self) -> None:
        self._in_request = True
        self._url = b""
        self._headers = []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        # Trailers are dropped, never merged into the headers (RFC 9110, section 6.5.1).
        if self._in_head:
            self._headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        if self._discarding or self._parser.should_upgrade():
            return
        version, method = self._parser.get_http_version(), self._parser.get_method().decode()
        target = _target(self._url)
        if version not in ("1.0", "1.1") or target is None:
            self._refuse("Invalid HTTP request received.")
            return
        if len(self._headers) > BOUNDS.request_headers:
            self._refuse("The request's headers are too many.")
            return
        self._in_head = False
        path, query, authority = target
        headers, self._headers, self._url = self._headers, [], b""
        if authority is not None:
            # An absolute target overrides the Host header (RFC 9112, section 3.2.2).
            headers = [(name, authority if name == b"host" else value) for name, value in headers]
        self._body_of = request = Connection(
            self,
            http_1_0=version == "1.0",
            is_head=method == "HEAD",
            expects_continue=version == "1.1"
            and any(name == b"expect" and value.lower() == b"100-continue" for name, value in headers),
            last=version == "1.0" or self._stopping or not self._parser.should_keep_alive(),
        )
        server, client = self._addresses
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": version,
            "server": server,
            "client": client,
            "scheme": "http",
            "method": method,
            "root_path": "",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query,
            "headers": headers,
            "state": {**self._state, CONNECTION: request},
        }
        if self._current is None:
            self._start(request, cast("Scope", scope))
        else:
            self._waiting.append((request, cast("Scope", scope)))

    def on_body(self, part: bytes) -> None:
        self._body_bytes += len(part)
        if self._body_of is not None and self._body_of.add(part) > BOUNDS.unread_body_bytes and not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def on_message_complete(self) -> None:
        self._in_request = False
        self._in_head = True
        self._bytes = self._body_bytes = 0
        request, self._body_of = self._body_of, None
        if request is not None:
            request.end_of_request()
            self._discarding = self._discarding or request.last

    def _start(self, request: Connection, scope: Scope) -> None:
        self._cancel_deadline()
        self._current = request
        app = cast("ASGIApp", self._app)
        task = self._loop.create_task(request.run(app, scope), context=self._context.copy())
        self._server.tasks.add(task)
        task.add_done_callback(self._server.tasks.discard)

    # Closing.

    def _refuse(self, message: str) -> None:
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

    def _answer(self, message: str) -> None:
        """Writes the answer to malformed input."""
        # In the form of the path, as far as it is known.
        path, _, _ = _target(self._url) or ("", b"", None)
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
            self._in_request = False
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
        if self._in_request and not self._stopping:
            self._refuse("The request's headers did not arrive in time.")
        else:
            self._close()


def _target(url: bytes) -> tuple[str, bytes, bytes | None] | None:
    """Splits a request target into path, query and authority, None for none. Returns None if it is malformed."""
    try:
        parts = httptools.parse_url(url)
        path = (parts.path or b"/").decode("ascii")
    except (httptools.HttpParserInvalidURLError, UnicodeDecodeError):
        return None
    absolute = _ABSOLUTE.match(url)
    return path, parts.query or b"", absolute[1] if absolute else None


class NarrowedProtocol(Protocol):
    """The protocol where CORS_ALLOW_ORIGINS names origins."""

    cors = ()
