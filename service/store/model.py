"""The interface of a store, whichever keeps it.

Times are whole milliseconds since 1970 (UTC). An operation is done as a whole or not at all, also if its process is
killed meanwhile.
"""

from typing import NamedTuple, Protocol, Self

# Why a store of a later form is left alone.
NEWER = "it was written by a newer version of the service; run that one, or name another store"


class StoreDown(Exception):
    """The store does not answer now, or cannot write. The text says why in a few words, without secrets."""


class StoreUnusable(Exception):
    """The store will not work however long one waits: a reason not to start. The text is one line for the operator."""


class Conversation(NamedTuple):
    """A conversation at Coze and whose it is. `updated_at` is the time of its last turn."""

    conversation_id: str
    user_id: str
    bot_id: str
    name: str
    created_at: int
    updated_at: int


class OwnedFile(NamedTuple):
    """An upload. `name` is its own; `stored_name` is that of the copy in the file store, empty if none was kept."""

    user_id: str
    name: str
    stored_name: str


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


# What is said of an answer, in place of the number of its last event, to a process that adds to it in vain.
OTHER_READER = -1
GONE = -2


class UserFullError(Exception):
    """The user has as many answers in progress as one may have."""


class Entry(NamedTuple):
    """An entry of an answer's stream: event `number` as it is written, or with `over` how the answer has ended."""

    number: int
    data: bytes
    over: bool


class Addition(NamedTuple):
    """Parts of an answer from number `first` on, Coze's ids while they are news, and the end once there is one.

    With `forget_key` the end gives the key of its question back, to be asked with again.
    """

    answer_id: str
    first: int
    parts: list[bytes]
    ids: tuple[str, str] | None
    end: bytes | None
    forget_key: bool


class Store(Protocol):
    """An asynchronous context manager. Entering it raises StoreUnusable; any call may raise StoreDown."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *_: object) -> None: ...

    async def record_turn(self, conversation: Conversation) -> bool:
        """Records that a conversation was used. An unknown one becomes the user's; a known one keeps its bot, its name
        and its creation.

        False, and nothing is changed, if it is another user's or was deleted.
        """

    async def conversation(self, conversation_id: str) -> Conversation | None:
        """The conversation; None if nothing is known of it, or it was deleted."""

    async def deleted(self, conversation_ids: list[str]) -> set[str]:
        """Those of the conversations that were deleted here: Coze may have them still."""

    async def conversations(self, user_id: str, bot_id: str | None, limit: int, after: Position | None) -> Page:
        """At most `limit` of the user's conversations, with this bot or with any, last used first."""

    async def rename(self, conversation_id: str, name: str) -> bool:
        """False if there is no such conversation."""

    async def delete(self, conversation_id: str) -> bool:
        """Forgets all of the conversation but whose it was. False if there is no such conversation."""

    async def record_file(self, file_id: str, file: OwnedFile, expires_at: int) -> None:
        """Records whose a file is, until it expires. The first owner stays."""

    async def files(self, file_ids: list[str]) -> dict[str, OwnedFile]:
        """The files whose owner is known, by their ids."""

    async def shared_secret(self, name: str, proposed: bytes) -> bytes:
        """The secret of this name, one for all that share the store; `proposed` becomes it if there is none yet."""
