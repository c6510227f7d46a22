"""One chat at Coze, from the request until Coze has nothing left to do for it.

The caller opens it, listens to it until it is completed, and always leaves it. What Coze says goes from the socket to
the listener in one turn of the loop: no task wakes up for it. Whoever leaves before the end frees Coze: the exchange is
closed and the chat cancelled, else its conversation would stay locked and tokens would burn.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from service.bounds import BOUNDS
from service.coze.chat_body import ChatBody
from service.coze.errors import TIMED_OUT, TOKEN_REFUSED, Asked
from service.coze.http import Answer, Exchange, Receiver
from service.coze.translation import ChatEvent, Translation
from service.errors import Failure, ServiceError
from service.settings import Settings


class Chat:
    """`ask` makes the request and begins the exchange that the chat receives; `token_refused` is called if Coze does
    not accept its token; `cancel` cancels a chat by conversation and chat id; `finished` is called when Coze has
    nothing left to do for it.
    """

    def __init__(
        self,
        settings: Settings,
        asked: Asked,
        *,
        ask: Callable[[Receiver], Awaitable[Exchange]],
        token_refused: Callable[[], None],
        cancel: Callable[[str, str], Awaitable[None]],
        spawn: Callable[[Any], None],
        finished: Callable[["Chat"], None],
    ) -> None:
        self._settings = settings
        self._asked = asked
        self._ask = ask
        self._token_refused = token_refused
        self._cancel = cancel
        self._spawn = spawn
        self._finished = finished
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self._deadline = now + settings.coze_chat_timeout
        self._silence_ends = min(now + settings.coze_first_event_timeout, self._deadline)
        self.logid: str | None = None  # Coze's id of the exchange, once it has answered
        self._asking: asyncio.Timeout | None = None
        self._exchange: Exchange | None = None  # until its end
        self._body: ChatBody | None = None
        self._translation = Translation(asked)
        self._ready: list[ChatEvent] = []  # what came before anybody listened
        self._take: Callable[[list[ChatEvent]], None] | None = None
        self._held = False
        self._failure: Exception | None = None
        self._refused = False  # in words of Coze's
        self._completed = False  # and all of it taken
        self._waiter: asyncio.Future[None] | None = None
        self._left = False

    @property
    def ids(self) -> tuple[str | None, str | None]:
        """Coze's ids of the conversation and of the chat, once it has named them."""
        return self._translation.conversation_id, self._translation.chat_id

    async def open(self) -> None:
        """Returns once Coze has made a good start. Raises ServiceError if the first thing it says is a failure."""
        try:
            await self._begin()
            while not self._translation.started:
                await self._news(self._silence_ends)
        except ServiceError as error:
            if error.failure is TOKEN_REFUSED:
                self._token_refused()
            raise

    async def _begin(self) -> None:
        """Whoever is cancelled in here has asked Coze nothing. Returns early if interrupted or out of time."""
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self._silence_ends) as self._asking:
                    self._exchange = await self._ask(self)
        finally:
            self._asking = None
            # It holds the question, which may be long.
            del self._ask

    def listen(self, take: Callable[[list[ChatEvent]], None]) -> None:
        """From here on `take` is called with the next events, in order, as they come. What it raises fails the chat."""
        self._take = take
        self.go_on()

    def hold(self) -> None:
        """Calls `take` no more until `go_on`. Coze is soon read no further, and that is not its silence."""
        if self._left:
            return
        self._hold()
        self._silence_ends = self._deadline

    def _hold(self) -> None:
        self._held = True
        if self._exchange is not None:
            self._exchange.hold()

    def go_on(self) -> None:
        self._hear()
        self._held = False
        self._hand_on()
        if self._exchange is not None and not self._held:
            self._exchange.go_on()
        # Who waits has to look at the clock anew.
        self._wake()

    async def completed(self, until: float) -> bool:
        """True once Coze has completed the chat and all of it was taken; False if not by the loop's time `until`.

        Raises ServiceError once Coze fails the chat or stops before completing it.
        """
        while not self._completed:
            await self._news(until)
            if self._loop.time() >= until:
                break
        return self._completed

    def interrupt(self, failure: Failure) -> None:
        """Fails the chat, whatever Coze does."""
        # Coze's side stays open until `leave`: a chat that has no name yet is to get one, so that it can be cancelled.
        self._fail(ServiceError(failure))
        if self._asking is not None and not self._asking.expired():
            self._asking.reschedule(self._loop.time())

    def leave(self) -> None:
        """Gives the chat back, however it stands. Returns at once; what is left to do with Coze goes on by itself."""
        if self._left:
            return
        self._left = True
        # These and the exchange lead back to the chat: it shall be gone at once, not when garbage is collected.
        self._take = self._failure = None
        self._ready.clear()
        parting = self._exchange is not None or self._to_be_cancelled is not None
        if parting:
            self._spawn(self._part())
        if not parting or self._translation.over:
            self._finished(self)

    @property
    def _to_be_cancelled(self) -> tuple[str, str] | None:
        """The ids of the conversation and of the chat, while Coze works on it and has named it."""
        conversation_id, chat_id = self.ids
        return (conversation_id, chat_id) if conversation_id and chat_id and not self._translation.over else None

    async def _part(self) -> None:
        translation = self._translation
        try:
            if self._exchange is not None:
                self._exchange.go_on()
            await self._until(lambda: bool(translation.chat_id or translation.over), BOUNDS.leave_seconds)
            await self._until(lambda: translation.over, BOUNDS.leave_named_seconds)
            if translation.over:
                # So that the connection can be used again.
                await self._until(lambda: False, BOUNDS.leave_seconds)
            self._hang_up()
            if ids := self._to_be_cancelled:
                await self._cancel(*ids)
        finally:
            self._finished(self)

    async def _until(self, reached: Callable[[], bool], seconds: float) -> None:
        """Returns at the latest when the exchange ends."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._exchange is not None and not reached():
                    self._waiter = self._loop.create_future()
                    await self._waiter

    def _hang_up(self) -> None:
        if self._exchange is not None:
            self._exchange.close()
            self._exchange = None
        self._wake()

    async def _news(self, until: float) -> None:
        """Returns when something has happened, or at the loop's time `until`. Raises what the chat has failed with."""
        if self._failure is not None:
            raise self._failure
        until = min(until, self._silence_ends)
        if self._loop.time() < until:
            self._waiter = self._loop.create_future()
            timer = self._loop.call_at(until, self._wake)
            try:
                await self._waiter
            finally:
                self._waiter = None
                timer.cancel()
        if self._loop.time() >= self._silence_ends:
            whole = self._silence_ends == self._deadline
            self._fail(ServiceError(TIMED_OUT, cause="the whole chat took too long" if whole else "silence"))

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, error: Exception) -> None:
        # What a first failure leads to must not hide it, and an answer that somebody has whole fails no more.
        if self._failure is not None or self._completed or self._left:
            return
        if isinstance(error, ServiceError):
            error.logid = error.logid or self.logid
        self._failure = error
        self._wake()

    # What the exchange tells.

    def answered(self, answer: Answer) -> None:
        self.logid = answer.logid
        self._body = ChatBody(answer, self._asked, self._translation)

    def received(self, part: bytes) -> None:
        assert self._body is not None
        # Of a chat that has failed or was left, nothing but its name is still of use.
        ready: list[ChatEvent] = self._ready if self._failure is None and not self._left else []
        try:
            if self._body.feed(part, ready) and self._translation.started:
                self._hear()
        except Exception as error:
            # What came before it is nonetheless the caller's.
            self._hand_on()
            self._fail(error)
            if self._left:
                self._hang_up()
            return
        self._hand_on()
        if self._ready and self._take is None:
            # What comes while nobody listens can wait.
            self._hold()

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

    def _hand_on(self) -> None:
        if self._take is not None and self._ready:
            events, self._ready = self._ready, []
            try:
                self._take(events)
            except Exception as error:
                self._fail(error)
                return
        if self._take is None or self._translation.over:
            self._completed = self._translation.completed and self._failure is None and not self._ready
            self._wake()

    def _hear(self) -> None:
        """Coze has said something, or was not listened to."""
        self._silence_ends = min(self._loop.time() + self._settings.coze_event_timeout, self._deadline)
