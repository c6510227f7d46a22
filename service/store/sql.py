"""The schema of the SQLite store, and its statements. Each function takes a connection; times are in milliseconds."""

import json
import sqlite3

from service.bounds import BOUNDS
from service.store.model import Conversation, OwnedFile, Page, Position

# One script for each version, each applied once, in order; `PRAGMA user_version` counts them. Released ones stay as
# they are. A deleted conversation keeps its row, without its name, so that its id does not become free.
SCHEMA = (
    """
    CREATE TABLE conversations (
        conversation_id TEXT PRIMARY KEY,
        user_id TEXT NOT NULL,
        bot_id TEXT NOT NULL,
        name TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL,
        deleted INTEGER NOT NULL DEFAULT 0
    ) WITHOUT ROWID;
    CREATE INDEX conversations_of_user ON conversations (user_id, updated_at DESC, conversation_id DESC)
        WHERE NOT deleted;
    CREATE INDEX conversations_with_bot ON conversations (user_id, bot_id, updated_at DESC, conversation_id DESC)
        WHERE NOT deleted;
    CREATE INDEX conversations_by_age ON conversations (updated_at);
    CREATE TABLE files (
        file_id TEXT PRIMARY KEY,
        user_id TEXT NOT NULL,
        name TEXT NOT NULL,
        stored_name TEXT NOT NULL,
        expires_at INTEGER NOT NULL
    )
        WITHOUT ROWID;
    CREATE INDEX files_by_age ON files (expires_at);
    CREATE TABLE secrets (name TEXT PRIMARY KEY, secret BLOB NOT NULL) WITHOUT ROWID;
    """,
)

# The columns are those of Conversation, in its order.
_SELECT = "SELECT conversation_id, user_id, bot_id, name, created_at, updated_at FROM conversations WHERE"


def record_turn(connection: sqlite3.Connection, conversation: Conversation) -> bool:
    changed = connection.execute(
        """
        INSERT INTO conversations (conversation_id, user_id, bot_id, name, created_at, updated_at)
        VALUES (?, ?, ?, ?, ?, ?)
        ON CONFLICT (conversation_id) DO UPDATE SET updated_at = max(updated_at, excluded.updated_at)
        WHERE user_id = excluded.user_id AND NOT deleted
        """,
        conversation,
    ).rowcount
    return bool(changed)


def conversation(connection: sqlite3.Connection, conversation_id: str, oldest: int) -> Conversation | None:
    row = connection.execute(
        f"{_SELECT} conversation_id = ? AND NOT deleted AND updated_at >= ?",
        (conversation_id, oldest),
    ).fetchone()
    return Conversation(*row) if row else None


def deleted(connection: sqlite3.Connection, conversation_ids: list[str]) -> set[str]:
    rows = connection.execute(
        "SELECT conversation_id FROM conversations"
        " WHERE conversation_id IN (SELECT value FROM json_each(?)) AND deleted",
        (json.dumps(conversation_ids),),
    )
    return {conversation_id for (conversation_id,) in rows}


def conversations(
    connection: sqlite3.Connection, user_id: str, bot_id: str | None, limit: int, after: Position | None, oldest: int
) -> Page:
    where, values = ["user_id = ?", "NOT deleted", "updated_at >= ?"], [user_id, oldest]
    if bot_id is not None:
        where.append("bot_id = ?")
        values.append(bot_id)
    if after is not None:
        where.append("(updated_at, conversation_id) < (?, ?)")
        values += after
    rows = connection.execute(
        f"{_SELECT} {' AND '.join(where)} ORDER BY updated_at DESC, conversation_id DESC LIMIT ?",
        (*values, limit + 1),
    ).fetchall()
    return Page.of([Conversation(*row) for row in rows], limit)


def rename(connection: sqlite3.Connection, conversation_id: str, name: str, oldest: int) -> bool:
    changed = connection.execute(
        "UPDATE conversations SET name = ? WHERE conversation_id = ? AND NOT deleted AND updated_at >= ?",
        (name, conversation_id, oldest),
    ).rowcount
    return bool(changed)


def delete(connection: sqlite3.Connection, conversation_id: str, oldest: int) -> bool:
    changed = connection.execute(
        """
        UPDATE conversations SET deleted = 1, name = ''
        WHERE conversation_id = ? AND NOT deleted AND updated_at >= ?
        """,
        (conversation_id, oldest),
    ).rowcount
    return bool(changed)


def record_file(connection: sqlite3.Connection, file_id: str, file: OwnedFile, expires_at: int) -> None:
    connection.execute("INSERT OR IGNORE INTO files VALUES (?, ?, ?, ?, ?)", (file_id, *file, expires_at))


def files(connection: sqlite3.Connection, file_ids: list[str], now: int) -> dict[str, OwnedFile]:
    # As JSON, since a message may name more files than a statement takes values.
    rows = connection.execute(
        "SELECT file_id, user_id, name, stored_name FROM files"
        " WHERE file_id IN (SELECT value FROM json_each(?)) AND expires_at > ?",
        (json.dumps(file_ids), now),
    ).fetchall()
    return {file_id: OwnedFile(*row) for file_id, *row in rows}


def shared_secret(connection: sqlite3.Connection, name: str, proposed: bytes) -> bytes:
    connection.execute("INSERT OR IGNORE INTO secrets VALUES (?, ?)", (name, proposed))
    secret: bytes = connection.execute("SELECT secret FROM secrets WHERE name = ?", (name,)).fetchone()[0]
    return secret


def remove_overdue(connection: sqlite3.Connection, oldest: int, now: int) -> int:
    """Removes what is overdue, at most `store_clean_rows` of each table. Returns how many rows of the fullest."""
    conversations = connection.execute(
        """
        DELETE FROM conversations WHERE conversation_id IN
        (SELECT conversation_id FROM conversations WHERE updated_at < ? LIMIT ?)
        """,
        (oldest, BOUNDS.store_clean_rows),
    ).rowcount
    files = connection.execute(
        "DELETE FROM files WHERE file_id IN (SELECT file_id FROM files WHERE expires_at <= ? LIMIT ?)",
        (now, BOUNDS.store_clean_rows),
    ).rowcount
    return max(conversations, files)
