"""What the service remembers: whose conversations, chats and files there are, and the keys that all machines share.

Texts stay at Coze; of what was said only a conversation's name is kept. `STORE` names a folder, where SQLite keeps it
for one machine, or a Valkey or Redis server, which several machines share.
"""

from service.store.model import Conversation, Page, Position, Store, StoreDown, StoreUnusable, open_store

__all__ = ["Conversation", "Page", "Position", "Store", "StoreDown", "StoreUnusable", "open_store"]
