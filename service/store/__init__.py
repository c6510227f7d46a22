"""The service's memory: whose conversations, chats and files there are, the secrets that all machines share, and the
answers that may be followed from any of them.

Messages stay at Coze; of what was said only a conversation's name is kept. `STORE` says where.

model.py    the interface of a store
sqlite.py   a folder, for one machine
sql.py      the schema of its database, and the statements
valkey.py   a Valkey or Redis server, for several
answers.py  answers in progress there
server.py   the connections to it
"""

from pathlib import Path
from typing import TYPE_CHECKING

from service.store.model import (
    GONE,
    OTHER_READER,
    Addition,
    Conversation,
    Entry,
    OwnedFile,
    Page,
    Position,
    Store,
    StoreDown,
    StoreUnusable,
    UserFullError,
)

if TYPE_CHECKING:
    from service.store.answers import AnswerStore

__all__ = [
    "GONE",
    "OTHER_READER",
    "Addition",
    "Conversation",
    "Entry",
    "OwnedFile",
    "Page",
    "Position",
    "Store",
    "StoreDown",
    "StoreUnusable",
    "UserFullError",
    "open_answer_store",
    "open_store",
]


def open_store(where: str, lifetime_seconds: int) -> Store:
    """The store at `where`: the path of a folder, or a URI with the scheme redis, rediss, valkey or valkeys.

    A conversation is forgotten `lifetime_seconds` after its last turn.
    """
    if "://" in where:
        # Imported only here: its client is large, and one machine needs none.
        from service.store.valkey import ValkeyStore

        return ValkeyStore(where, lifetime_seconds)
    from service.store.sqlite import SqliteStore

    return SqliteStore(Path(where), lifetime_seconds)


def open_answer_store(uri: str, running_seconds: float, idle_seconds: float) -> "AnswerStore":
    """The answers on the server at `uri`, each for so long while it is in progress, and for so long after that."""
    from service.store.answers import AnswerStore

    return AnswerStore(uri, running_seconds, idle_seconds)
