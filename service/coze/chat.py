"""One chat at Coze, from the request until Coze has nothing left to do for it.

The caller opens it, reads it, and always leaves it. Whoever leaves before the end frees Coze: the response is closed
and the chat cancelled, else its conversation would stay locked and tokens would burn.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from service.clock import timestamp
from service.coze import wire
from service.coze.patience import Patience
from service.coze.sse import EventParser, EventTooLarge
from service.coze.translation import ChatEvent, Translation
from service.coze.transport import logid_of, read_body, retry_after_of, transport_error
from service.errors import (
    BROKE_OFF,
    NOT_UNDERSTOOD,
    TIMED_OUT,
    TOKEN_REFUSED,
    Asked,
    Failure,
    ServiceError,
    coze_failure,
)
from service.settings import Settings

# How long a chat that was left is still read, so that Coze can name it, or end it, or close its response.
_PARTING_SECONDS = 5.0
# How long one is looked at that has been named: it may have completed while its reader was slow.
_LAST_LOOK_SECONDS = 0.1
# How much of a body that is no event stream is kept to look for an error in it.
_MAX_PLAIN_BYTES = 64 * 1024


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
        self.deadline = now + settings.coze_chat_timeout
        self._silence_ends = min(now + settings.coze_first_event_timeout, self.deadline)
        self._opening: asyncio.Task[aiohttp.ClientResponse] | None = None
        self._opened: asyncio.Future[aiohttp.ClientResponse] | None = None
        self._response: aiohttp.ClientResponse | None = None
        self._parser = EventParser()
        self._translation = Translation(asked)
        self._plain: bytearray | None = bytearray()  # the body so far, while it may turn out to be no event stream
        self._ready: list[ChatEvent] = []
        self._failure: ServiceError | None = None
        self._patience: Patience | None = None
        self._reader_was_away = False
        self._left = False

    @property
    def logid(self) -> str | None:
        """Coze's id of the exchange, once it has answered."""
        return logid_of(self._response) if self._response is not None else None

    @property
    def ids(self) -> tuple[str | None, str | None]:
        """Coze's ids of the conversation and of the chat, once it has named them."""
        return self._translation.conversation_id, self._translation.chat_id

    async def open(self) -> None:
        """Returns once Coze has made a good start. Raises ServiceError if the first thing it says is a failure."""
        try:
            await self._open()
        except ServiceError as error:
            if error.failure is TOKEN_REFUSED:
                self._token_refused()
            raise

    async def _open(self) -> None:
        self._opening = asyncio.ensure_future(self._send())
        self._patience = Patience()
        try:
            async with asyncio.timeout_at(self._silence_ends):
                # The request goes on if the caller leaves: only an answer tells which chat to cancel.
                self._opened = asyncio.shield(self._opening)
                self._response = await self._opened
                await self._check_response(self._response)
        except TimeoutError:
            raise ServiceError(TIMED_OUT, cause="no answer in time", logid=self.logid) from None
        except aiohttp.ClientError as error:
            raise transport_error(error, self.logid) from None
        except asyncio.CancelledError:
            # Either the caller was cancelled, or `interrupt` has ended the wait.
            if self._failure is None:
                raise
            raise self._failure from None
        while not self._translation.started:
            await self._take_chunk(self._silence_ends)
            if self._failure is not None and not self._translation.started:
                raise self._failure
        self._rest()

    async def read(self, until: float) -> list[ChatEvent]:
        """The next events, in order; none if there was only silence until the loop's time `until`.

        Raises ServiceError once Coze fails the chat or stops before completing it. After ChatCompletedEvent there is
        nothing to read. One task reads.
        """
        if self._patience is None:
            self._patience = Patience()
        if self._reader_was_away:
            # Time that the reader spent elsewhere, with a slow client perhaps, was not silence of Coze's.
            self._reader_was_away = False
            self._silence_ends = min(self._loop.time() + self._settings.coze_event_timeout, self.deadline)
        while not self._ready:
            if self._failure is not None:
                raise self._failure
            if not await self._take_chunk(until):
                return []
        events, self._ready = self._ready, []
        self._reader_was_away = True
        return events

    def interrupt(self, failure: Failure) -> None:
        """Makes the reader meet `failure` next, also if it is waiting just now."""
        self._failure = ServiceError(failure, logid=self.logid)
        # Coze's side stays open until `leave`: a chat that has no name yet is to get one, so that it can be cancelled.
        if self._opened is not None and not self._opened.done():
            self._opened.cancel()
        elif self._patience is not None:
            self._patience.end()

    def leave(self) -> None:
        """Gives the chat back, however it stands. Returns at once; what is left to do with Coze goes on by itself."""
        if self._left:
            return
        self._left = True
        self._rest()
        over = self._translation.over
        if over:
            self._finished(self)
        if over and self._response is not None and self._response.content.at_eof():
            self._response.release()
        else:
            self._spawn(self._part())

    async def _part(self) -> None:
        try:
            # However that goes, there is nobody left to tell.
            with contextlib.suppress(
                TimeoutError, aiohttp.ClientError, ServiceError, EventTooLarge, asyncio.CancelledError
            ):
                async with asyncio.timeout(_PARTING_SECONDS):
                    await self._read_on()
            if self._opening is not None and not self._opening.done():
                self._opening.cancel()
            if self._response is not None:
                self._response.close()
            translation = self._translation
            if translation.chat_id and translation.conversation_id and not translation.over:
                await self._cancel(translation.conversation_id, translation.chat_id)
        finally:
            self._finished(self)

    async def _read_on(self) -> None:
        """Until Coze has named the chat; of one that is over, until its connection can be used again."""
        if self._opening is None:
            return
        self._response = response = await self._opening
        translation = self._translation
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
        for name, data in self._parser.feed(chunk):
            self._translation.feed(name, data, [], "")
        return bool(chunk)

    async def _check_response(self, response: aiohttp.ClientResponse) -> None:
        """Raises ServiceError unless this is a stream, or may be one."""
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if response.status == 200 and kind in ("text/event-stream", ""):
            return
        body = await read_body(response, _MAX_PLAIN_BYTES)
        raise self._said_plainly(body, f"HTTP {response.status}, {kind or 'no content type'}")

    def _said_plainly(self, body: bytes, cause: str) -> ServiceError:
        """What a body that is no event stream means: perhaps it is JSON that names an error."""
        response = self._response
        status = response.status if response is not None else 200
        try:
            code = wire.decode_answer(body).code or None
        except wire.UNDECODABLE:
            code = None
        if code is None and status == 200:
            return ServiceError(NOT_UNDERSTOOD, cause=cause, logid=self.logid)
        failure = coze_failure(self._asked, code=code, status=status)
        wait = retry_after_of(response) if response is not None else None
        return ServiceError(failure, code=code, cause=cause, logid=self.logid, retry_after=wait)

    async def _take_chunk(self, until: float) -> bool:
        """Reads once and translates. False if nothing came until the loop's time `until`."""
        response, patience = self._response, self._patience
        assert response is not None
        assert patience is not None
        try:
            chunk = await patience.wait(response.content.readany(), min(until, self._silence_ends))
        except TimeoutError:
            if self._loop.time() < self._silence_ends:
                return False
            self._fail(ServiceError(TIMED_OUT, cause="silence", logid=self.logid))
            return True
        except aiohttp.ClientError as error:
            self._fail(transport_error(error, self.logid))
            return True
        if not chunk:
            self._at_end()
            return True
        self._translate(chunk)
        return True

    def _translate(self, chunk: bytes) -> None:
        parser, translation = self._parser, self._translation
        seen = parser.blocks
        try:
            now = timestamp()
            for name, data in parser.feed(chunk):
                if name in _DONE and not translation.over:
                    raise ServiceError(BROKE_OFF, cause="done without completed")
                translation.feed(name, data, self._ready, now)
        except ServiceError as failure:
            failure.logid = self.logid
            self._fail(failure)
        except EventTooLarge:
            self._fail(ServiceError(NOT_UNDERSTOOD, cause="an event without end", logid=self.logid))
        if parser.blocks != seen:
            self._plain = None
            if not self._ready and translation.started:
                # Coze has said something, if nothing for the caller.
                self._silence_ends = min(self._loop.time() + self._settings.coze_event_timeout, self.deadline)
        elif self._plain is not None and len(self._plain) < _MAX_PLAIN_BYTES:
            self._plain += chunk

    def _rest(self) -> None:
        if self._patience is not None:
            self._patience.stop()
            self._patience = None

    def _at_end(self) -> None:
        if self._plain is not None and self._plain.lstrip().startswith(b"{"):
            self._fail(self._said_plainly(bytes(self._plain), "JSON in place of events"))
        else:
            self._fail(ServiceError(BROKE_OFF, cause="the stream ended early", logid=self.logid))

    def _fail(self, failure: ServiceError) -> None:
        # An interruption closes the response; what that leads to must not hide it.
        self._failure = self._failure or failure


_DONE = {b"done", b"conversation.stream.done"}
