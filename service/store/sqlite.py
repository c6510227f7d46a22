"""The store of one machine: a SQLite database in a folder, which the machine's processes share.

It is in WAL mode: readers and the one writer do not wait for each other, and a process that is killed leaves whole
transactions (https://www.sqlite.org/wal.html). All calls run in one thread of their own, so that a slow disk delays
only those who ask the store.
"""

import asyncio
import contextlib
import errno
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, Self, TypeVar

import structlog

from service.bounds import BOUNDS
from service.store import sql
from service.store.model import NEWER, Conversation, OwnedFile, Page, Position, StoreDown, StoreUnusable

log = structlog.get_logger()

P = ParamSpec("P")
T = TypeVar("T")

_FILE = "coze-service.sqlite3"
# Faults that may pass by themselves. After any other one the folder cannot be used until the operator mends it.
_PASSING = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM}
_PASSING_OS = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM}


class _Lasting(StoreDown):
    """A fault that does not pass by itself: a reason not to start. The store of a running service may come back."""


class SqliteStore:
    """The database in `folder`, which is made if it is not there."""

    def __init__(self, folder: Path, lifetime_seconds: int) -> None:
        self._folder = folder
        self._path = folder / _FILE
        self._lifetime = lifetime_seconds * 1000
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        # Only the thread touches these.
        self._connection: sqlite3.Connection | None = None
        self._opened: tuple[int, int] | None = None  # device and number of the file that it is connected to
        self._cleaned = -BOUNDS.store_clean_seconds
        self._limits: tuple[int, int] | None = None  # at the last clean-up: the oldest turn to keep, and the time

    async def __aenter__(self) -> Self:
        try:
            await self._run(lambda connection: None)
        except _Lasting as error:
            await self.__aexit__()
            raise StoreUnusable(f"STORE={self._folder}: {error}") from None
        except StoreDown as error:
            # A lock or a full disk passes while the service runs.
            log.warning("the store does not answer", store=str(self._folder), cause=str(error))
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._thread.submit(self._disconnect)
        await asyncio.to_thread(self._thread.shutdown)

    async def record_turn(self, conversation: Conversation) -> bool:
        return await self._write(sql.record_turn, conversation)

    async def conversation(self, conversation_id: str) -> Conversation | None:
        return await self._run(sql.conversation, conversation_id, self._oldest())

    async def deleted(self, conversation_ids: list[str]) -> set[str]:
        return await self._run(sql.deleted, conversation_ids)

    async def conversations(self, user_id: str, bot_id: str | None, limit: int, after: Position | None) -> Page:
        return await self._run(sql.conversations, user_id, bot_id, limit, after, self._oldest())

    async def rename(self, conversation_id: str, name: str) -> bool:
        return await self._write(sql.rename, conversation_id, name, self._oldest())

    async def delete(self, conversation_id: str) -> bool:
        return await self._write(sql.delete, conversation_id, self._oldest())

    async def record_file(self, file_id: str, file: OwnedFile, expires_at: int) -> None:
        await self._write(sql.record_file, file_id, file, expires_at)

    async def files(self, file_ids: list[str]) -> dict[str, OwnedFile]:
        return await self._run(sql.files, file_ids, _now())

    async def shared_secret(self, name: str, proposed: bytes) -> bytes:
        return await self._write(sql.shared_secret, name, proposed)

    def _oldest(self) -> int:
        """The time of the last turn that a conversation must have had so as not to be forgotten."""
        return _now() - self._lifetime

    async def _write(
        self, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Returns the result of `work` in a transaction of its own."""

        def in_transaction(connection: sqlite3.Connection) -> T:
            with _transaction(connection):
                done = work(connection, *args, **kwargs)
            self._clean(connection)
            return done

        return await self._run(in_transaction)

    async def _run(self, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Returns the result of `work` in the store's thread: one statement that reads, or a transaction."""

        def in_thread() -> T:
            try:
                return work(self._connected(), *args, **kwargs)
            except (sqlite3.Error, OSError) as error:
                # The next call begins anew: the file may have been replaced, or the disk have come back.
                self._disconnect()
                raise _failure(error) from None

        running = asyncio.get_running_loop().run_in_executor(self._thread, in_thread)
        try:
            async with asyncio.timeout(BOUNDS.store_seconds):
                return await running
        except TimeoutError:
            raise StoreDown(f"no answer within {BOUNDS.store_seconds:g} seconds") from None

    def _connected(self) -> sqlite3.Connection:
        # A file that was removed or replaced would be written to, unseen by anybody, for as long as it is open.
        if self._connection is not None and self._opened != _identity(self._path):
            self._disconnect()
        if self._connection is None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._path.touch(mode=0o600)
            connection = sqlite3.connect(self._path, timeout=BOUNDS.store_lock_seconds, isolation_level=None)
            try:
                _prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
            self._opened = _identity(self._path)
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _clean(self, connection: sqlite3.Connection) -> None:
        """Removes what is overdue now and was so at the last clean-up.

        So a clock that jumps ahead and is corrected before the next one costs nothing.
        """
        if time.monotonic() < self._cleaned + BOUNDS.store_clean_seconds:
            return
        limits = self._oldest(), _now()
        if self._limits is not None:
            oldest, now = map(min, limits, self._limits)
            with _transaction(connection):
                found = sql.remove_overdue(connection, oldest, now)
            if found >= BOUNDS.store_clean_rows:
                # There is more, which goes with the next calls.
                return
        self._limits = limits
        self._cleaned = time.monotonic()


def _prepare(connection: sqlite3.Connection) -> None:
    """Sets the connection up, and the schema if it is not this version's. Raises _Lasting for a newer one."""
    connection.execute("PRAGMA journal_mode = WAL")
    # In WAL mode a loss of power may cost the last transactions, never the database; a killed process costs nothing.
    connection.execute("PRAGMA synchronous = NORMAL")
    if _version(connection) == len(sql.SCHEMA):
        return
    with _transaction(connection):
        # Another process may have been quicker.
        version = _version(connection)
        if version > len(sql.SCHEMA):
            raise _Lasting(NEWER)
        for script in sql.SCHEMA[version:]:
            for statement in script.split(";"):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(sql.SCHEMA)}")


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _now() -> int:
    return time.time_ns() // 1_000_000


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _failure(error: sqlite3.Error | OSError) -> StoreDown:
    if isinstance(error, OSError):
        passing, cause = error.errno in _PASSING_OS, error.strerror or "input/output error"
    else:
        # The lowest byte is the primary code (https://www.sqlite.org/rescode.html). Python's own errors have none.
        passing, cause = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_BUSY) & 0xFF in _PASSING, str(error)
    return StoreDown(cause) if passing else _Lasting(cause)
