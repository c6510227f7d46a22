"""HTTP/1.1 by RFC 9112 on one client's connection; llhttp, by way of httptools, finds the pieces.

uvicorn makes a `Protocol` for each connection. Everything a client sends has a bound in bytes and one in time: what is
around bodies and between requests here, bodies themselves in service/http/body.py.
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
    """One connection. What is no request or exceeds a bound ends it, and so does a client that stalls."""

    # What a page may read of the answer to no request at all, whose origin nobody knows.
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
        # A task that begins as the one before it ends knows nothing of that one.
        self._context = contextvars.copy_context()
        self._addresses: tuple[tuple[str, int] | None, ...] = (None, None)  # the server's and the client's
        self._deadline: asyncio.TimerHandle | None = None  # for a head
        self._parting = False
        # The message that is being parsed.
        self._parser = httptools.HttpRequestParser(self)
        self._begun = False
        self._in_head = True
        self._url = b""
        self._headers: list[Header] = []
        self._bytes = 0  # of all of it
        self._body_bytes = 0
        self._body_of: Connection | None = None
        # What is being answered, and what came behind it: requests that are parsed, and the rest as it is.
        self._current: Connection | None = None
        self._waiting: deque[tuple[Connection, Scope]] = deque()
        self._ahead = b""
        self._untouched = False  # nothing of the next request has come
        self._paused = False
        self._deaf = False  # what comes is thrown away
        self._dropped = 0  # bytes of it

    # What uvicorn calls.

    def shutdown(self) -> None:
        self._parting = True
        # An answer that has begun cannot say any more that it is the last; if one more request comes, that one's will.
        newest = self._waiting[-1][0] if self._waiting else self._current
        if newest is None:
            self._expect(BOUNDS.stop_idle_seconds)
        elif not newest.started:
            newest.last = True

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.outflow = Outflow(self.transport)
        self._addresses = tuple(
            (str(address[0]), int(address[1])) if address else None
            for address in map(transport.get_extra_info, ("sockname", "peername"))
        )
        self._server.connections.add(self)  # type: ignore[arg-type] # uvicorn names only its own
        self._expect(BOUNDS.request_head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        self._stop_waiting()
        self.outflow.lose()
        # These lead back to here: nothing shall be left for the garbage collector.
        del self._parser
        self._body_of = None
        self._waiting.clear()
        current, self._current = self._current, None
        if current is not None:
            current.lose()

    def eof_received(self) -> None:
        """Takes a client that closes its side for one that has left, though it may still read."""
        self._close()

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            self._dropped += len(data)
            if self._dropped > BOUNDS.linger_bytes:
                self._close()
            return
        if self._untouched:
            # What has come may begin no request.
            self._untouched = False
            self._expect(BOUNDS.request_head_seconds)
        self._parse(self._ahead + data)

    def pause_writing(self) -> None:
        self.outflow.fill()
        if self._current is not None:
            self._current.on_full()

    def resume_writing(self) -> None:
        self.outflow.empty()
        if self._current is not None:
            self._current.on_drained()

    # What a request wants.

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
            # What is still to come of a body would be taken for the next request.
            self._end()
            return
        if self._waiting:
            self._start(*self._waiting.popleft())
        self._parse(self._ahead)
        if self._current is None and not self._deaf:
            self._untouched = not self._begun
            seconds = BOUNDS.client_idle_seconds if self._untouched else BOUNDS.request_head_seconds
            self._expect(BOUNDS.stop_idle_seconds if self._parting else seconds)

    # What comes.

    def _parse(self, data: bytes) -> None:
        """Parses until a request has to wait. What is behind it stays as it came, and so takes no more than that."""
        view, at = memoryview(data), 0
        while at < len(data) and not self._waiting and not self._deaf:
            self._feed(view[at : at + BOUNDS.parsed_at_once_bytes])
            at += BOUNDS.parsed_at_once_bytes
        self._ahead = data[at:]
        if len(self._ahead) > BOUNDS.pipelined_bytes and not self._deaf:
            # To read no more would hide that the client leaves: what comes is thrown away instead, and the answer that
            # is being made is the connection's last.
            assert self._current is not None
            self._current.last = self._deaf = True
            self._waiting.clear()
        if self._deaf:
            self._dropped += len(self._ahead)
            self._ahead = b""

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
        """Parses the head again, without the wish to go on in another protocol, which a server may ignore (RFC 9110,
        section 7.8). llhttp does not: it takes no body, and `rest` is what is behind the head.
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
        self._begun = True
        self._url = b""
        self._headers = []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        # A trailer is no header, and none is wanted (RFC 9110, section 6.5.1).
        if self._in_head:
            self._headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        if self._deaf or self._parser.should_upgrade():
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
            # It counts, not what the header says (RFC 9112, section 3.2.2).
            headers = [(name, authority if name == b"host" else value) for name, value in headers]
        self._body_of = request = Connection(
            self,
            http_1_0=version == "1.0",
            is_head=method == "HEAD",
            expects_continue=version == "1.1"
            and any(name == b"expect" and value.lower() == b"100-continue" for name, value in headers),
            last=version == "1.0" or self._parting or not self._parser.should_keep_alive(),
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
        self._begun = False
        self._in_head = True
        self._bytes = self._body_bytes = 0
        request, self._body_of = self._body_of, None
        if request is not None:
            request.end_of_request()
            self._deaf = self._deaf or request.last

    def _start(self, request: Connection, scope: Scope) -> None:
        self._stop_waiting()
        self._current = request
        app = cast("ASGIApp", self._app)
        task = self._loop.create_task(request.run(app, scope), context=self._context.copy())
        self._server.tasks.add(task)
        task.add_done_callback(self._server.tasks.discard)

    # Ends.

    def _refuse(self, message: str) -> None:
        """Takes no more of a client that breaks the rules, and tells it so if the next answer can be to that."""
        if self._deaf:
            return
        self._deaf = True
        self._dropped += 1  # at least
        if self._current is None:
            self._answer(message)
            self._end()
        elif self._body_of is self._current:
            self._body_of = None
            self._current.last = True
            self._current.end_of_request(message)
        else:
            # It would be taken for the answer to the request before.
            self._close()

    def _answer(self, message: str) -> None:
        """Writes the answer to what is no request."""
        body = envelope("", ServiceError(BAD_REQUEST, message))
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
        """Closes behind an answer; where the client still sends, once it can have read that (RFC 9112, section 9.6)."""
        self._deaf = True
        if self._dropped and not self._parting:
            self._begun = False
            self.transport.write_eof()
            self._expect(BOUNDS.linger_seconds)
        else:
            self._close()

    def _close(self) -> None:
        if self._current is not None:
            self._current.lose()
        self.outflow.close()

    def _expect(self, seconds: float) -> None:
        """Waits so long for a head."""
        self._stop_waiting()
        self._deadline = self._loop.call_later(seconds, self._give_up)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        if self._begun and not self._parting:
            self._refuse("The request's headers did not arrive in time.")
        else:
            self._close()


def _target(url: bytes) -> tuple[str, bytes, bytes | None] | None:
    """The path, the query, and the authority if it names one, of the target of a request. None if it is none."""
    try:
        parts = httptools.parse_url(url)
        path = (parts.path or b"/").decode("ascii")
    except (httptools.HttpParserInvalidURLError, UnicodeDecodeError):
        return None
    absolute = _ABSOLUTE.match(url)
    return path, parts.query or b"", absolute[1] if absolute else None


class NarrowedProtocol(Protocol):
    """The same where not every website may call."""

    cors = ()
