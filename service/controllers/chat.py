"""Tag Chat: chats with a bot, streamed or as one JSON document."""

import codecs
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
from service.bounds import BOUNDS
from service.contract import contract
from service.coze import file_ids, words
from service.errors import BAD_REQUEST, BODY_TOO_LARGE, ServiceError
from service.http.body import body_chunks
from service.http.connection import connection_of, unless_client_leaves
from service.observe.record import Outcome, record_of
from service.ownership import name_of
from service.services import Services
from service.surrogates import without_halves
from service.users.caller import caller_of, user_of

_PATH = "/api/v1/chat"
_SCHEMAS = contract().document["components"]["schemas"]
_NAMES: dict[str, dict[str, Any]] = {
    "custom_variables": _SCHEMAS["CustomVariables"]["propertyNames"],
    "meta_data": _SCHEMAS["MetaData"]["propertyNames"],
}
_strictly = msgspec.json.Decoder(ChatRequest, strict=True).decode
_MAX_BODY_BYTES = contract().max_body_bytes(_PATH)
_TOO_LARGE = f"Request body too large. Maximum size is {_MAX_BODY_BYTES // 1024**2}MB"


class ChatController(Controller):
    path = _PATH

    @post(operation_id="chat", status_code=200)
    async def chat(self, request: Request[Any, Any, Any], services: NamedDependency[Services]) -> ASGIApp:
        asked, question = await _read(request, services)
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


async def _read(request: Request[Any, Any, Any], services: Services) -> tuple[ChatRequest, str]:
    """The request's body as a chat, and its fingerprint. Raises ServiceError (400, 413, 503)."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ServiceError(BAD_REQUEST, "The request's Content-Type must be application/json.")
    chunks = body_chunks(
        request,
        limit=_MAX_BODY_BYTES,
        too_large=BODY_TOO_LARGE,
        message=_TOO_LARGE,
        timeout=services.settings.request_body_timeout,
    )
    body = await services.body_memory.whole(chunks)
    try:
        chat = _decode(body)
        _check_names(chat)
        return chat, fingerprint(body)
    except msgspec.ValidationError as error:
        reason = str(error)
    except (msgspec.DecodeError, UnicodeDecodeError):
        reason = "The request's body is not valid JSON in UTF-8."
    except RecursionError:
        reason = "The request's body is nested too deeply."
    if len(reason) > BOUNDS.error_characters:
        reason = reason[: BOUNDS.error_characters] + "…"
    raise ServiceError(BAD_REQUEST, reason)


def _check_names(chat: ChatRequest) -> None:
    """Raises ValidationError if an object has a name that the contract does not allow: the models do not check them."""
    for field, rule in _NAMES.items():
        least, most = rule.get("minLength", 0), rule.get("maxLength", math.inf)
        for name in getattr(chat, field) or {}:
            if not (least <= len(name) <= most and re.fullmatch(rule.get("pattern", "(?s:.*)"), name)):
                raise msgspec.ValidationError(f"{name!r} is no name that `{field}` takes")


def _decode(body: bytes) -> ChatRequest:
    """The chat. A byte order mark before it is no part of it (RFC 8259, section 8.1)."""
    body = body.removeprefix(codecs.BOM_UTF8)
    try:
        return _strictly(body)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        # Of a history that holds half an emoji no turn would ever pass.
        return _strictly(without_halves(body.decode()))
