"""The store as its users see it, whichever keeps it.

Times are whole milliseconds since 1970 (UTC). An operation is done as a whole or not at all, also if its process is
killed meanwhile.
"""

from pathlib import Path
from typing import NamedTuple, Protocol, Self


class StoreDown(Exception):
    """The store does not answer just now, or cannot write. The text says why in a few words, without secrets."""


class StoreUnusable(Exception):
    """The store cannot be used at all, whatever is waited for: a reason not to start. The text is for the operator."""


class Conversation(NamedTuple):
    """A conversation at Coze and whose it is. `updated_at` is the time of its last turn."""

    conversation_id: str
    user_id: str
    bot_id: str
    name: str
    created_at: int
    updated_at: int


class Position(NamedTuple):
    """A place in a list that has the conversation used last first: that of the conversation it names."""

    updated_at: int
    conversation_id: str


class Page(NamedTuple):
    """A part of a list; `next` is the position to go on behind, None at the end of the list."""

    conversations: list[Conversation]
    next: Position | None

    @classmethod
    def of(cls, found: list[Conversation], limit: int) -> Self:
        """The first `limit` of what was found; one more than that shows that the list goes on."""
        shown = found[:limit]
        more = len(found) > limit
        return cls(shown, Position(shown[-1].updated_at, shown[-1].conversation_id) if more else None)


class Store(Protocol):
    """To be entered before use, which raises StoreUnusable; everything else may raise StoreDown."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *_: object) -> None: ...

    async def record_turn(self, conversation: Conversation, chat_id: str) -> bool:
        """Takes note of a chat in a conversation, which is new or has been used again; its name and creation stay.

        False, and nothing is changed, if it is another user's or was deleted.
        """

    async def conversation(self, conversation_id: str) -> Conversation | None:
        """The conversation; None if nothing is known of it, or it was deleted."""

    async def is_deleted(self, conversation_id: str) -> bool:
        """Whether the conversation was deleted here: Coze may have it still."""

    async def conversations(self, user_id: str, bot_id: str | None, limit: int, after: Position | None) -> Page:
        """At most `limit` of the user's conversations, with this bot or with any, last used first."""

    async def rename(self, conversation_id: str, name: str) -> bool:
        """False if there is no such conversation."""

    async def delete(self, conversation_id: str) -> bool:
        """Forgets the conversation but for its id. False if there is no such conversation."""

    async def conversation_of_chat(self, chat_id: str) -> str | None:
        """The id of the conversation that the chat belongs to."""

    async def record_file(self, file_id: str, user_id: str, expires_at: int) -> None:
        """Takes note of whose a file is, until it expires."""

    async def file_owners(self, file_ids: list[str]) -> dict[str, str]:
        """The user of each file of which one is known."""

    async def shared_secret(self, name: str, proposed: bytes) -> bytes:
        """The secret of this name, the same for all who share the store; `proposed` becomes it if there is none yet."""


def open_store(where: str, lifetime_seconds: int) -> Store:
    """The store at `where`: the path of a folder, or a URI with the scheme redis, rediss, valkey or valkeys.

    A conversation is forgotten `lifetime_seconds` after its last turn.
    """
    if "://" in where:
        # Only here: its client is large, and one machine needs none.
        from service.store.valkey import ValkeyStore

        return ValkeyStore(where, lifetime_seconds)
    from service.store.sqlite import SqliteStore

    return SqliteStore(Path(where), lifetime_seconds)
