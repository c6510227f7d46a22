"""The rest of an answer whose reader has died or left, from Coze's own record of the chat."""

import asyncio
import secrets
import time

import structlog

from generated.models import ChatStartedEvent, FollowUpEvent, MessageDeltaEvent, ReasoningDeltaEvent
from service.bounds import BOUNDS
from service.coze import ChatEvent, Coze
from service.coze.errors import TIMED_OUT, Asked
from service.errors import ANSWER_LOST, BUG, Failure, ServiceError
from service.kept.answer import KeptAnswer, Said
from service.kept.reading import fail
from service.observe.record import Outcome, RequestRecord
from service.observe.report import report_answer

log = structlog.get_logger()


class Rescue:
    """The work on one answer. `about` is what the dead reader has noted of it."""

    def __init__(self, coze: Coze, answer: KeptAnswer, about: dict[str, str], chat_seconds: float) -> None:
        self._coze = coze
        self._answer = answer
        self._asked = Asked[about["asked"]]
        self._ends = float(about["begun"]) + chat_seconds
        self._interrupted: asyncio.Future[Failure] = asyncio.get_running_loop().create_future()

    def interrupt(self, failure: Failure) -> None:
        """Cancels the chat, and fails the answer with `failure`."""
        if not self._interrupted.done():
            self._interrupted.set_result(failure)

    async def run(self, record: RequestRecord) -> None:
        """Adds what is missing, once Coze has ended the chat, and reports the answer by `record`."""
        answer = self._answer
        log.info("answer taken over", events=len(answer.parts))
        try:
            events = await self._missing()
            record.count(events)
            answer.add(events)
            answer.complete()
            record.end(Outcome.COMPLETED)
        except ServiceError as failure:
            fail(answer, record, failure)
        except Exception as error:
            log.error("bug", exc_info=error)
            fail(answer, record, ServiceError(BUG))
        record.note_chat(answer.conversation_id, answer.chat_id)
        report_answer(record)

    async def _missing(self) -> list[ChatEvent]:
        answer, said = self._answer, self._answer.said
        if said.completed:
            return []
        conversation_id, chat_id = answer.conversation_id, answer.chat_id
        if not (conversation_id and chat_id):
            raise ServiceError(ANSWER_LOST, cause="Coze had not named the chat yet")
        answer.begun = True
        attempts, pause = 0, BOUNDS.recall_seconds
        while not self._interrupted.done():
            try:
                events = await self._coze.recall(self._asked, conversation_id, chat_id)
            except ServiceError as error:
                # What passes by itself may pass in time.
                if error.failure.retry_after is None or time.time() > self._ends:
                    raise
                events = None
            if isinstance(events, ServiceError):
                raise events
            if events is not None:
                attempts += 1
                found = rest(events, said, begun=bool(answer.parts))
                # The record may be late.
                if found is not None and (attempts >= BOUNDS.recall_attempts or _joined(events, MessageDeltaEvent)):
                    return found
                if attempts >= BOUNDS.recall_attempts:
                    raise ServiceError(ANSWER_LOST, cause="Coze's record is another")
            elif time.time() > self._ends:
                await self._coze.cancel(conversation_id, chat_id)
                raise ServiceError(TIMED_OUT, cause="the whole chat took too long")
            await asyncio.wait([self._interrupted], timeout=pause)
            pause = min(pause * 1.5, BOUNDS.recall_longest_seconds)
        await self._coze.cancel(conversation_id, chat_id)
        raise ServiceError(self._interrupted.result())


def record_of(about: dict[str, str]) -> RequestRecord:
    """Returns the record of a request whose answer another process began."""
    record = RequestRecord(about["request_id"] or secrets.token_hex(16))
    record.mode = "stream" if about["mode"] == "stream" else "json"
    record.chat_begun = True
    return record


def rest(events: list[ChatEvent], said: Said, *, begun: bool) -> list[ChatEvent] | None:
    """Returns those of a chat's `events` that come behind what was said of it, the first of each kind cut.

    Returns None if Coze's record does not begin with what was said. Thoughts may be missing there.
    """
    content, reasoning = "".join(said.content), "".join(said.reasoning)
    if not _joined(events, MessageDeltaEvent).startswith(content):
        return None
    thoughts = _joined(events, ReasoningDeltaEvent)
    had = {
        MessageDeltaEvent: len(content),
        ReasoningDeltaEvent: len(reasoning if thoughts.startswith(reasoning) else thoughts),
        FollowUpEvent: len(said.follow_ups),
    }
    found: list[ChatEvent] = []
    for event in events:
        match event:
            case ChatStartedEvent():
                if begun:
                    continue
            case FollowUpEvent():
                had[FollowUpEvent] -= 1
                if had[FollowUpEvent] >= 0:
                    continue
            case MessageDeltaEvent() | ReasoningDeltaEvent():
                cut = min(had[type(event)], len(event.content))
                had[type(event)] -= cut
                if cut == len(event.content):
                    continue
                event.content = event.content[cut:]
        found.append(event)
    return found


def _joined(events: list[ChatEvent], kind: type[MessageDeltaEvent | ReasoningDeltaEvent]) -> str:
    return "".join(event.content for event in events if isinstance(event, kind))
