"""The service's memory: whose conversations, chats and files there are, and the secrets that all machines share.

Messages stay at Coze; of what was said only a conversation's name is kept. `STORE` says where.

model.py    the interface of a store
sqlite.py   a folder, for one machine
valkey.py   a Valkey or Redis server, for several
"""

from pathlib import Path

from service.store.model import Conversation, OwnedFile, Page, Position, Store, StoreDown, StoreUnusable

__all__ = ["Conversation", "OwnedFile", "Page", "Position", "Store", "StoreDown", "StoreUnusable", "open_store"]


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
