"""One request to Coze and its answer, told to a receiver piece by piece, in the turn of the loop that reads it.

HTTP/1.1 by RFC 9112; llhttp, by way of httptools, finds the pieces. The connection is aiohttp's: lent for one exchange,
and given back behind an answer that leaves it in order, else closed. An exchange that has given it back still watches
it until the next one: what comes without having been asked for closes it.
"""

import asyncio
import re
from collections.abc import AsyncIterable, Mapping
from typing import Protocol

import httptools
from aiohttp.connector import Connection

from service.errors import BROKE_OFF, NOT_UNDERSTOOD, ServiceError

# How much of an answer may come in which there is no piece of its body: headers, the sizes of chunks, trailers.
_MAX_BYTES_WITHOUT_BODY = 32 * 1024

NO_ANSWER = "no answer"  # the cause of the failure if the connection ends before an answer


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


class Receiver(Protocol):
    """Is told, in this order: of the answer once, of parts of its body, of the end once. None of it may raise."""

    def answered(self, answer: Answer) -> None: ...

    def received(self, part: bytes) -> None: ...

    def ended(self, failure: ServiceError | None) -> bool:
        """With the failure, unless the answer is whole. False if it cannot have been the answer to this request."""


class Span(Protocol):
    """What a tracer wants to know of an exchange: one of the two, once."""

    def answered(self, answer: Answer) -> None: ...

    def unanswered(self, cause: str) -> None: ...


class Exchange(asyncio.Protocol):
    """Takes over `connection`, which nothing else uses meanwhile."""

    def __init__(self, connection: Connection, receiver: Receiver, span: Span | None) -> None:
        protocol, transport = connection.protocol, connection.transport
        assert protocol is not None
        assert transport is not None
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self._lender = protocol
        self._transport = transport
        self._receiver: Receiver | None = receiver  # until the end
        self._span = span
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        # What most clients take of a server that errs: odd characters in headers, bare line feeds, blanks behind sizes.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self._headers: dict[str, str] = {}
        self._length_told = False
        self._answer: Answer | None = None
        self._parts: list[bytes] = []
        self._without_body = 0  # bytes since a piece of the body came
        self._complete = False
        self._reusable = False
        self._unsent = False  # some of the request
        self._paused = False
        self._room: asyncio.Future[None] | None = None  # while the connection is full
        transport.set_protocol(self)

    def write(self, request: bytes) -> None:
        self._transport.write(request)

    async def send(self, parts: AsyncIterable[bytes]) -> None:
        """Writes the rest of the request as fast as the connection takes it. Ends early if the exchange does."""
        self._unsent = True
        async for part in parts:
            if self._room is not None:
                await self._room
            if self._receiver is None:
                return
            self._transport.write(part)
        self._unsent = False

    def pause(self) -> None:
        """Reads no further: the receiver has enough for now."""
        if not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def close(self) -> None:
        """Ends the exchange where it stands. The receiver is told nothing more."""
        if self._receiver is not None:
            self._give_back("left", reusable=False)

    def _end(self, failure: ServiceError | None) -> None:
        receiver = self._receiver
        assert receiver is not None
        self._receiver = None
        fits = receiver.ended(failure)
        self._give_back(failure.cause if failure else None, reusable=failure is None and fits and self._reusable)

    def _give_back(self, cause: str | None, *, reusable: bool) -> None:
        if self._span is not None:
            self._span.unanswered(cause or "")
            self._span = None
        # These lead back to the exchange: it shall be gone at once, not when garbage is collected.
        self._receiver = self._parser = None
        self.resume()
        unsent = self._unsent or self._room is not None
        self._make_room()
        if reusable:
            self._connection.release()
        else:
            # Not within data_received: uvloop's TLS goes on with the connection behind that.
            self._loop.call_soon(self._drop, unsent or not self._complete)

    def _drop(self, at_once: bool) -> None:
        if at_once:
            # What is still to be sent would be kept for as long as Coze does not take it.
            self._transport.abort()
        self._connection.close()

    def _make_room(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():  # as it is if the sender was cancelled
            room.set_result(None)

    # What the transport calls.

    def data_received(self, data: bytes) -> None:
        parser, receiver = self._parser, self._receiver
        if parser is None or receiver is None:
            self._lender.force_close()
            self._loop.call_soon(self._transport.abort)
            return
        malformed = False
        unanswered = self._answer is None
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            malformed = True
            self._reusable = False
        if unanswered and self._answer is not None:
            if self._span is not None:
                self._span.answered(self._answer)
                self._span = None
            receiver.answered(self._answer)
        if self._parts:
            part = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
            self._parts.clear()
            self._without_body = 0
            receiver.received(part)
        else:
            self._without_body += len(data)
        if self._receiver is None:  # closed by what it was told
            return
        if self._complete:
            self._end(None)
        elif malformed or self._without_body > _MAX_BYTES_WITHOUT_BODY:
            self._end(ServiceError(NOT_UNDERSTOOD if self._answer is None else BROKE_OFF, cause="malformed HTTP"))

    def eof_received(self) -> None:
        self._cut_off(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lender.connection_lost(exc)
        self._cut_off(exc)

    def _cut_off(self, exc: Exception | None) -> None:
        if self._receiver is None:
            return
        if self._answer is None:
            self._end(ServiceError(BROKE_OFF, cause=NO_ANSWER))
        elif exc is None and not self._length_told:
            # Such an answer ends with its connection.
            self._end(None)
        else:
            self._end(ServiceError(BROKE_OFF, cause="an answer cut off"))

    def pause_writing(self) -> None:
        self._lender.pause_writing()
        if self._receiver is not None:
            self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        self._lender.resume_writing()
        self._make_room()

    # What the parser calls. Answers of 1xx come before the answer, trailers behind it; a second answer is one too many.

    def on_message_begin(self) -> None:
        if self._answer is None:
            self._headers = {}
            self._length_told = False
        else:
            self._reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._answer is not None:
            return
        name = name.lower()
        self._headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
        if name == b"content-length" or (name == b"transfer-encoding" and value.lower().endswith(b"chunked")):
            self._length_told = True

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        status = self._parser.get_status_code()
        if self._answer is None and not 100 <= status < 200:
            self._answer = Answer(status, self._headers)

    def on_body(self, part: bytes) -> None:
        if not self._complete:
            self._parts.append(part)

    def on_message_complete(self) -> None:
        if self._answer is not None and not self._complete:
            assert self._parser is not None
            self._complete = True
            self._reusable = self._parser.should_keep_alive() and not self._unsent and self._room is None
