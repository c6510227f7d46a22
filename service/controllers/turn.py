"""One turn of a chat: whose it is, and its answer in any form, where that ends with its connection."""

from typing import NamedTuple

from litestar.types import ASGIApp, Scope

from service.answers.chat import Document, EventStream, Form, leave, whole
from service.coze import Chat
from service.http.connection import connection_of, unless_client_leaves
from service.observe.record import Outcome, record_of
from service.ownership import Ownership
from service.services import Services
from service.users.caller import Principal


class Turn(NamedTuple):
    """Whose a chat is, and what is remembered of it."""

    user: Principal
    bot_id: str
    name: str

    async def record(self, ownership: Ownership, conversation_id: str | None) -> None:
        if conversation_id:
            await ownership.record_turn(self.user, conversation_id, self.bot_id, self.name)


async def answered(scope: Scope, services: Services, chat: Chat, turn: Turn, form: Form, *, stream: bool) -> ASGIApp:
    """Opens a chat, and returns its answer in `form`. Raises ServiceError if Coze makes no good start."""
    connection, record = connection_of(scope), record_of(scope)
    record.chat_begun = True
    handed_on = False
    try:
        await unless_client_leaves(connection, chat.open())
        await turn.record(services.ownership, chat.ids[0])
        if stream:
            handed_on = True
            return EventStream(chat, services.settings.heartbeat_interval, form)
        document = form.document(await unless_client_leaves(connection, whole(chat, record)))
        record.end(Outcome.COMPLETED)
        return Document(document)
    finally:
        if not handed_on:
            leave(chat, record)
