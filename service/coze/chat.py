"""A chat at Coze, from the request until Coze has nothing left to do for it.

The caller opens it, listens to it until it is completed, and always leaves it. Events of Coze reach the listener in the
turn of the loop that reads them from the socket: no task wakes up. When a caller leaves early, the exchange is closed
and the chat cancelled, unless somebody else goes on with it. A chat that nobody cancels keeps its conversation locked,
and burns tokens.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from generated.models import ChatCompletedEvent
from service.bounds import BOUNDS
from service.coze.chat_body import ChatBody
from service.coze.chat_state import Reader, Result, follow
from service.coze.errors import TOKEN_REFUSED, Asked
from service.coze.http import Answer, Receiver
from service.coze.patience import Patience, TimeLimits
from service.coze.translation import ChatEvent, Translation
from service.errors import Failure, ServiceError


class Exchange(Protocol):
    """A chat's request and Coze's answer to it, until the end of the answer."""

    def pause(self) -> None:
        """Tells the receiver nothing more until `resume` (backpressure)."""

    def resume(self) -> None: ...

    def close(self) -> None:
        """Ends the exchange where it stands. The receiver is told nothing more."""


class Line(Protocol):
    """The way of one chat to Coze, and the interface to everything around the chat."""

    async def ask(self, receiver: Receiver) -> Exchange:
        """Sends the question, once, and keeps nothing of it. Raises ServiceError if Coze cannot be reached.

        If this is cancelled, Coze has not been asked.
        """

    def token_refused(self) -> None:
        """Takes note that Coze refuses the token that the question was sent with."""

    async def cancel(self, conversation_id: str, chat_id: str) -> None:
        """Cancels the chat at Coze. Does not raise."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs `work`, which outlives the caller, as a task of its own."""

    def release(self, chat: "Chat") -> None:
        """Takes note that Coze has nothing left to do for `chat`. May be called more than once."""


