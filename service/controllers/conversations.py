"""Tag Conversations: a user's own conversations."""

from typing import Any

from litestar import Controller, Request
from litestar.di import NamedDependency

from generated.models import ConversationsResponse, ConversationSummary
from service.clock import timestamp_of
from service.controllers.parameters import Parameters
from service.pages.handlers import get
from service.services import Services
from service.store import Position
from service.users.caller import caller_of, owner_of

_PATH = "/api/v1/conversations"
_LIST = Parameters("get", _PATH)


class ConversationsController(Controller):
    path = _PATH

    @get(operation_id="listConversations")
    async def list_conversations(
        self, request: Request[Any, Any, Any], services: NamedDependency[Services]
    ) -> ConversationsResponse:
        user = owner_of(caller_of(request.scope), _LIST.text(request, "user_id"))
        cursor = _LIST.text(request, "cursor")
        page = await services.ownership.conversations(
            user, _LIST.text(request, "bot_id"), _LIST.number(request, "limit"), _position(cursor) if cursor else None
        )
        return ConversationsResponse(
            success=True,
            message="Conversations retrieved successfully",
            data=[
                ConversationSummary(
                    conversation_id=one.conversation_id,
                    bot_id=one.bot_id,
                    name=one.name,
                    created_at=timestamp_of(one.created_at),
                    updated_at=timestamp_of(one.updated_at),
                )
                for one in page.conversations
            ],
            next_cursor=page.next and _cursor(page.next),
        )


def _cursor(position: Position) -> str:
    return f"{position.updated_at}.{position.conversation_id}"


def _position(cursor: str) -> Position:
    updated_at, _, conversation_id = cursor.partition(".")
    return Position(int(updated_at), conversation_id)
