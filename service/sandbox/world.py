"""What the sandbox remembers, in bounded memory: conversations, chats, files, and what was asked of it."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from aiohttp import web

from .history import Conversation, Json, Kept
from .recent import Recent
from .settings import Settings

KEPT_MESSAGES: Final = 5_000  # in one conversation
KEPT_CONVERSATIONS: Final = 10_000
RUNNING: Final = ("created", "in_progress")
USER_ID: Final = "7500000000000000001"  # the account that nearly all tokens belong to
OTHER_USER_ID: Final = "7500000000000000002"  # that of the tokens that begin with pat_other


@dataclass(slots=True, eq=False)
class Chat:
    id: str
    conversation: Conversation
    section_id: str  # the conversation's when the chat began
    bot_id: str
    user_id: str
    streaming: bool
    saved: bool
    asked: list[Json]  # the messages as they came
    meta_data: Json
    extras: Json  # what else the request carried, by field, as it came
    created_at: int
    started: float
    cancel_holds: bool  # False: the run's own end overwrites a cancellation
    status: str = "created"  # "refused": the bot failed in place of a chat, so that nobody can retrieve one
    last_error: Json | None = None
    required_action: Json | None = None
    usage: Json | None = None
    ended_at: int | None = None
    messages: list[Json] = field(default_factory=list)
    client_left: bool = False
    left_after_s: float | None = None
    cancel_calls: int = 0
    # Set when nobody can see any more what the run does: its client has left and it is cancelled.
    pointless: asyncio.Event = field(default_factory=asyncio.Event)

    def left(self) -> None:
        """The client's connection closed before the stream's end."""
        self.client_left = True
        self.left_after_s = round(time.monotonic() - self.started, 3)
        if self.status == "canceled":
            self.pointless.set()

    def cancel(self) -> None:
        self.status = "canceled"
        if self.client_left or not self.streaming:
            self.pointless.set()

    def end(self, status: str) -> None:
        """The run's own end. What was cancelled stays so where cancelling holds, or where nobody saw the end."""
        overwritten = self.status == "canceled" and not self.cancel_holds and not self.pointless.is_set()
        if self.status in RUNNING or overwritten:
            self.status = status
            self.ended_at = int(time.time())

    def detail(self) -> Json:
        """The Chat object of Coze's answers and events."""
        detail: Json = {
            "id": self.id,
            "conversation_id": self.conversation.id,
            "bot_id": self.bot_id,
            "created_at": self.created_at,
            "last_error": self.last_error or {"code": 0, "msg": ""},
            "status": self.status,
            "section_id": self.section_id,
        }
        if self.meta_data:
            detail["meta_data"] = self.meta_data
        if self.ended_at:
            detail["failed_at" if self.status == "failed" else "completed_at"] = self.ended_at
        if self.usage:
            detail["usage"] = self.usage
        if self.required_action:
            detail["required_action"] = self.required_action
        return detail


@dataclass(frozen=True, slots=True)
class Upload:
    id: str
    name: str
    bytes: int
    sha256: str
    content_type: str  # as the sender named it
    kind: str  # what its first bytes say, in words
    created_at: int


# A file that is there without an upload, and a conversation with a question and an answer without a chat, so that a
# contract can show their ids in examples.
EXAMPLE_FILE: Final = Upload("7553486125417595001", "cat.png", 48213, "", "image/png", "PNG image", 1735732800)
EXAMPLE_CONVERSATION: Final = "7553486125417578548"
EXAMPLE_CHAT: Final = "7553486125417578549"
EXAMPLE_QUESTION: Final = "7553486125417578550"
EXAMPLE_ANSWER: Final = "7553486125417578551"


@dataclass(slots=True)
class Dials:
    """What can be turned while the sandbox runs; see observe.py for their meaning."""

    delta_seconds: float
    workspaces: int = 3
    odd_workspace: bool = False
    upload_types: str = "listed"
    fail: dict[str, Json] = field(default_factory=dict)
    bots: dict[str, Json] = field(default_factory=dict)
    sample_messages: bool = False
    oauth_public_key: str = ""
    oauth_most_seconds: float = 86_399
    oauth_expires_in: object = "right"
    oauth_delay_seconds: float = 0


