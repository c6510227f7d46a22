"""What a conversation remembers: its messages in sections, and how much of them its bot still sees."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .world import Chat

Json = dict[str, Any]

SPOKEN: Final = ("question", "answer")


@dataclass(frozen=True, slots=True)
class Kept:
    """A message of the wire, and when it came in milliseconds since 1970: the wire tells seconds."""

    message: Json
    at_ms: int

    @property
    def weight(self) -> int:
        """Characters, for the bound of the memory."""
        texts = self.message.get("content"), self.message.get("reasoning_content")
        return sum(len(text) for text in texts if isinstance(text, str))


@dataclass(slots=True, eq=False)
class Conversation:
    id: str
    owner: str  # the account whose token made it
    section_id: str  # the newest; each clearing opens another
    created_at: int
    updated_at: int
    bot_id: str = ""  # no list shows a conversation that was made without one
    user_id: str = ""  # of the request that made it; only the Studio tells it
    name: str = ""
    meta_data: Json = field(default_factory=dict)
    connector_id: str = "1024"
    messages: list[Kept] = field(default_factory=list)
    feedback: dict[str, Json] = field(default_factory=dict)  # by message id
    canceled: set[str] = field(default_factory=set)  # chats of which nothing is context
    running: Chat | None = None  # the chat that occupies it
    deleted: bool = False

    def spoken(self) -> list[Kept]:
        """The questions and answers of all sections, oldest first."""
        return [kept for kept in self.messages if kept.message["type"] in SPOKEN]

    def context(self) -> list[Json]:
        """What the bot sees of what was said before, oldest first."""
        return [
            kept.message
            for kept in self.spoken()
            if kept.message["section_id"] == self.section_id
            and kept.message["chat_id"] not in self.canceled
            and isinstance(kept.message["content"], str)
        ]

    def find(self, message_id: str) -> Kept | None:
        """A message of any type by its id."""
        return next((kept for kept in self.messages if kept.message["id"] == message_id), None)

    def report(self) -> Json:
        """What GET /sandbox/state tells of it."""
        return {
            "id": self.id,
            "owner": self.owner,
            "bot_id": self.bot_id,
            "user_id": self.user_id,
            "name": self.name,
            "meta_data": self.meta_data,
            "section_id": self.section_id,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "deleted": self.deleted,
            "messages": len(self.messages),
            "feedback": self.feedback,
        }
