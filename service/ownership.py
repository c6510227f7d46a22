"""Whose conversations and files there are: the one place that lets a user in, or says that there is nothing.

What is not the user's is answered as what does not exist. While the store is away, whatever needs to know an owner is
503; a turn that was begun goes on and is missing in the list.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Self

import structlog

from service.bounds import BOUNDS
from service.coze.errors import NO_CONVERSATION, NOT_THERE
from service.errors import HISTORY_OFF, HISTORY_UNAVAILABLE, ServiceError
from service.observe.metrics import STORE_FAILURES
from service.store import Conversation, OwnedFile, Page, Position, Store, StoreDown
from service.users.caller import Principal

log = structlog.get_logger()

# How long Coze keeps a file: three months.
_FILE_MILLISECONDS = 92 * 24 * 3600 * 1000
_NAME_CHARACTERS = 60
# In Coze's words, but Coze has no part in it.
_NO_CONVERSATION = NO_CONVERSATION._replace(coze=None)
_NO_FILE = NOT_THERE._replace(coze=None)
# Coze reads its ids as numbers, so that 007 and +7 are 7 to it: an id under which nobody would find the owner.
_NUMBER = re.compile(r"[\s\0]*[+-]?[\d_]+(\.0*)?[\s\0]*")
_ID = re.compile(r"-?[1-9][0-9]*|0")


class Ownership:
    """The owners that the store knows; without a store nobody owns anything. An asynchronous context."""

    def __init__(self, store: Store | None) -> None:
        self._store = store
        self._failures = STORE_FAILURES.labels("history")

    async def __aenter__(self) -> Self:
        if self._store is not None:
            await self._store.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._store is not None:
            await self._store.__aexit__(*exc)

    async def shared_secret(self, name: str, proposed: bytes) -> bytes:
        """Returns the secret of that name, which is the same for all who share the store. Raises ServiceError (503)."""
        async with self._needed() as store:
            return await store.shared_secret(name, proposed)

    async def check_chat(self, user: Principal, conversation_id: str | None, file_ids: list[str]) -> None:
        """Raises ServiceError (404) if the conversation or a file is another user's, or the conversation was deleted.

        A conversation that is not known may be gone on with: its row may be missing. An id that is written in another
        way than Coze writes it is one of nothing.
        """
        if self._store is None or not (conversation_id or file_ids):
            return
        async with self._needed() as store:
            if conversation_id:
                if _is_misspelt(conversation_id):
                    raise ServiceError(_NO_CONVERSATION)
                conversation = await store.conversation(conversation_id)
                owner = conversation.user_id if conversation else None
                if not _may_use(user, owner) or (owner is None and await store.deleted([conversation_id])):
                    raise ServiceError(_NO_CONVERSATION)
            if file_ids:
                if any(map(_is_misspelt, file_ids)):
                    raise ServiceError(_NO_FILE)
                files = await store.files(file_ids)
                if not all(_may_use(user, file.user_id) for file in files.values()):
                    raise ServiceError(_NO_FILE)

    async def record_turn(self, user: Principal, conversation_id: str, bot_id: str, name: str) -> None:
        """Records a turn that Coze has begun, if somebody owns it. A store that is away does not end the turn."""
        now = time.time_ns() // 1_000_000
        conversation = Conversation(conversation_id, user.user_id, bot_id, name, now, now)
        await self._record(user, lambda store: store.record_turn(conversation), "turn")

    async def record_file(self, user: Principal, file_id: str, name: str, stored_name: str) -> None:
        """Records an upload, if somebody owns it."""
        expires_at = time.time_ns() // 1_000_000 + _FILE_MILLISECONDS
        file = OwnedFile(user.user_id, name, stored_name)
        await self._record(user, lambda store: store.record_file(file_id, file, expires_at), "file")

    async def files(self, user: Principal, file_ids: list[str]) -> dict[str, OwnedFile]:
        """Returns those of the files that are the user's, by their ids. Raises ServiceError (503)."""
        async with self._needed() as store:
            found = await store.files(file_ids) if file_ids else {}
        return {file_id: file for file_id, file in found.items() if _may_use(user, file.user_id)}

    async def conversations(self, user: Principal, bot_id: str | None, limit: int, after: Position | None) -> Page:
        """Returns a page of the user's conversations. Raises ServiceError (503)."""
        async with self._needed() as store:
            return await store.conversations(user.user_id, bot_id, limit, after)

    async def conversation(self, user: Principal, conversation_id: str) -> Conversation:
        """Returns a conversation of the user's. Raises ServiceError: 404 if there is none, 503."""
        async with self._needed() as store:
            found = await store.conversation(conversation_id)
        if found is None or found.user_id != user.user_id:
            raise ServiceError(_NO_CONVERSATION)
        return found

    async def rename(self, user: Principal, conversation_id: str, name: str) -> Conversation:
        """Renames a conversation of the user's. Raises ServiceError: 404 if there is none, 503."""
        found = await self.conversation(user, conversation_id)
        async with self._needed() as store:
            if not await store.rename(conversation_id, name):
                raise ServiceError(_NO_CONVERSATION)
        return found._replace(name=name)

    async def delete(self, user: Principal, conversation_id: str) -> None:
        """Forgets a conversation of the user's. Raises ServiceError: 404 if there is none, 503."""
        await self.conversation(user, conversation_id)
        async with self._needed() as store:
            if not await store.delete(conversation_id):
                raise ServiceError(_NO_CONVERSATION)

    @asynccontextmanager
    async def noticing_deletions(
        self, conversations: Callable[[], set[str]], stop: Callable[[str], None]
    ) -> AsyncIterator[None]:
        """Calls `stop` with those of the `conversations` that another process deletes, within the context."""
        task = asyncio.create_task(self._notice_deletions(conversations, stop))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _notice_deletions(self, conversations: Callable[[], set[str]], stop: Callable[[str], None]) -> None:
        while True:
            await asyncio.sleep(BOUNDS.deletions_seconds)
            try:
                if self._store is not None and (conversation_ids := conversations()):
                    for conversation_id in await self._store.deleted(list(conversation_ids)):
                        stop(conversation_id)
            except StoreDown:
                self._failures.inc()
            except Exception as error:
                log.error("bug", exc_info=error)

    async def _record(self, user: Principal, record: Callable[[Store], Awaitable[object]], what: str) -> None:
        if self._store is None or not user.owned:
            return
        try:
            await record(self._store)
        except StoreDown as error:
            self._failures.inc()
            log.error("not recorded", what=what, cause=str(error))

    @asynccontextmanager
    async def _needed(self) -> AsyncIterator[Store]:
        """Yields the store. Raises ServiceError (503) where there is none, or it fails."""
        if self._store is None:
            raise ServiceError(HISTORY_OFF)
        try:
            yield self._store
        except StoreDown as error:
            self._failures.inc()
            raise ServiceError(HISTORY_UNAVAILABLE, cause=f"store: {error}") from None


def _may_use(user: Principal, owner: str | None) -> bool:
    return owner is None or (user.owned and owner == user.user_id)


def _is_misspelt(coze_id: str) -> bool:
    """Whether it is a number, and written in another way than Coze's ids are."""
    return _NUMBER.fullmatch(coze_id) is not None and _ID.fullmatch(coze_id) is None


def name_of(question: str) -> str:
    """Returns the name of a conversation that begins with this question."""
    # More words than a name can have need not be split: a question may be long.
    return " ".join(question.split(maxsplit=_NAME_CHARACTERS))[:_NAME_CHARACTERS]
