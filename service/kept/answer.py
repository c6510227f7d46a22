"""One answer that is kept: what Coze has said, event by event, and who follows it.

A reader adds events; followers come and go, each at its own place. None of them holds up the reader, or another
follower: a slow one only falls behind in a list that is there anyway.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from generated.models import (
    ChatCompletedEvent,
    ChatStartedEvent,
    EndEvent,
    ErrorEvent,
    FollowUpEvent,
    MessageDeltaEvent,
    ReasoningDeltaEvent,
)
from service.answers.events import END, block, blocks, failed
from service.coze import ChatEvent
from service.errors import STOPPING, ServiceError
from service.users.caller import Principal

_decode = msgspec.json.Decoder(ChatEvent | ErrorEvent | EndEvent).decode


class Status(StrEnum):
    """Where an answer stands."""

    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"  # it was stopped, or nobody followed it


@dataclass(slots=True)
class Said:
    """The texts of an answer so far, in their pieces, and its last event once Coze has completed it."""

    content: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    follow_ups: list[str] = field(default_factory=list)
    completed: ChatCompletedEvent | None = None


class KeptAnswer:
    """An answer of `user`, in progress until it ends.

    Its events are numbered from 1; `parts[n - 1]` is event n as it is written, with its id. Followers have the first
    `shown` of them. With `publish` others keep the answer too: it is called with every change, and the change is shown
    once they have it, so that nobody has seen an event that could be lost with this process.
    """

    def __init__(
        self,
        user: Principal,
        bot_id: str,
        *,
        answer_id: str | None = None,
        publish: Callable[["KeptAnswer"], None] | None = None,
    ) -> None:
        self.answer_id = answer_id or secrets.token_urlsafe(18)  # which nobody guesses
        self.user = user
        self.bot_id = bot_id
        self.status = Status.IN_PROGRESS
        self.begun = False
        self.conversation_id: str | None = None
        self.chat_id: str | None = None
        self.parts: list[bytes] = []
        self.shown = 0
        self.size = 0  # of the parts, in bytes
        self.failure: ServiceError | None = None
        self.left = False  # another process goes on with it
        self.followers = 0
        self.visited = False  # had a follower since this was last set back
        self.publish = publish
        self.shared = publish is not None
        self._said = Said()
        self._decoded = 0  # of the parts
        self._loop = asyncio.get_running_loop()
        self.alone_since = self._loop.time()
        self._waiting: set[asyncio.Future[None]] = set()

    @property
    def over(self) -> bool:
        """Whether followers have all that there will be."""
        return self.status is not Status.IN_PROGRESS and self.shown == len(self.parts)

    @property
    def said(self) -> Said:
        """The texts of the events that are shown. Decoded when they are asked for: most followers want the events."""
        said = self._said
        for part in self.parts[self._decoded : self.shown]:
            match _decode(part[len(b"data: ") : part.index(b"\n")]):
                case ChatStartedEvent() as event:
                    self.conversation_id, self.chat_id = event.conversation_id, event.chat_id
                case MessageDeltaEvent(content=content):
                    said.content.append(content)
                case ReasoningDeltaEvent(content=content):
                    said.reasoning.append(content)
                case FollowUpEvent(content=content):
                    said.follow_ups.append(content)
                case ChatCompletedEvent() as event:
                    said.completed, self.conversation_id = event, event.conversation_id
        self._decoded = self.shown
        return said

    # What its reader tells.

    def begin(self, conversation_id: str | None, chat_id: str | None) -> None:
        """Coze has made a good start: from here on a failure is an event of the answer."""
        self.conversation_id, self.chat_id = conversation_id, chat_id
        self.begun = True

    def add(self, events: Sequence[ChatEvent]) -> None:
        for event in events:
            if isinstance(event, ChatStartedEvent):
                event.answer_id = self.answer_id
                self.conversation_id, self.chat_id = event.conversation_id, event.chat_id
        for part in blocks(list(events)):
            self._keep(part)
        self._changed()

    def complete(self) -> None:
        self._end(Status.COMPLETED)

    def fail(self, failure: ServiceError, status: Status = Status.FAILED) -> None:
        """Ends the answer with what whoever asked is told: as a status, if nothing came before it."""
        self.failure = failure
        if self.begun:
            self._keep(failed(failure))
        self._end(status)

    def hand_over(self) -> bool:
        """Leaves the rest to another process. Returns False if none could go on with it."""
        if not (self.shared and self.conversation_id and self.chat_id):
            return False
        self.leave()
        return True

    # What its mirror or its publisher tells, where several processes share answers.

    def take(self, part: bytes) -> None:
        """Adds the next event as it is written, to be shown."""
        self.begun = True
        self.parts.append(part)
        self.size += len(part)

    def close(self, status: Status, failure: ServiceError | None) -> None:
        self.status, self.failure = status, failure
        self.alone_since = self._loop.time()
        self.show()

    def show(self, most: int | None = None) -> None:
        """Shows all parts, or the first `most`. Once the answer is left, nothing more is shown here."""
        if not self.left:
            self.shown = len(self.parts) if most is None else max(self.shown, most)
        self._wake()

    def leave(self) -> None:
        """Sends followers away: when they come back, it is to a process that goes on with the answer."""
        self.left = True
        self._wake()

    # What followers do.

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """Counts a follower, within the context."""
        self.followers += 1
        self.visited = True
        try:
            yield
        finally:
            self.followers -= 1
            self.alone_since = self._loop.time()

    async def news(self, after: int, seconds: float | None = None) -> None:
        """Returns once there is an event behind number `after`, no more will come, or so many seconds have passed."""
        if self.shown > after or self.over or self.left:
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
        """Returns once there is an event. Raises ServiceError if there will be none."""
        while not (self.shown or self.over or self.left):
            await self.news(0)
        if not self.shown:
            raise _told(self.failure) if self.failure else ServiceError(STOPPING)

    async def ended(self) -> ChatCompletedEvent:
        """Returns the last event, once Coze has completed the answer. Raises ServiceError if it does not."""
        while not self.over:
            await self.news(self.shown)
            if self.left:
                raise ServiceError(STOPPING)
        if self.failure is not None:
            raise _told(self.failure)
        end = self.said.completed
        assert end is not None
        return end

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
        self._changed()

    def _changed(self) -> None:
        if self.publish is not None:
            self.publish(self)
        else:
            self.show()

    def _wake(self) -> None:
        for waiting in self._waiting:
            _wake(waiting)


def _told(failure: ServiceError) -> ServiceError:
    """Returns the failure of an answer for one who asks for it. Coze has no part in that: it has failed the answer."""
    plain = failure.failure._replace(coze=None)
    return ServiceError(plain, failure.message, retry_after=failure.retry_after, cause=failure.cause)


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
