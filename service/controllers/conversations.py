"""Tag Conversations: a user's own conversations."""

import contextlib
from collections.abc import Mapping
from typing import Any

from litestar import Controller, Request, delete, patch, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import UNSET

from generated.models import (
    ConversationResponse,
    ConversationsResponse,
    ConversationSummary,
    DoneResponse,
    FeedbackRequest,
    Message,
    MessageFile,
    MessagesResponse,
    RenameRequest,
)
from service.clock import timestamp_of
from service.controllers.json_body import JsonBody
from service.controllers.parameters import Parameters
from service.coze import Said
from service.errors import ServiceError
from service.files.links import base_url
from service.pages.handlers import get
from service.services import Services
from service.store import Conversation, OwnedFile, Position
from service.users.caller import Principal, caller_of, owner_of

_PATH = "/api/v1/conversations"
_ONE = f"{_PATH}/{{conversation_id}}"
_LIST = Parameters("get", _PATH)
_MESSAGES = Parameters("get", f"{_ONE}/messages")
_RENAME = JsonBody("patch", _ONE, RenameRequest)
_RATE = JsonBody("put", f"{_ONE}/messages/{{message_id}}/feedback", FeedbackRequest)


class ConversationsController(Controller):
    path = _PATH

    @get(operation_id="listConversations")
    async def list_conversations(
        self, request: Request[Any, Any, Any], services: NamedDependency[Services]
    ) -> ConversationsResponse:
        cursor = _LIST.text(request, "cursor")
        page = await services.ownership.conversations(
            _user(request),
            _LIST.text(request, "bot_id"),
            _LIST.number(request, "limit"),
            _position(cursor) if cursor else None,
        )
        return ConversationsResponse(
            success=True,
            message="Conversations retrieved successfully",
            data=[_summary(conversation) for conversation in page.conversations],
            next_cursor=page.next and _cursor(page.next),
        )

    @patch("/{conversation_id:str}", operation_id="renameConversation")
    async def rename_conversation(
        self, request: Request[Any, Any, Any], services: NamedDependency[Services], conversation_id: FromPath[str]
    ) -> ConversationResponse:
        user = _user(request)
        wanted, _ = await _RENAME.read(request, services)
        renamed = await services.ownership.rename(user, conversation_id, wanted.name)
        # The name in the user's list is ours. Coze's own is seen by the operator alone, and not every server has names.
        with contextlib.suppress(ServiceError):
            await services.coze.conversations.rename(conversation_id, wanted.name)
        return ConversationResponse(success=True, message="Conversation renamed successfully", data=_summary(renamed))

    @delete("/{conversation_id:str}", operation_id="deleteConversation", status_code=200)
    async def delete_conversation(
        self, request: Request[Any, Any, Any], services: NamedDependency[Services], conversation_id: FromPath[str]
    ) -> DoneResponse:
        user = _user(request)
        await services.ownership.conversation(user, conversation_id)
        await services.coze.delete_conversation(conversation_id)
        await services.ownership.delete(user, conversation_id)
        return _done("Conversation deleted successfully")

    @post("/{conversation_id:str}/clear", operation_id="clearConversation", status_code=200)
    async def clear_conversation(
        self, request: Request[Any, Any, Any], services: NamedDependency[Services], conversation_id: FromPath[str]
    ) -> DoneResponse:
        await services.ownership.conversation(_user(request), conversation_id)
        await services.coze.conversations.clear(conversation_id)
        return _done("Conversation cleared successfully")

    @get("/{conversation_id:str}/messages", operation_id="listMessages")
    async def list_messages(
        self, request: Request[Any, Any, Any], services: NamedDependency[Services], conversation_id: FromPath[str]
    ) -> MessagesResponse:
        user, before, limit = _user(request), _MESSAGES.text(request, "before"), _MESSAGES.number(request, "limit")
        await services.ownership.conversation(user, conversation_id)
        messages, has_more = await services.coze.conversations.messages(conversation_id, limit, before)
        ids = {file.file_id for message in messages for file in message.files if file.file_id}
        known = await services.ownership.files(user, list(ids))
        base = base_url(request.scope["scheme"], request.headers, services.settings.public_base_url)
        urls = {
            file_id: await services.files.url(file.stored_name, base)
            for file_id, file in known.items()
            if file.stored_name
        }
        return MessagesResponse(
            success=True,
            message="Messages retrieved successfully",
            data=[_message(message, known, urls) for message in messages],
            has_more=has_more,
        )

    @put("/{conversation_id:str}/messages/{message_id:str}/feedback", operation_id="rateMessage")
    async def rate_message(
        self,
        request: Request[Any, Any, Any],
        services: NamedDependency[Services],
        conversation_id: FromPath[str],
        message_id: FromPath[str],
    ) -> DoneResponse:
        user = _user(request)
        given, _ = await _RATE.read(request, services)
        await services.ownership.conversation(user, conversation_id)
        await services.coze.conversations.rate(
            conversation_id, message_id, given.rating, given.reasons or None, given.comment or None
        )
        return _done("Feedback saved successfully")

    @delete("/{conversation_id:str}/messages/{message_id:str}/feedback", operation_id="unrateMessage", status_code=200)
    async def unrate_message(
        self,
        request: Request[Any, Any, Any],
        services: NamedDependency[Services],
        conversation_id: FromPath[str],
        message_id: FromPath[str],
    ) -> DoneResponse:
        await services.ownership.conversation(_user(request), conversation_id)
        await services.coze.conversations.unrate(conversation_id, message_id)
        return _done("Feedback deleted successfully")


def _user(request: Request[Any, Any, Any]) -> Principal:
    """Returns the user whose conversations these are. Raises ServiceError (400, 401, 403)."""
    return owner_of(caller_of(request.scope), _LIST.text(request, "user_id"))


def _done(message: str) -> DoneResponse:
    return DoneResponse(success=True, message=message, data=None)


def _summary(conversation: Conversation) -> ConversationSummary:
    return ConversationSummary(
        conversation_id=conversation.conversation_id,
        bot_id=conversation.bot_id,
        name=conversation.name,
        created_at=timestamp_of(conversation.created_at),
        updated_at=timestamp_of(conversation.updated_at),
    )


def _message(said: Said, known: Mapping[str, OwnedFile], urls: Mapping[str, str | None]) -> Message:
    files = []
    for file in said.files:
        mine = known.get(file.file_id or "")
        url = urls.get(file.file_id or "") or file.url
        files.append(MessageFile(type=file.type, file_id=file.file_id, name=mine.name if mine else file.name, url=url))
    return Message(
        message_id=said.message_id,
        chat_id=said.chat_id or UNSET,
        role=said.role,
        content=said.content,
        content_type=said.content_type or UNSET,
        reasoning_content=said.reasoning_content or UNSET,
        created_at=timestamp_of(said.created_at),
        files=files or UNSET,
    )


def _cursor(position: Position) -> str:
    return f"{position.updated_at}.{position.conversation_id}"


def _position(cursor: str) -> Position:
    updated_at, _, conversation_id = cursor.partition(".")
    return Position(int(updated_at), conversation_id)
