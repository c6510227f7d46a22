"""The reading of a chat into a kept answer, which goes on whoever listens."""

import math
from collections.abc import Awaitable, Callable

import structlog

from service.bounds import BOUNDS
from service.coze import Chat, ChatEvent
from service.coze.errors import NOT_UNDERSTOOD
from service.errors import BUG, STOPPED, ServiceError
from service.kept.answer import KeptAnswer, Status
from service.observe.record import Outcome, RequestRecord
from service.observe.report import report_answer

log = structlog.get_logger()

Named = Callable[[str | None, str | None], Awaitable[None]]


async def read(chat: Chat, answer: KeptAnswer, record: RequestRecord, named: Named) -> None:
    """Reads `chat` to its end into `answer`, and reports it by `record`.

    Calls `named` with Coze's ids of the conversation and of the chat, once it has made a good start.
    """

    def take(events: list[ChatEvent]) -> None:
        record.count(events)
        answer.add(events)
        if answer.size > BOUNDS.answer_characters:
            raise ServiceError(NOT_UNDERSTOOD, cause="an answer without end")

    try:
        await chat.open()
        await named(*chat.ids)
        answer.begin(*chat.ids)
        chat.listen(take)
        await chat.completed(math.inf)
        answer.complete()
        record.end(Outcome.COMPLETED)
    except ServiceError as failure:
        _fail(answer, record, failure)
    except Exception as error:
        log.error("bug", exc_info=error)
        _fail(answer, record, ServiceError(BUG))
    finally:
        record.note_chat(*chat.ids)
        chat.leave()
        report_answer(record)


def _fail(answer: KeptAnswer, record: RequestRecord, failure: ServiceError) -> None:
    stopped = failure.failure is STOPPED
    answer.fail(failure, Status.CANCELED if stopped else Status.FAILED)
    if stopped:
        record.end(Outcome.LEFT)
    else:
        record.fail(failure)
