"""A request to Coze and its answer, told to a receiver piece by piece, in the turn of the loop that reads it.

Bytes that are too many for one turn are told in the following ones, so that they hold up nobody else. The receiver may
pause the exchange meanwhile. The connection is the pool's, and taken for one exchange. It is given back after an answer
that leaves it in order, else dropped.
"""

import asyncio
from collections.abc import AsyncIterable
from typing import Protocol

from service.bounds import BOUNDS
from service.coze.errors import BROKE_OFF, NOT_UNDERSTOOD
from service.coze.http.backlog import Backlog, is_too_much
from service.coze.http.connection import Connection
from service.coze.http.observer import Call
from service.coze.http.pool import NO_ANSWER
from service.coze.http.reader import Answer, Reader
from service.errors import ServiceError


class Receiver(Protocol):
    """Receives the answer's head once, then the parts of its body, then its end once. Must not raise."""

    def answered(self, answer: Answer) -> None: ...

    def received(self, part: bytes) -> None: ...

    def ended(self, failure: ServiceError | None) -> bool:
        """Receives the end, and the failure unless the answer is whole.

        Returns False if the answer cannot be the one to this request. The connection is dropped then.
        """


class Exchange:
    """An exchange over `connection`, which nothing else uses until it ends."""

    def __init__(self, connection: Connection, receiver: Receiver, call: Call) -> None:
        self._connection = connection
        self._transport = connection.transport
        self._receiver: Receiver | None = receiver  # until the end
        self._call: Call | None = call  # until it is told
        self._reader = Reader()
        self._answered = False
        self._unsent = False  # some of the request
        self._reading_paused = False
        self._paused = False
        self._backlog = Backlog()
        self._next_turn: asyncio.Handle | None = None  # in which more of the backlog is read
        self._lost: tuple[Exception | None] | None = None  # the connection, behind the backlog
        connection.user = self

    def write(self, request: bytes) -> None:
        self._transport.write(request)

    async def send(self, parts: AsyncIterable[bytes]) -> None:
        """Writes the rest of the request as fast as the connection takes it. Ends early if the exchange does."""
        self._unsent = True
        async for part in parts:
            if self._connection.drained is not None:
                await self._connection.drained
            if self._receiver is None:
                return
            self._transport.write(part)
        self._unsent = False

    def pause(self) -> None:
        """Tells the receiver nothing more until `resume` (backpressure). Only a little is read ahead."""
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        self._work_off()

    def close(self) -> None:
        """Ends the exchange where it stands. The receiver is told nothing more."""
        if self._receiver is not None:
            self._let_go("left", reusable=False)

    def _end(self, failure: ServiceError | None) -> None:
        receiver = self._receiver
        assert receiver is not None
        self._receiver = None
        fits = receiver.ended(failure)
        self._let_go(failure.cause if failure else None, reusable=failure is None and fits and self._reader.reusable)

    def _let_go(self, cause: str | None, *, reusable: bool) -> None:
        if self._call is not None:
            self._call.unanswered(cause or "")
            self._call = None
        # The receiver and the parser lead back to here: all of it goes at once, not when garbage is collected.
        self._receiver = None
        self._reader.close()
        self._backlog.clear()
        if self._next_turn is not None:
            self._next_turn.cancel()
            self._next_turn = None
        self._resume_reading()
        if reusable and self._lost is None and not self._unsent and self._connection.drained is None:
            self._connection.give_back()
        else:
            self._connection.drop()

    # Called by the connection.

    def data_received(self, data: bytes) -> None:
        if not (self._paused or self._backlog.size or is_too_much(data)):
            self._read(data)
            return
        self._backlog.put(data)
        if self._backlog.size > (BOUNDS.coze_ahead_bytes if self._paused else BOUNDS.coze_backlog_bytes):
            self._pause_reading()
        self._work_off()

    def cut_off(self, exc: Exception | None) -> None:
        if self._lost is None:
            self._lost = (exc,)
            self._work_off()

    def _work_off(self) -> None:
        """Reads a portion of the backlog, unless the exchange is paused or the next turn is scheduled."""
        if self._paused or self._next_turn is not None:
            return
        if self._backlog.size:
            self._read(self._backlog.portion())
        if self._receiver is None or self._paused:
            return
        if self._backlog.size:
            self._next_turn = asyncio.get_running_loop().call_soon(self._take_turn)
        elif self._lost is not None:
            self._end_with_connection(*self._lost)
        else:
            self._resume_reading()

    def _take_turn(self) -> None:
        self._next_turn = None
        self._work_off()

    def _pause_reading(self) -> None:
        if not self._reading_paused and not self._transport.is_closing():
            self._reading_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def _read(self, data: bytes) -> None:
        reader = self._reader
        part = reader.feed(data)
        if not self._answered and reader.answer is not None:
            self._begin(reader.answer)
        # The receiver may close the exchange in any of these calls.
        if part and self._receiver is not None:
            self._receiver.received(part)
        if self._receiver is None:
            return
        if reader.complete:
            self._end(None)
        elif reader.malformed:
            self._end(ServiceError(BROKE_OFF if self._answered else NOT_UNDERSTOOD, cause="malformed HTTP"))

    def _begin(self, answer: Answer) -> None:
        self._answered = True
        if self._call is not None:
            self._call.answered(answer)
            self._call = None
        if self._receiver is not None:
            self._receiver.answered(answer)

    def _end_with_connection(self, exc: Exception | None) -> None:
        if not self._answered:
            self._end(ServiceError(BROKE_OFF, cause=NO_ANSWER))
        elif exc is None and self._reader.ends_with_connection:
            self._end(None)
        else:
            self._end(ServiceError(BROKE_OFF, cause="an answer cut off"))
