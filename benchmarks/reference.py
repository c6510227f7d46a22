"""The reference: the same two answers from FastAPI over Coze's SDK, each used as its own documentation shows it."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from cozepy import AsyncCoze, AsyncTokenAuth, ChatEventType, ChatStatus, Message, MessageType
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

_coze = AsyncCoze(auth=AsyncTokenAuth("pat_bench"), base_url=os.environ.get("COZE_API_BASE", ""))
_bot_id = os.environ.get("COZE_BOT_ID", "")


class ChatMessage(BaseModel):
    role: str
    content: str
    content_type: str = "text"


class ChatRequest(BaseModel):
    user_id: str
    messages: list[ChatMessage]
    bot_id: str | None = None
    conversation_id: str | None = None
    stream: bool = False


def _arguments(request: ChatRequest) -> dict[str, Any]:
    return {
        "bot_id": request.bot_id or _bot_id,
        "user_id": request.user_id,
        "conversation_id": request.conversation_id,
        "additional_messages": [
            Message.build_user_question_text(message.content)
            if message.role == "user"
            else Message.build_assistant_answer(message.content)
            for message in request.messages
        ],
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _line(event: dict[str, Any]) -> str:
    return f"data: {json.dumps(event, ensure_ascii=False)}\n\n"


async def _events(request: ChatRequest) -> AsyncIterator[str]:
    async for event in _coze.chat.stream(**_arguments(request)):
        if event.event == ChatEventType.CONVERSATION_MESSAGE_DELTA and event.message is not None:
            yield _line({"type": "message_delta", "content": event.message.content, "timestamp": _now()})
        elif event.event == ChatEventType.CONVERSATION_CHAT_COMPLETED and event.chat is not None:
            conversation_id = event.chat.conversation_id
            yield _line({"type": "chat_completed", "conversation_id": conversation_id, "timestamp": _now()})
    yield _line({"type": "end"})


async def _streamed(request: ChatRequest) -> tuple[str, str | None]:
    """The answer and the conversation's id, from a stream that is read to its end."""
    content, conversation_id = "", None
    async for event in _coze.chat.stream(**_arguments(request)):
        if event.event == ChatEventType.CONVERSATION_MESSAGE_COMPLETED and event.message is not None:
            if event.message.type == MessageType.ANSWER:
                content += event.message.content
        elif event.event == ChatEventType.CONVERSATION_CHAT_COMPLETED and event.chat is not None:
            conversation_id = event.chat.conversation_id
    return content, conversation_id


async def _polled(request: ChatRequest) -> tuple[str, str | None]:
    """The same by asking each second whether it is ready, as the SDK's own `create_and_poll` does."""
    chat = await _coze.chat.create(**_arguments(request))
    while chat.status == ChatStatus.IN_PROGRESS:
        await asyncio.sleep(1)
        chat = await _coze.chat.retrieve(conversation_id=chat.conversation_id, chat_id=chat.id)
    messages = await _coze.chat.messages.list(conversation_id=chat.conversation_id, chat_id=chat.id)
    content = "".join(message.content for message in messages if message.type == MessageType.ANSWER)
    return content, chat.conversation_id


async def chat(request: ChatRequest, poll: bool = False) -> Any:
    """`/api/v1/chat`; with `?poll=true` a chat that is not streamed is polled for."""
    if request.stream:
        return StreamingResponse(_events(request), media_type="text/event-stream")
    content, conversation_id = await (_polled if poll else _streamed)(request)
    return {
        "success": True,
        "message": "Chat completed successfully",
        "conversation_id": conversation_id,
        "data": {
            "content": content,
            "timestamp": _now(),
            "bot_id": request.bot_id or _bot_id,
            "user_id": request.user_id,
        },
    }


app = FastAPI()
app.add_api_route("/api/v1/chat", chat, methods=["POST"], response_model=None)
