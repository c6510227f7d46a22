"""Reader of requests (RFC 9112) from bytes, however they are cut. No socket, no clock, no task.

Parsing is llhttp's, through httptools. Heads and framing are bounded, bodies are told piece by piece.
"""

from typing import Protocol

import httptools

from service.bounds import BOUNDS
from service.http.head import Head, target_of
from service.http.headers import Header


class Receiver(Protocol):
    """Receives each request: its head, the parts of its body, its end. After a refusal nothing more counts."""

    def began(self, head: Head) -> None: ...

    def received(self, part: bytes) -> None: ...

    def completed(self) -> None: ...

    def refused(self, message: str) -> None:
        """Receives what is wrong with the input. May be called again, and with what comes behind it."""


class RequestReader:
    """Takes the bytes of one connection. Must be closed."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._parser = httptools.HttpRequestParser(self)
        self.in_request = False
        self.url = b""  # of the head that is being read
        self._in_head = True
        self._headers: list[Header] = []
        self._bytes = 0  # received of the request
        self._body_bytes = 0

    def feed(self, piece: memoryview | bytes) -> None:
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(bytes(piece[upgrade.args[0] :]))
            return
        except httptools.HttpParserCallbackError:
            raise
        except httptools.HttpParserError:
            self._receiver.refused("Invalid HTTP request received.")
            return
        self._bytes += len(piece)
        if self._bytes - self._body_bytes > BOUNDS.request_head_bytes + BOUNDS.framing_bytes_a_byte * self._body_bytes:
            what = "The request's headers are" if self._in_head else "What is around the request's body is"
            self._receiver.refused(f"{what} too large.")

    def close(self) -> None:
        """Frees the parser and the receiver, which refer back to here: cycles for the garbage collector."""
        del self._parser, self._receiver

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Parses the head again without its Upgrade header, which a server may ignore (RFC 9110, section 7.8).

        llhttp itself cannot: it stops behind the head, and `rest` holds the bytes that follow.
        """
        method, version = self._parser.get_method(), self._parser.get_http_version()
        if method == b"CONNECT":
            self._receiver.refused("This server is no proxy.")
            return
        lines = [b"%b %b HTTP/%b" % (method, self.url, version.encode())]
        lines += [b"%b: %b" % header for header in self._headers if header[0] != b"upgrade"]
        self._parser = httptools.HttpRequestParser(self)
        self._bytes = 0
        self.feed(b"\r\n".join((*lines, b"", b"")))
        self.feed(rest)

    # Called by the parser.

    def on_message_begin(self) -> None:
        self.in_request = True
        self.url = b""
        self._headers = []

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        # Trailers are dropped, never merged into the headers (RFC 9110, section 6.5.1).
        if self._in_head:
            self._headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        parser = self._parser
        if parser.should_upgrade():
            return
        version, target = parser.get_http_version(), target_of(self.url)
        if version not in ("1.0", "1.1") or target is None:
            self._receiver.refused("Invalid HTTP request received.")
            return
        if len(self._headers) > BOUNDS.request_headers:
            self._receiver.refused("The request's headers are too many.")
            return
        self._in_head = False
        headers, self._headers, self.url = self._headers, [], b""
        self._receiver.began(Head(parser.get_method().decode(), target, version, headers, parser.should_keep_alive()))

    def on_body(self, part: bytes) -> None:
        self._body_bytes += len(part)
        self._receiver.received(part)

    def on_message_complete(self) -> None:
        if self._in_head:
            return  # it was refused, or had an Upgrade header and is parsed again
        self.in_request = False
        self._in_head = True
        self._bytes = self._body_bytes = 0
        self._receiver.completed()
