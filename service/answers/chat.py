"""The two forms of an answer to a chat: a stream of server-sent events, and one JSON document."""

import asyncio
import math
from collections.abc import Iterator

from litestar.types import Receive, Scope, Send
from msgspec import UNSET

from generated.models import (
    ChatCompletedEvent,
    ChatData,
    ChatResponse,
    ChatStartedEvent,
    FollowUpEvent,
    MessageDeltaEvent,
    ReasoningDeltaEvent,
)
from service.answers.events import END, PING, STREAM_HEADERS, block, blocks, failed
from service.answers.last_event import end_id
from service.bounds import BOUNDS
from service.coze import Chat, ChatEvent
from service.coze.errors import NOT_UNDERSTOOD
from service.errors import ClientLeft, ServiceError
from service.http.connection import Connection, connection_of, unless_client_leaves
from service.observe import metrics
from service.observe.record import Outcome, RequestRecord, record_of


class EventStream:
    """ASGI response that streams an opened chat, event by event.

    `asked` is the fingerprint of the request.
    """

    def __init__(self, chat: Chat, heartbeat: float, asked: str) -> None:
        self._chat = chat
        self._heartbeat = heartbeat
        self._asked = asked
        self._outcome = Outcome.LEFT  # until it ends otherwise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        record = record_of(scope)
        metrics.OPEN_STREAMS.inc()
        try:
            await send({"type": "http.response.start", "status": 200, "headers": list(STREAM_HEADERS)})
            connection = connection_of(scope)
            await unless_client_leaves(connection, self._write(connection, record))
        except ClientLeft:
            pass
        finally:
            metrics.OPEN_STREAMS.dec()
            leave(self._chat, record)
            record.end(self._outcome)

    async def _write(self, connection: Connection, record: RequestRecord) -> None:
        chat, now = self._chat, asyncio.get_running_loop().time
        spoke = now()

        def write(events: list[ChatEvent]) -> None:
            nonlocal spoke
            record.count(events)
            end = b""
            if isinstance(events[-1], ChatCompletedEvent):
                self._outcome = Outcome.COMPLETED
                end = _end(self._asked)
            for part in _writes(events, end):
                connection.write(part)
            spoke = now()

        connection.on_full, connection.on_drained = chat.pause, chat.resume
        last = b""
        try:
            chat.listen(write)
            if connection.full:
                # Full before the callback was set.
                chat.pause()
            while not await chat.completed(spoke + self._heartbeat):
                if now() >= spoke + self._heartbeat:
                    if not connection.full:
                        connection.write(PING)
                    spoke = now()
        except ServiceError as failure:
            record.fail(failure)
            last = failed(failure) + _end(self._asked)
        connection.end(last)
        leave(chat, record)
        if connection.full and not await connection.drained():
            self._outcome = Outcome.UNREAD


def leave(chat: Chat, record: RequestRecord) -> None:
    """Records Coze's ids of the chat, and leaves it."""
    record.note_chat(*chat.ids)
    chat.leave()


async def chat_document(chat: Chat, record: RequestRecord, *, bot_id: str, user_id: str) -> ChatResponse:
    """Reads an opened chat to its end. Raises ServiceError if Coze does not complete it."""
    content: list[str] = []
    reasoning: list[str] = []
    follow_ups: list[str] = []
    length = 0
    end: ChatCompletedEvent | None = None

    def keep(events: list[ChatEvent]) -> None:
        nonlocal length, end
        record.count(events)
        for event in events:
            match event:
                case MessageDeltaEvent():
                    content.append(event.content)
                case ReasoningDeltaEvent():
                    reasoning.append(event.content)
                case FollowUpEvent():
                    follow_ups.append(event.content)
                case ChatCompletedEvent():
                    end = event
                    continue
                case ChatStartedEvent():
                    continue
            length += len(event.content)
        if length > BOUNDS.answer_characters:
            raise ServiceError(NOT_UNDERSTOOD, cause="an answer without end")

    chat.listen(keep)
    await chat.completed(math.inf)
    assert end is not None
    return answer_document(content, reasoning, follow_ups, end, bot_id=bot_id, user_id=user_id)


def answer_document(
    content: list[str],
    reasoning: list[str],
    follow_ups: list[str],
    end: ChatCompletedEvent,
    *,
    bot_id: str,
    user_id: str,
) -> ChatResponse:
    """Returns the document of an answer that is whole."""
    return ChatResponse(
        success=True,
        message="Chat completed successfully",
        data=ChatData(
            content="".join(content),
            timestamp=end.timestamp,
            bot_id=bot_id,
            user_id=user_id,
            chat_id=end.chat_id,
            message_id=end.message_id,
            reasoning_content="".join(reasoning) or UNSET,
            follow_ups=follow_ups or UNSET,
            usage=end.usage,
        ),
        conversation_id=end.conversation_id,
    )


def _end(asked: str) -> bytes:
    return b"id: %b\n" % end_id(asked).encode() + block(END)


def _writes(events: list[ChatEvent], end: bytes) -> Iterator[bytes]:
    """Encodes `events`, and puts `end` behind them, in writes of whole events."""
    parts: list[bytes] = []
    size = 0
    for part in blocks(events):
        if size and size + len(part) > BOUNDS.write_bytes:
            yield b"".join(parts)
            parts.clear()
            size = 0
        parts.append(part)
        size += len(part)
    parts.append(end)
    yield b"".join(parts)
