"""One chat at Coze, from the request until Coze has nothing left to do for it.

The caller opens it, listens to it until it is completed, and always leaves it. What Coze says goes from the socket to
the listener in one turn of the loop: no task wakes up for it. Whoever leaves before the end frees Coze: the response is
closed and the chat cancelled, else its conversation would stay locked and tokens would burn.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from service.coze.body import ChatBody
from service.coze.translation import ChatEvent, Translation
from service.coze.transport import listen, logid_of, transport_error
from service.errors import TIMED_OUT, TOKEN_REFUSED, Asked, Failure, ServiceError
from service.settings import Settings

# How long a chat that was left is still read, so that Coze can name it, or end it, or close its response.
_PARTING_SECONDS = 5.0
# How long one is looked at that has been named: it may have completed while its reader was slow.
_LAST_LOOK_SECONDS = 0.1


class Chat:
    """`send` makes the request; `token_refused` is called if Coze does not accept its token; `cancel` cancels a chat by
    conversation and chat id; `finished` is called when Coze has nothing left to do for it.
    """

    def __init__(
        self,
        settings: Settings,
        asked: Asked,
        *,
        send: Callable[[], Awaitable[aiohttp.ClientResponse]],
        token_refused: Callable[[], None],
        cancel: Callable[[str, str], Awaitable[None]],
        spawn: Callable[[Any], None],
        finished: Callable[["Chat"], None],
    ) -> None:
        self._settings = settings
        self._asked = asked
        self._send = send
        self._token_refused = token_refused
        self._cancel = cancel
        self._spawn = spawn
        self._finished = finished
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self._deadline = now + settings.coze_chat_timeout
        self._silence_ends = min(now + settings.coze_first_event_timeout, self._deadline)
        self.logid: str | None = None  # Coze's id of the exchange, once it has answered
        self._asking: asyncio.Task[None] | None = None
        self._response: aiohttp.ClientResponse | None = None
        self._body: ChatBody | None = None
        self._taking_in = False
        self._taken_in = 0  # bytes of the body
        self._translation = Translation(asked)
        self._ready: list[ChatEvent] = []  # what came before anybody listened
        self._take: Callable[[list[ChatEvent]], None] | None = None
        self._failure: Exception | None = None
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
            # In a task of its own, as it goes on if the caller leaves: only an answer tells which chat to cancel.
            self._asking = asyncio.ensure_future(self._ask())
            while not self._translation.started:
                await self._news(self._silence_ends)
        except ServiceError as error:
            if error.failure is TOKEN_REFUSED:
                self._token_refused()
            raise

    def listen(self, take: Callable[[list[ChatEvent]], None]) -> None:
        """From here on `take` is called with the next events, in order, as they come. What it raises fails the chat."""
        self._take = take
        self.go_on()

    def hold(self) -> None:
        """Calls `take` no more until `go_on`. Coze is read no further, and that is not its silence."""
        self._taking_in = False
        self._silence_ends = self._deadline

    def go_on(self) -> None:
        self._hear()
        self._taking_in = not self._left
        self._on_news()
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

    def leave(self) -> None:
        """Gives the chat back, however it stands. Returns at once; what is left to do with Coze goes on by itself."""
        if self._left:
            return
        self._left = True
        self._taking_in = False
        # These and the response lead back to the chat: it shall be gone at once, not when garbage is collected.
        self._take = self._failure = None
        over = self._translation.over
        if over:
            self._finished(self)
        if over and self._response is not None and self._response.content.at_eof():
            self._response.release()
        else:
            self._spawn(self._part())

    async def _part(self) -> None:
        try:
            try:
                # However that goes, there is nobody left to tell.
                with contextlib.suppress(TimeoutError, aiohttp.ClientError, ServiceError, asyncio.CancelledError):
                    async with asyncio.timeout(_PARTING_SECONDS):
                        await self._read_on()
            finally:
                if self._asking is not None:
                    self._asking.cancel()
                if self._response is not None:
                    self._response.close()
                    self._response = None
                translation = self._translation
                if translation.chat_id and translation.conversation_id and not translation.over:
                    await self._cancel(translation.conversation_id, translation.chat_id)
        finally:
            self._finished(self)

    async def _read_on(self) -> None:
        """Until Coze has named the chat; of one that is over, until its connection can be used again."""
        if self._asking is not None:
            await self._asking
        response, translation = self._response, self._translation
        if response is None:
            return
        while translation.over or not translation.chat_id:
            if not await self._skip(response):
                return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_LOOK_SECONDS):
                while not translation.over and await self._skip(response):
                    pass
        if translation.over:
            await self._read_on()

    async def _skip(self, response: aiohttp.ClientResponse) -> bool:
        """Reads once, for nobody. False at the end."""
        chunk = await response.content.readany()
        assert self._body is not None
        self._body.feed(chunk, [])
        return bool(chunk)

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
        if self._failure is not None or self._completed:
            return
        if isinstance(error, aiohttp.ClientError):
            error = transport_error(error)
        if isinstance(error, ServiceError):
            error.logid = error.logid or self.logid
        self._failure = error
        self._wake()

    async def _ask(self) -> None:
        try:
            self._response = response = await self._send()
            # In the same turn: who leaves in the next finds it all, and no end of the connection is missed.
            self.logid = logid_of(response)
            self._body = ChatBody(response, self._asked, self._translation)
            self._taking_in = not self._left
            listen(response, self._on_news)
            self._on_news()
        except Exception as error:
            self._fail(error)
        finally:
            self._asking = None

    def _on_news(self) -> None:
        """Takes in what is new of the response. The loop calls it: what fails here is for who waits."""
        if not self._taking_in:
            return
        try:
            try:
                if self._failure is None:
                    self._read()
            finally:
                # What came before a failure is nonetheless the caller's.
                if self._ready and self._take is not None:
                    events, self._ready = self._ready, []
                    self._take(events)
        except Exception as error:
            self._fail(error)
            return
        if self._take is None or self._translation.over:
            self._completed = self._translation.completed and not self._ready
            self._wake()

    def _read(self) -> None:
        assert self._response is not None
        assert self._body is not None
        content, translation = self._response.content, self._translation
        # Again and again: reading may let aiohttp go on with what it has held back.
        while self._taking_in and self._taken_in < content.total_bytes and content.exception() is None:
            chunk = content.read_nowait()
            self._taken_in += len(chunk)
            if self._body.feed(chunk, self._ready) and translation.started:
                self._hear()
                if self._take is None:
                    # What comes while nobody listens can wait.
                    self._taking_in = False
        if not self._taking_in or translation.over:
            return
        if (error := content.exception()) is not None:
            raise transport_error(error)
        if content.is_eof():
            self._body.end()

    def _hear(self) -> None:
        """Coze has said something, or was not listened to."""
        self._silence_ends = min(self._loop.time() + self._settings.coze_event_timeout, self._deadline)
