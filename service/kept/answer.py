"""One answer that is kept: what Coze has said, event by event, and who follows it.

A reader of Coze adds events; followers come and go, each at its own place. None of them holds up the reader, or another
follower: a slow one only falls behind in a list that is there anyway.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from enum import StrEnum

from generated.models import ChatCompletedEvent, ChatStartedEvent, FollowUpEvent, MessageDeltaEvent, ReasoningDeltaEvent
from service.answers.events import END, block, blocks, failed
from service.coze import ChatEvent
from service.errors import ServiceError
from service.users.caller import Principal


class Status(StrEnum):
    """Where an answer stands."""

    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"  # it was stopped, or nobody followed it


class KeptAnswer:
    """An answer of `user`, in progress until `complete` or `fail`.

    Its events are numbered from 1; `parts[n - 1]` is event n as it is written, with its id.
    """

    def __init__(self, user: Principal, bot_id: str) -> None:
        self.answer_id = secrets.token_urlsafe(18)  # which nobody guesses
        self.user = user
        self.bot_id = bot_id
        self.status = Status.IN_PROGRESS
        self.begun = False
        self.conversation_id: str | None = None
        self.chat_id: str | None = None
        self.parts: list[bytes] = []
        self.size = 0  # of the parts, in bytes
        self.content: list[str] = []
        self.reasoning: list[str] = []
        self.follow_ups: list[str] = []
        self.completed: ChatCompletedEvent | None = None
        self.failure: ServiceError | None = None
        self.followers = 0
        self._loop = asyncio.get_running_loop()
        self.alone_since = self._loop.time()
        self._waiting: set[asyncio.Future[None]] = set()

    @property
    def over(self) -> bool:
        return self.status is not Status.IN_PROGRESS

    # What the reader of Coze tells.

    def begin(self, conversation_id: str | None, chat_id: str | None) -> None:
        """Coze has made a good start: from here on a failure is an event of the answer."""
        self.conversation_id, self.chat_id = conversation_id, chat_id
        self.begun = True
        self._wake()

    def add(self, events: Sequence[ChatEvent]) -> None:
        for event in events:
            match event:
                case ChatStartedEvent():
                    event.answer_id = self.answer_id
                case MessageDeltaEvent():
                    self.content.append(event.content)
                case ReasoningDeltaEvent():
                    self.reasoning.append(event.content)
                case FollowUpEvent():
                    self.follow_ups.append(event.content)
                case ChatCompletedEvent():
                    self.completed = event
        for part in blocks(list(events)):
            self._keep(part)
        self._wake()

    def complete(self) -> None:
        self._end(Status.COMPLETED)

    def fail(self, failure: ServiceError, status: Status = Status.FAILED) -> None:
        """Ends the answer with what whoever asked is told: as a status, if nothing came before it."""
        self.failure = failure
        if self.begun:
            self._keep(failed(failure))
        self._end(status)

    # What followers do.

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """Counts a follower, within the context."""
        self.followers += 1
        try:
            yield
        finally:
            self.followers -= 1
            self.alone_since = self._loop.time()

    async def news(self, after: int, seconds: float | None = None) -> None:
        """Returns once there is an event behind number `after`, the answer is over, or so many seconds have passed."""
        if len(self.parts) > after or self.over:
            return
        timer = None
        waiting = self._loop.create_future()
        if seconds is not None:
            timer = self._loop.call_later(seconds, _wake, waiting)
        self._waiting.add(waiting)
        try:
            await waiting
        finally:
            self._waiting.discard(waiting)
            if timer is not None:
                timer.cancel()

    async def started(self) -> None:
        """Returns once Coze has made a good start. Raises ServiceError if it does not make one."""
        while not self.begun and not self.over:
            await self.news(0)
        if not self.begun and self.failure is not None:
            raise self.failure

    async def ended(self) -> ChatCompletedEvent:
        """Returns the last event, once Coze has completed the answer. Raises ServiceError if it does not."""
        while not self.over:
            await self.news(len(self.parts))
        if self.failure is not None:
            raise self.failure
        assert self.completed is not None
        return self.completed

    def _keep(self, part: bytes) -> None:
        # The id stands last: some readers would go on behind an event of which they have the id, but not yet the data.
        line = b"%bid: %b.%d\n\n" % (part.removesuffix(b"\n"), self.answer_id.encode(), len(self.parts) + 1)
        self.parts.append(line)
        self.size += len(line)

    def _end(self, status: Status) -> None:
        if self.begun:
            self._keep(block(END))
        self.status = status
        self.alone_since = self._loop.time()
        self._wake()

    def _wake(self) -> None:
        for waiting in self._waiting:
            _wake(waiting)


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