class World:
    """One sandbox's memory. Lives in one event loop, so nothing here needs a lock."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.studio = settings.flavour == "studio"
        self.runs: set[asyncio.Task[None]] = set()  # also keeps a run alive when its client has left
        self.server: web.Server | None = None
        # Ids go on from the clock, so that a restarted sandbox does not give the old ones again.
        self._ids: Iterator[int] = itertools.count(7_600_000_000_000_000_000 + time.time_ns() // 1000)
        self.clear()

    def clear(self) -> None:
        """Forgets everything, ends what runs, and puts the dials back."""
        for run in self.runs:
            run.cancel()
        self.dials = Dials(self.settings.delta_seconds)
        self.conversations: Recent[Conversation] = Recent(KEPT_CONVERSATIONS)
        self.chats: Recent[Chat] = Recent(2_000)
        self.uploads: Recent[Upload] = Recent(10_000)
        self.contents: Recent[bytes] = Recent(20)
        self.tokens: Recent[float] = Recent(10_000)  # those given to service apps, and when each ends
        self.jtis: Recent[bool] = Recent(10_000)
        self.requests: Counter[str] = Counter()
        self.streams = 0

    def fault(self, *names: str) -> Json | None:
        """The fault that is due for a request that goes by these names; this one is used up by it."""
        for name in names:
            fault = self.dials.fail.get(name)
            if fault is not None and fault.get("times", 1) > 0:
                if "times" in fault:
                    fault["times"] -= 1
                return fault
        return None

    def upload(self, file_id: str) -> Upload | None:
        """A file by its id, if it is there."""
        return EXAMPLE_FILE if file_id == EXAMPLE_FILE.id else self.uploads.get(file_id)

    def new_id(self) -> str:
        return str(next(self._ids))

    def conversation(self, conversation_id: str) -> Conversation | None:
        """A conversation by its id, if it is there."""
        found = self.conversations.get(conversation_id)
        if found is None and conversation_id == EXAMPLE_CONVERSATION:
            found = self._example()
        return found

    def _example(self) -> Conversation:
        found = self.new_conversation(USER_ID, EXAMPLE_CONVERSATION)
        ids = {"conversation_id": found.id, "bot_id": "", "chat_id": EXAMPLE_CHAT, "section_id": found.section_id}
        common = {**ids, "content_type": "text", "meta_data": {}, "created_at": found.created_at}
        common |= {"updated_at": found.created_at}
        question = {"id": EXAMPLE_QUESTION, "role": "user", "type": "question", "content": "您好"}
        answer = {"id": EXAMPLE_ANSWER, "role": "assistant", "type": "answer", "content": "您好！"}
        for message in (question, answer):
            self.keep_in(found, message | common)
        return found

    def new_conversation(self, owner: str, conversation_id: str | None = None, **fields: Any) -> Conversation:
        made_id, now = conversation_id or self.new_id(), int(time.time())
        # Coze's first section has its conversation's id.
        section_id = self.new_id() if self.studio else made_id
        conversation = Conversation(made_id, owner, section_id, now, now, **fields)
        self.conversations.put(conversation.id, conversation, 1_000)
        return conversation

    def keep(self, chat: Chat, message: Json) -> None:
        """Puts a message where later questions find it, unless its chat is not saved, or cancelled on the cloud."""
        if not chat.saved or (chat.status == "canceled" and chat.cancel_holds):
            return
        # The Studio lists a chat with its question, and has a chat of its own for what came before it.
        if message["chat_id"] == chat.id and (message["role"] == "assistant" or self.studio):
            chat.messages.append(message)
            self.chats.grow(chat.id, len(message["content"] or ""))
        self.keep_in(chat.conversation, message)

    def keep_in(self, conversation: Conversation, message: Json, at_ms: int | None = None) -> None:
        """Puts a message at a conversation's end.

        at_ms: when it came, in milliseconds since 1970; now if not said, and never when the one before came.
        """
        if at_ms is None:
            before_ms = conversation.messages[-1].at_ms if conversation.messages else 0
            at_ms = max(time.time_ns() // 1_000_000, before_ms + 1)
        kept = Kept(message, at_ms)
        conversation.messages.append(kept)
        conversation.updated_at = max(conversation.updated_at, kept.at_ms // 1_000)
        weight = kept.weight
        if len(conversation.messages) > KEPT_MESSAGES:
            weight -= conversation.messages.pop(0).weight
        self.conversations.grow(conversation.id, weight)

    def forget_turn(self, chat: Chat) -> None:
        """Takes back a chat that never came to be."""
        messages = chat.conversation.messages
        gone = sum(kept.weight for kept in messages if kept.message["chat_id"] == chat.id)
        messages[:] = [kept for kept in messages if kept.message["chat_id"] != chat.id]
        self.conversations.grow(chat.conversation.id, -gone)

    def release(self, chat: Chat) -> None:
        if chat.conversation.running is chat:
            chat.conversation.running = None

    def report(self, chats: int = 0, conversations: int = 0) -> Json:
        """What GET /sandbox/state tells, of the newest so many; the connections count the asker's own too."""
        return {
            "flavour": self.settings.flavour,
            "connections": len(self.server.connections) if self.server else 0,
            "streams": self.streams,
            "running": len(self.runs),
            "settings": asdict(self.dials),
            "chats": [
                {
                    "id": chat.id,
                    "conversation_id": chat.conversation.id,
                    "bot_id": chat.bot_id,
                    "user_id": chat.user_id,
                    "status": chat.status,
                    "streaming": chat.streaming,
                    "client_left": chat.client_left,
                    "left_after_s": chat.left_after_s,
                    "cancel_calls": chat.cancel_calls,
                    "messages": chat.asked,
                    "meta_data": chat.meta_data,
                    **chat.extras,
                }
                for chat in self.chats.newest(chats)
            ],
            "conversations": [found.report() for found in self.conversations.newest(conversations)],
            "uploads": [
                {
                    "id": upload.id,
                    "name": upload.name,
                    "bytes": upload.bytes,
                    "sha256": upload.sha256,
                    "content_type": upload.content_type,
                }
                for upload in self.uploads.newest(200)
            ],
            "requests": dict(self.requests),
            "total": self.requests.total(),
        }


WORLD: Final = web.AppKey("world", World)
