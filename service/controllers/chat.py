"""Tag Chat: chats with a bot, streamed or as one JSON document."""

import math
import re
from typing import Any

import msgspec
from litestar import Controller, Request, post
from litestar.di import NamedDependency
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp

from generated.models import ChatRequest
from service.answers.chat import EventStream, chat_document, leave
from service.answers.last_event import fingerprint, is_answered
from service.contract import contract
from service.controllers.json_body import JsonBody, invalid
from service.coze import file_ids, words
from service.http.connection import connection_of, unless_client_leaves
from service.observe.record import Outcome, record_of
from service.ownership import name_of
from service.services import Services
from service.users.caller import caller_of, user_of

_PATH = "/api/v1/chat"
_SCHEMAS = contract().document["components"]["schemas"]
_NAMES: dict[str, dict[str, Any]] = {
    "custom_variables": _SCHEMAS["CustomVariables"]["propertyNames"],
    "meta_data": _SCHEMAS["MetaData"]["propertyNames"],
}
_BODY = JsonBody("post", _PATH, ChatRequest)


class ChatController(Controller):
    path = _PATH

    @post(operation_id="chat", status_code=200)
    async def chat(self, request: Request[Any, Any, Any], services: NamedDependency[Services]) -> ASGIApp:
        asked, body = await _BODY.read(request, services)
        _check_names(asked)
        question = fingerprint(body)
        if asked.stream and is_answered(request.headers.get("last-event-id", ""), question):
            return ASGIResponse(status_code=204)
        user = user_of(caller_of(request.scope), asked.user_id or None)
        await services.ownership.check_chat(user, asked.conversation_id or None, file_ids(asked))
        record = record_of(request.scope)
        record.mode = "stream" if asked.stream else "json"
        asked.user_id = user.user_id
        chat = services.coze.chat(asked)
        record.chat_begun = True
        stream, bot_id, name = asked.stream, services.coze.bots.id_of(asked.bot_id or None), name_of(words(asked))
        # Release the messages, which may be long, before the answer, which may take long.
        del asked
        connection = connection_of(request.scope)
        handed_on = False
        try:
            await unless_client_leaves(connection, chat.open())
            conversation_id, chat_id = chat.ids
            if conversation_id and chat_id:
                await services.ownership.record_turn(user, conversation_id, chat_id, bot_id, name)
            if stream:
                handed_on = True
                return EventStream(chat, services.settings.heartbeat_interval, question)
            document = await unless_client_leaves(
                connection, chat_document(chat, record, bot_id=bot_id, user_id=user.user_id)
            )
            record.end(Outcome.COMPLETED)
            return ASGIResponse(body=msgspec.json.encode(document), media_type="application/json")
        finally:
            if not handed_on:
                leave(chat, record)


def _check_names(chat: ChatRequest) -> None:
    """Raises ServiceError (400) if an object has a name that the contract does not allow; the models check none."""
    for field, rule in _NAMES.items():
        least, most = rule.get("minLength", 0), rule.get("maxLength", math.inf)
        for name in getattr(chat, field) or {}:
            if not (least <= len(name) <= most and re.fullmatch(rule.get("pattern", "(?s:.*)"), name)):
                raise invalid(f"{name!r} is no name that `{field}` takes")
