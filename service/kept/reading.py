"""The reading of a chat into a kept answer, which goes on whoever listens.

At a stop another process goes on with the answer, where others keep it too.
"""

import math
from collections.abc import Awaitable, Callable

import structlog

from service.bounds import BOUNDS
from service.coze import Chat, ChatEvent
from service.coze.errors import NOT_UNDERSTOOD
from service.errors import BUG, STOPPED, STOPPING, ServiceError
from service.kept.answer import KeptAnswer, Status
from service.observe.record import Outcome, RequestRecord
from service.observe.report import report_answer

log = structlog.get_logger()

Named = Callable[[str | None], Awaitable[None]]


async def read(chat: Chat, answer: KeptAnswer, record: RequestRecord, named: Named) -> None:
    """Reads `chat` to its end into `answer`, and reports it by `record`.

    Calls `named` with Coze's id of the conversation, once it has made a good start.
    """

    def take(events: list[ChatEvent]) -> None:
        record.count(events)
        answer.add(events)
        if answer.size > BOUNDS.answer_characters:
            raise ServiceError(NOT_UNDERSTOOD, cause="an answer without end")

    handed_over = False
    try:
        await chat.open()
        await named(chat.ids[0])
        answer.begin(*chat.ids)
        chat.listen(take)
        await chat.completed(math.inf)
        answer.complete()
        record.end(Outcome.COMPLETED)
    except ServiceError as failure:
        handed_over = failure.failure is STOPPING and answer.hand_over()
        if not handed_over:
            fail(answer, record, failure)
    except Exception as error:
        log.error("bug", exc_info=error)
        fail(answer, record, ServiceError(BUG))
    finally:
        record.note_chat(*chat.ids)
        chat.leave(goes_on=handed_over)
        if handed_over:
            log.info("answer handed over")
        else:
            report_answer(record)


def fail(answer: KeptAnswer, record: RequestRecord, failure: ServiceError) -> None:
    """Ends an answer that has failed, or was stopped."""
    stopped = failure.failure is STOPPED
    answer.fail(failure, Status.CANCELED if stopped else Status.FAILED)
    if stopped:
        record.end(Outcome.LEFT)
    else:
        if failure.failure is STOPPING:
            failure.cause = "the service stopped"
        record.fail(failure)
