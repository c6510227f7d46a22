"""The two forms of an answer to a chat: a stream of server-sent events, and one JSON document."""

import asyncio
import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import NamedTuple, Protocol

import msgspec
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
from service.http.headers import Header
from service.observe import metrics
from service.observe.record import Outcome, RequestRecord, record_of

_encode = msgspec.json.Encoder().encode


class Whole(NamedTuple):
    """An answer that is whole: its texts in their pieces, and its end."""

    content: list[str]
    reasoning: list[str]
    follow_ups: list[str]
    end: ChatCompletedEvent


class Form(Protocol):
    """A form that an answer can have, for one chat."""

    def document(self, answer: Whole) -> msgspec.Struct:
        """Returns a whole answer as one document."""

    def blocks(self, events: list[ChatEvent]) -> list[bytes]:
        """Encodes events as server-sent events."""

    def end(self) -> bytes:
        """Encodes what follows the last event of a chat that was completed."""

    def failed(self, failure: ServiceError) -> bytes:
        """Encodes the failure of a chat, and the end of its stream."""


class OwnForm:
    """The service's own form (`ChatResponse`, `ChatStreamEvent`). `asked` is the fingerprint of the request."""

    def __init__(self, asked: str, *, bot_id: str, user_id: str) -> None:
        self._asked = asked
        self._bot_id = bot_id
        self._user_id = user_id

    def document(self, answer: Whole) -> ChatResponse:
        return answer_document(*answer, bot_id=self._bot_id, user_id=self._user_id)

    def blocks(self, events: list[ChatEvent]) -> list[bytes]:
        return blocks(events)

    def end(self) -> bytes:
        return b"id: %b\n" % end_id(self._asked).encode() + block(END)

    def failed(self, failure: ServiceError) -> bytes:
        return failed(failure) + self.end()


class EventStream:
    """ASGI response that streams an opened chat in a form, event by event."""

    def __init__(self, chat: Chat, heartbeat: float, form: Form) -> None:
        self._chat = chat
        self._heartbeat = heartbeat
        self._form = form
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
            blocks = self._form.blocks(events)
            if isinstance(events[-1], ChatCompletedEvent):
                self._outcome = Outcome.COMPLETED
                *parts, last = _writes([*blocks, self._form.end()])
                for part in parts:
                    connection.write(part)
                connection.end(last)
            else:
                for part in _writes(blocks):
                    connection.write(part)
            spoke = now()

        connection.on_full, connection.on_drained = chat.pause, chat.resume
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
            connection.end(self._form.failed(failure))
        leave(chat, record)
        if connection.full and not await connection.drained():
            self._outcome = Outcome.UNREAD


class Document:
    """ASGI response of one JSON document. Litestar's own costs as much as half a dozen deltas."""

    def __init__(self, document: msgspec.Struct, headers: Iterable[Header] = ()) -> None:
        self._body = _encode(document)
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        length = b"%d" % len(self._body)
        headers = [(b"content-type", b"application/json"), (b"content-length", length), *self._headers]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self._body, "more_body": False})


def leave(chat: Chat, record: RequestRecord) -> None:
    """Records Coze's ids of the chat and whether Coze may have taken the question, and leaves it."""
    record.taken = chat.taken
    record.note_chat(*chat.ids)
    chat.leave()


async def whole(chat: Chat, record: RequestRecord) -> Whole:
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
    return Whole(content, reasoning, follow_ups, end)


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


def _writes(parts: list[bytes]) -> Iterator[bytes]:
    """Joins encoded events in writes of whole events. None is empty."""
    joined = b"".join(parts)
    if len(joined) <= BOUNDS.write_bytes:
        if joined:
            yield joined
        return
    ends = list(accumulate(map(len, parts)))
    start = 0
    while start < len(parts):
        written = ends[start - 1] if start else 0
        stop = max(bisect_right(ends, written + BOUNDS.write_bytes), start + 1)
        yield b"".join(parts[start:stop])
        start = stop
