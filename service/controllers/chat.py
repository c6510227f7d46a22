"""Tag Chat: chats with a bot, streamed or as one JSON document."""

import math
import re
from typing import Any

from litestar import Controller, Request, post
from litestar.di import NamedDependency
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp

from generated.models import ChatRequest
from service.answers.chat import Document, OwnForm, answer_document
from service.answers.last_event import fingerprint, is_answered
from service.contract import contract
from service.controllers.answers import followed
from service.controllers.json_body import JsonBody, invalid
from service.controllers.turn import Turn, answered
from service.coze import file_ids, words
from service.errors import BAD_REQUEST, ServiceError
from service.http.connection import connection_of, unless_client_leaves
from service.http.headers import header
from service.kept import KeptAnswer, Question, place
from service.observe.record import RequestRecord, record_of, recording
from service.ownership import name_of
from service.services import Services
from service.users.caller import caller_of, user_of

_PATH = "/api/v1/chat"
_SCHEMAS = contract().document["components"]["schemas"]
_NAMES: dict[str, dict[str, Any]] = {
    "custom_variables": _SCHEMAS["CustomVariables"]["propertyNames"],
    "meta_data": _SCHEMAS["MetaData"]["propertyNames"],
}
_KEY = re.compile(rb"[!-~]{1,128}")
_BODY = JsonBody("post", _PATH, ChatRequest)


class ChatController(Controller):
    path = _PATH

    @post(operation_id="chat", status_code=200)
    async def chat(self, request: Request[Any, Any, Any], services: NamedDependency[Services]) -> ASGIApp:
        asked, body = await _BODY.read(request, services)
        _check_names(asked)
        question, last_event_id = fingerprint(body), (header(request.scope, b"last-event-id") or b"").decode("latin-1")
        del body
        if asked.stream and is_answered(last_event_id, question):
            return ASGIResponse(status_code=204)
        user = user_of(caller_of(request.scope), asked.user_id or None)
        connection, stream, key = connection_of(request.scope), asked.stream or False, _key(request)
        if (seen := place(last_event_id)) is not None:
            answer = await services.answers.find(user, seen.answer_id)
            return await unless_client_leaves(connection, _kept(answer, seen.number, services, stream=stream))
        before = await services.answers.asked_before(user, key, question) if key is not None else None
        if before is None:
            await services.ownership.check_chat(user, asked.conversation_id or None, file_ids(asked))
        asked.user_id = user.user_id
        record = record_of(request.scope)
        record.mode = "stream" if stream else "json"
        turn = Turn(user, services.coze.bots.id_of(asked.bot_id or None), name_of(words(asked)) if user.owned else "")
        if key is not None or asked.on_disconnect == "continue":
            answer = before or await _begin(asked, turn, key, question, record, services)
            # The chat is the answer's, which has a record of its own.
            record.mode = None
            del asked
            return await unless_client_leaves(connection, _kept(answer, 0, services, stream=stream))
        chat = services.coze.chat(asked)
        # Release the messages, which may be long, before the answer, which may take long.
        del asked
        form = OwnForm(question, bot_id=turn.bot_id, user_id=user.user_id)
        return await answered(request.scope, services, chat, turn, form, stream=stream)


async def _begin(
    asked: ChatRequest, turn: Turn, key: str | None, question: str, record: RequestRecord, services: Services
) -> KeptAnswer:
    """Asks Coze for an answer that outlives its connection, unless one with this key has come first.

    Raises ServiceError (400, 429, 503) if it is not taken.
    """
    chat = services.coze.chat(asked)
    of_answer = RequestRecord(record.request_id, record.trace_id, caller=record.caller)
    of_answer.mode, of_answer.chat_begun = record.mode, True

    async def named(conversation_id: str | None) -> None:
        await turn.record(services.ownership, conversation_id)

    with recording(of_answer):
        return await services.answers.begin(Question(turn.user, turn.bot_id, key, question), chat, of_answer, named)


async def _kept(answer: KeptAnswer, after: int, services: Services, *, stream: bool) -> ASGIApp:
    """Returns a kept answer as a stream from behind event number `after`, or whole. Raises what it has failed with."""
    if stream:
        return await followed(answer, after, services)
    async with answer.followed():
        end = await answer.ended()
    said = answer.said
    whole = answer_document(
        said.content, said.reasoning, said.follow_ups, end, bot_id=answer.bot_id, user_id=answer.user.user_id
    )
    return Document(whole, [(b"answer-id", answer.answer_id.encode())])


def _key(request: Request[Any, Any, Any]) -> str | None:
    """Returns the request's Idempotency-Key. Raises ServiceError (400) if it is none, or if there are two."""
    keys = {value for name, value in request.scope["headers"] if name == b"idempotency-key"}
    if len(keys) > 1 or not all(map(_KEY.fullmatch, keys)):
        raise ServiceError(BAD_REQUEST, "The Idempotency-Key takes 1 to 128 letters, digits and signs, without spaces.")
    return keys.pop().decode() if keys else None


def _check_names(chat: ChatRequest) -> None:
    """Raises ServiceError (400) if an object has a name that the contract does not allow; the models check none."""
    for field, rule in _NAMES.items():
        least, most = rule.get("minLength", 0), rule.get("maxLength", math.inf)
        for name in getattr(chat, field) or {}:
            if not (least <= len(name) <= most and re.fullmatch(rule.get("pattern", "(?s:.*)"), name)):
                raise invalid(f"{name!r} is no name that `{field}` takes")
