"""A chat as Coze remembers it, for one whose stream was lost."""

from service.clock import timestamp
from service.coze import wire
from service.coze.calls import Calls
from service.coze.errors import CANCELED, NOT_UNDERSTOOD, Asked
from service.coze.translation import ChatEvent, Translation
from service.errors import ServiceError

_CREATED = b"conversation.chat.created"
_COMPLETED = b"conversation.chat.completed"
_MESSAGE = b"conversation.message.completed"
_CANCELED = ("canceled", "cancelled")
_OVER = ("completed", "failed", *_CANCELED, "requires_action", "required_action")


async def recall(
    calls: Calls, asked: Asked, conversation_id: str, chat_id: str
) -> list[ChatEvent] | ServiceError | None:
    """Returns all events of a chat, with each answer as a whole, or its failure; None while the chat still runs.

    Raises ServiceError if Coze does not say.
    """
    ids = {"conversation_id": conversation_id, "chat_id": chat_id}
    chat, logid = await calls.call("GET", "/v3/chat/retrieve", bytes, asked=asked, params=ids)
    try:
        status = wire.decode_chat(chat).status or ""
    except wire.UNDECODABLE:
        raise ServiceError(NOT_UNDERSTOOD, cause="a chat that is no object", logid=logid) from None
    # Coze Studio stores the name of an event.
    status = status.removeprefix("conversation.chat.")
    if status in _CANCELED:
        return ServiceError(CANCELED, logid=logid)
    if status not in _OVER:
        return None
    envelope = await calls.envelope("GET", "/v3/chat/message/list", asked=asked, repeatable=True, params=ids)
    translation = Translation(asked)
    events: list[ChatEvent] = []
    now = timestamp()
    try:
        translation.feed(_CREATED, chat, events, now)
        for message in _messages(envelope):
            translation.feed(_MESSAGE, message, events, now)
        translation.feed(_COMPLETED, chat, events, now)
    except ServiceError as failure:
        failure.logid = logid
        return failure
    return events


def _messages(envelope: wire.Envelope) -> list[bytes]:
    """Returns a chat's messages in the order in which they were said."""
    for data in (envelope.data, envelope.messages):
        try:
            rows = wire.decode_rows(data)
        except wire.UNDECODABLE:
            raise ServiceError(NOT_UNDERSTOOD, cause="messages that are no list") from None
        if rows:
            # Coze promises no order. Those of one second stay as they came.
            return [bytes(row) for row in sorted(rows, key=_created_at)]
    return []


def _created_at(row: bytes) -> int:
    try:
        return wire.milliseconds(wire.decode_listed_message(row).created_at)
    except wire.UNDECODABLE:
        return 0
