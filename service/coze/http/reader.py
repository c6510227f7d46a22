"""Reads one HTTP/1.1 answer (RFC 9112) out of bytes, however they are cut. No socket, no clock, no task.

llhttp, by way of httptools, finds the pieces. Each part of an answer has a bound, so that nothing a server sends can
pile up here: the head (its status line, its headers and every interim answer before it), the trailers, and whatever
comes without a piece of the body, such as the extensions of a chunk. Trailers are never merged into the headers.
"""

import re
from collections.abc import Mapping

import httptools

from service.bounds import BOUNDS

# The least that a message takes besides its headers: "HTTP/1.1 100 " and two line ends.
_STATUS_LINE_BYTES = 17


class Answer:
    """The status of an answer, and its headers by their names in lower case; of several of one name the first."""

    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        self.status = status
        self.headers = headers

    @property
    def logid(self) -> str | None:
        """Coze's id of an exchange. The cloud and Coze Studio name the header differently."""
        logid = self.headers.get("x-tt-logid") or self.headers.get("x-log-id")
        return logid if logid and len(logid) <= 128 and logid.isascii() and logid.isprintable() else None

    @property
    def retry_after(self) -> int | None:
        """In how many seconds Coze wants to be asked again, if it says so in seconds and means less than a day."""
        value = self.headers.get("retry-after", "")
        return int(value) if re.fullmatch(r"[1-9][0-9]{0,4}", value) else None


class TooLong(Exception):
    """A part of an answer is longer than any good one."""


class Reader:
    """Takes bytes by `feed` until the answer is `complete` or turns out to be `malformed`, then wants to be closed."""

    def __init__(self) -> None:
        self.answer: Answer | None = None  # once its head is there
        self.complete = False
        self.malformed = False
        self.reusable = False  # the answer leaves its connection in order for another request
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        # What most clients take of a server that errs: odd characters in headers, bare line feeds, blanks after sizes.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self._headers: dict[str, str] = {}
        self._length_told = False
        self._pieces: list[bytes] = []
        self._counted = 0  # bytes of the head, then of the trailers
        self._without_body = 0  # bytes in a row

    def feed(self, data: bytes) -> bytes:
        """Returns the part of the body that `data` brings. What comes before something malformed still counts."""
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
        """Whether the end of the connection, should it come now, is the end of the answer too."""
        return self.answer is not None and not self._length_told

    def close(self) -> None:
        """Frees the parser, which leads back here: the garbage collector would have to find the two."""
        self._parser = None

    # What the parser calls. Answers of 1xx come before the answer, trailers behind it; a second answer is one too many.

    def on_message_begin(self) -> None:
        self._count(_STATUS_LINE_BYTES)
        if self.answer is None:
            self._headers = {}
            self._length_told = False
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
            self._length_told = True

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
