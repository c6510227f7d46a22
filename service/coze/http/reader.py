"""Reader of one HTTP/1.1 answer (RFC 9112) from bytes, however they are cut. No socket, no clock, no task.

Parsing is llhttp's, through httptools. Every part of an answer is bounded, so that nothing can pile up here: the head
(with all interim answers before it), the trailers, and any run of bytes without a piece of the body, such as chunk
extensions. Trailers are never merged into the headers.
"""

import re
from collections.abc import Mapping

import httptools

from service.bounds import BOUNDS

# The least size of a head without headers: "HTTP/1.1 100 " and two line ends.
_STATUS_LINE_BYTES = 17


class Answer:
    """The status of an answer, and its headers by lower-case name; the first value counts."""

    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        self.status = status
        self.headers = headers

    @property
    def logid(self) -> str | None:
        """Coze's id of the exchange, in a header that the cloud and Coze Studio name differently."""
        logid = self.headers.get("x-tt-logid") or self.headers.get("x-log-id")
        return logid if logid and len(logid) <= 128 and logid.isascii() and logid.isprintable() else None

    @property
    def retry_after(self) -> int | None:
        """The seconds of Retry-After; None if there are none, or more than a day's."""
        value = self.headers.get("retry-after", "")
        return int(value) if re.fullmatch(r"[1-9][0-9]{0,4}", value) else None


class TooLong(Exception):
    """Raised when a part of an answer exceeds its bound."""


class Reader:
    """Takes bytes until the answer is `complete` or turns out to be `malformed`. Must be closed."""

    def __init__(self) -> None:
        self.answer: Answer | None = None  # once its head is there
        self.complete = False
        self.malformed = False
        self.reusable = False  # whether the connection may carry another request
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        # Tolerated by most clients: odd characters in headers, bare line feeds, blanks after chunk sizes.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self._headers: dict[str, str] = {}
        self._has_length = False
        self._pieces: list[bytes] = []
        self._counted = 0  # bytes of the head, then of the trailers
        self._without_body = 0  # bytes in a row

    def feed(self, data: bytes) -> bytes:
        """Returns the part of the body in `data`, up to the first malformed byte."""
        assert self._parser is not None
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.malformed = True
            self.reusable = False
        if pieces := self._pieces:
            self._without_body = 0
            body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            pieces.clear()
            return body
        self._without_body += len(data)
        if self._without_body > BOUNDS.coze_head_bytes:
            self.malformed = True
        return b""

    @property
    def ends_with_connection(self) -> bool:
        """Whether the answer has no length and so ends with its connection."""
        return self.answer is not None and not self._has_length

    def close(self) -> None:
        """Frees the parser, which refers back to here: a cycle for the garbage collector."""
        self._parser = None

    # Called by the parser. Interim answers (1xx) precede the answer, trailers follow it; a second answer is an error.

    def on_message_begin(self) -> None:
        self._count(_STATUS_LINE_BYTES)
        if self.answer is None:
            self._headers = {}
            self._has_length = False
        else:
            self.reusable = False

    def on_status(self, reason: bytes) -> None:
        self._count(len(reason))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4)
        if self.answer is not None:
            return
        name = name.lower()
        self._headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
        if name == b"content-length" or (name == b"transfer-encoding" and value.lower().endswith(b"chunked")):
            self._has_length = True

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        status = self._parser.get_status_code()
        if self.answer is None and not 100 <= status < 200:
            self.answer = Answer(status, self._headers)
            self._counted = 0

    def on_body(self, piece: bytes) -> None:
        if not self.complete:
            self._pieces.append(piece)

    def on_message_complete(self) -> None:
        if self.answer is not None and not self.complete:
            assert self._parser is not None
            self.complete = True
            self.reusable = self._parser.should_keep_alive()

    def _count(self, length: int) -> None:
        self._counted += length
        if self._counted > BOUNDS.coze_head_bytes:
            raise TooLong