class Chat:
    """A chat over `line`, to be opened. `asked` says what the client itself named in its question."""

    def __init__(self, line: Line, asked: Asked, limits: TimeLimits) -> None:
        self._line = line
        self.asked = asked
        self._loop = asyncio.get_running_loop()
        self._patience = Patience(limits, self._loop.time())
        self._result = Result.OPEN
        self._reader = Reader.ABSENT
        self._goes_on = False  # at Coze, when it is left
        self._translation = Translation(asked)  # knows where the chat stands at Coze
        self.taken = False  # Coze may have taken the question
        self._logid: str | None = None  # Coze's id of the exchange, once it has answered
        self._asking: asyncio.Timeout | None = None
        self._exchange: Exchange | None = None  # until its end
        self._body: ChatBody | None = None
        self._pending: list[ChatEvent] = []  # while nobody listens
        self._take: Callable[[list[ChatEvent]], None] | None = None
        self._failure: Exception | None = None  # of Result.FAILED
        self._refused = False  # by a code of Coze's
        self._change: asyncio.Future[None] | None = None  # while it is waited for

    @property
    def ids(self) -> tuple[str | None, str | None]:
        """Coze's ids of the conversation and of the chat; None until Coze names them."""
        return self._translation.conversation_id, self._translation.chat_id

    @property
    def left(self) -> bool:
        return self._reader is Reader.LEFT

    async def open(self) -> None:
        """Sends the question and waits for the first event. Raises ServiceError on a failure, or if none comes."""
        try:
            await self._ask()
            while not self._translation.started:
                await self._wait(self._patience.ends)
        except ServiceError as error:
            if error.failure is TOKEN_REFUSED:
                self._line.token_refused()
            raise

    async def _ask(self) -> None:
        """Sends the question. Returns early if the chat is interrupted or out of time."""
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self._patience.ends) as self._asking:
                    self._exchange = await self._line.ask(self)
                    self.taken = True
        finally:
            self._asking = None

    def listen(self, take: Callable[[list[ChatEvent]], None]) -> None:
        """Calls `take` with the pending and all further events, in order. An error of `take` fails the chat."""
        self._take = take
        self.resume()

    def pause(self) -> None:
        """Stops reading from Coze until `resume` (backpressure). Coze's silence does not count meanwhile."""
        if not self._move_reader(Reader.PAUSED):
            return
        if self._exchange is not None:
            self._exchange.pause()
        self._patience.suspend()

    def resume(self) -> None:
        if not self._move_reader(Reader.LISTENING):
            return
        self._patience.renew(self._loop.time())
        self._deliver()
        if self._exchange is not None and self._reader is Reader.LISTENING:
            self._exchange.resume()
        # A limit that is waited for has moved.
        self._wake()

    async def completed(self, until: float) -> bool:
        """Waits until Coze has completed the chat and the listener has taken all of it.

        Returns False if the loop's time `until` comes first. Raises ServiceError if the chat fails.
        """
        while self._result is not Result.COMPLETED:
            await self._wait(until)
            if self._loop.time() >= until:
                break
        return self._result is Result.COMPLETED

    def interrupt(self, failure: Failure) -> None:
        """Fails the chat with `failure`, whatever Coze does."""
        # Coze's side stays open until `leave`: a chat that has no name yet is to get one, so that it can be cancelled.
        self._fail(ServiceError(failure))
        if self._asking is not None and not self._asking.expired():
            self._asking.reschedule(self._loop.time())

    def leave(self, *, goes_on: bool = False) -> None:
        """Gives the chat up, in any state; one that `goes_on` is not cancelled at Coze.

        Returns at once; the rest is done in a task of its own.
        """
        if not self._move_reader(Reader.LEFT):
            return
        self._goes_on = goes_on
        # These and the exchange lead back to the chat: it is to be gone at once, not when garbage is collected.
        self._take = self._failure = None
        self._pending.clear()
        closing = self._exchange is not None or self._to_be_cancelled is not None
        if closing:
            self._line.spawn(self._close())
        if not closing or self._translation.over:
            self._line.release(self)

    async def _close(self) -> None:
        """Closes the exchange of a chat that was left, and cancels the chat at Coze if it still runs."""
        translation = self._translation
        try:
            if self._exchange is not None:
                self._exchange.resume()
            # Only a chat that has a name can be cancelled; one that has may have completed while its reader was slow.
            await self._wait_for(lambda: bool(translation.chat_id or translation.over), BOUNDS.leave_seconds)
            await self._wait_for(lambda: translation.over, BOUNDS.leave_named_seconds)
            if translation.over:
                # So that the connection can be used again.
                await self._wait_for(lambda: False, BOUNDS.leave_seconds)
            self._disconnect()
            if ids := self._to_be_cancelled:
                await self._line.cancel(*ids)
        finally:
            self._line.release(self)

    @property
    def _to_be_cancelled(self) -> tuple[str, str] | None:
        """The ids of the conversation and of the chat; None unless Coze has named both and the chat is to end."""
        conversation_id, chat_id = self.ids
        runs = not (self._translation.over or self._goes_on)
        return (conversation_id, chat_id) if conversation_id and chat_id and runs else None

    def _disconnect(self) -> None:
        if self._exchange is not None:
            self._exchange.close()
            self._exchange = None
        self._wake()

    async def _wait_for(self, reached: Callable[[], bool], seconds: float) -> None:
        """Waits until `reached()` or the end of the exchange, at most for `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._exchange is not None and not reached():
                    self._change = self._loop.create_future()
                    await self._change

    async def _wait(self, until: float) -> None:
        """Waits for a change, at most until the loop's time `until`. Raises the failure of a chat that has failed."""
        if self._failure is not None:
            raise self._failure
        until = min(until, self._patience.ends)
        if self._loop.time() < until:
            self._change = self._loop.create_future()
            timer = self._loop.call_at(until, self._wake)
            try:
                await self._change
            finally:
                self._change = None
                timer.cancel()
        if self._loop.time() >= self._patience.ends:
            self._fail(self._patience.failure())

    def _wake(self) -> None:
        if self._change is not None and not self._change.done():
            self._change.set_result(None)

    def _move_reader(self, to: Reader) -> bool:
        moves = follow(self._reader, to)
        if moves:
            self._reader = to
        return moves

    def _fail(self, error: Exception) -> None:
        if self._reader is Reader.LEFT or not follow(self._result, Result.FAILED):
            return
        self._result = Result.FAILED
        if isinstance(error, ServiceError):
            error.logid = error.logid or self._logid
        self._failure = error
        self._wake()

    def _deliver(self) -> None:
        """Hands the pending events to the listener, if there is one."""
        if self._take is None:
            return
        if self._result is Result.FAILED:
            # It has failed before the listener had its end, which must not be told now.
            self._pending = [event for event in self._pending if not isinstance(event, ChatCompletedEvent)]
        if self._pending:
            events, self._pending = self._pending, []
            try:
                self._take(events)
            except Exception as error:
                self._fail(error)
                return
        if self._translation.completed and follow(self._result, Result.COMPLETED):
            self._result = Result.COMPLETED
            self._wake()

    # Called by the exchange.

    def answered(self, answer: Answer) -> None:
        self._logid = answer.logid
        self._body = ChatBody(answer, self.asked, self._translation)

    def received(self, part: bytes) -> None:
        assert self._body is not None
        # Of a chat that has failed or was left, nothing but its name is still of use.
        wanted = self._result is Result.OPEN and self._reader is not Reader.LEFT
        try:
            if self._body.feed(part, self._pending if wanted else []) and self._translation.started:
                self._patience.renew(self._loop.time())
        except Exception as error:
            # What came before the failure is nonetheless the caller's.
            self._deliver()
            self._fail(error)
            if self._reader is Reader.LEFT:
                self._disconnect()
            return
        self._deliver()
        if self._take is None:
            self._wake()
            if self._pending and self._exchange is not None:
                # Nobody listens yet: the rest can wait at Coze.
                self._exchange.pause()

    def ended(self, failure: ServiceError | None) -> bool:
        self._exchange = None
        if not self._translation.over:
            if failure is None:
                assert self._body is not None
                failure = self._body.error()
            self._refused = failure.code is not None
            self._fail(failure)
        self._wake()
        return self._translation.over or self._refused
