"""Tag Answers: answers that outlive their connection, for whoever comes back."""

from typing import Any

from litestar import Controller, Request, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp
from msgspec import UNSET

from generated.models import AnswerData, AnswerResponse, DoneResponse
from service.controllers.parameters import Parameters
from service.errors import ServiceError
from service.kept import FollowedStream, KeptAnswer, place
from service.pages.handlers import get
from service.services import Services
from service.users.caller import Kind, Principal, caller_of, user_of

_PATH = "/api/v1/answers"
_GET = Parameters("get", f"{_PATH}/{{answer_id}}")
_FOLLOW = Parameters("get", f"{_PATH}/{{answer_id}}/events")


class AnswersController(Controller):
    path = _PATH

    @get("/{answer_id:str}", operation_id="getAnswer")
    async def get_answer(
        self, request: Request[Any, Any, Any], services: NamedDependency[Services], answer_id: FromPath[str]
    ) -> AnswerResponse:
        answer = await services.answers.find(_user(request), answer_id)
        return AnswerResponse(success=True, message="Answer retrieved successfully", data=_data(answer))

    @get("/{answer_id:str}/events", operation_id="followAnswer")
    async def follow_answer(
        self, request: Request[Any, Any, Any], services: NamedDependency[Services], answer_id: FromPath[str]
    ) -> ASGIApp:
        answer = await services.answers.find(_user(request), answer_id)
        after = _FOLLOW.number(request, "after")
        seen = place(request.headers.get("last-event-id", ""))
        if seen is not None and seen.answer_id == answer_id:
            after = seen.number
        return await followed(answer, after, services)

    @post("/{answer_id:str}/stop", operation_id="stopAnswer", status_code=200)
    async def stop_answer(
        self, request: Request[Any, Any, Any], services: NamedDependency[Services], answer_id: FromPath[str]
    ) -> DoneResponse:
        answer = await services.answers.find(_user(request), answer_id)
        await services.answers.stop(answer)
        return DoneResponse(success=True, message="Answer stopped successfully", data=None)


async def followed(answer: KeptAnswer, after: int, services: Services) -> ASGIApp:
    """Returns the stream of an answer's events after number `after`. Raises its failure if the answer never began."""
    async with answer.followed():
        await answer.started()
    if answer.over and after >= len(answer.parts):
        return ASGIResponse(status_code=204)
    return FollowedStream(answer, after, services.settings.heartbeat_interval)


def _user(request: Request[Any, Any, Any]) -> Principal | None:
    """Returns whom the request is for; None if it proves nobody. Raises ServiceError (400, 403)."""
    caller, named = caller_of(request.scope), _GET.text(request, "user_id")
    return None if caller.kind is Kind.CLAIMED else user_of(caller, named)


def _data(answer: KeptAnswer) -> AnswerData:
    said, failure = answer.said, answer.failure
    end = said.completed
    return AnswerData(
        answer_id=answer.answer_id,
        status=answer.status.value,
        content="".join(said.content),
        reasoning_content="".join(said.reasoning) or UNSET,
        follow_ups=said.follow_ups or UNSET,
        last_event=answer.shown,
        conversation_id=answer.conversation_id or UNSET,
        chat_id=answer.chat_id or UNSET,
        message_id=end.message_id if end else UNSET,
        usage=end.usage if end else UNSET,
        error=_code(failure) if failure else UNSET,
    )


def _code(failure: ServiceError) -> str:
    return str(failure.failure.code)
