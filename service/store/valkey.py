"""The store of several machines: a Valkey or Redis server.

What belongs together changes in one script, which the server runs alone and whole. The names of keys hold users' and
bots' ids only as hashes, since the server's tools show them.
"""

import hashlib
import json
import time
from collections.abc import Callable
from typing import Any, Self

import structlog

from service.bounds import BOUNDS
from service.store.model import NEWER, Conversation, OwnedFile, Page, Position, StoreDown, StoreUnusable
from service.store.server import PREFIX, address_of, close, connect, in_time

log = structlog.get_logger()

# The form of what is kept; a service that finds a higher number leaves it alone.
_SCHEMA = 1
_FIELDS = ("user", "bot", "name", "created", "updated")

# KEYS: conversation, list of the user's, list of the user's with this bot.
# ARGV: id, user, bot, name, created, updated, lifetime.
# A list loses what is overdue by the server's clock, too: that of one machine may be ahead.
_RECORD_TURN = """
local found = redis.call('HMGET', KEYS[1], 'user', 'deleted', 'updated', 'list')
local updated = tonumber(ARGV[6])
local with_bot = KEYS[3]
if found[1] then
    if found[1] ~= ARGV[2] or found[2] then return 0 end
    updated = math.max(updated, tonumber(found[3]))
    with_bot = found[4]
    redis.call('HSET', KEYS[1], 'updated', string.format('%.0f', updated))
else
    redis.call('HSET', KEYS[1], 'user', ARGV[2], 'bot', ARGV[3], 'name', ARGV[4], 'created', ARGV[5],
        'updated', string.format('%.0f', updated), 'list', with_bot)
end
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', updated + ARGV[7]))
local oldest = math.min(updated, redis.call('TIME')[1] * 1000) - ARGV[7]
for _, list in ipairs({KEYS[2], with_bot}) do
    redis.call('ZADD', list, updated, ARGV[1])
    redis.call('ZREMRANGEBYSCORE', list, '-inf', string.format('(%.0f', oldest))
    redis.call('PEXPIRE', list, ARGV[7])
end
return 1
"""

# KEYS: the list. ARGV: how many, the position's time and id or two empty texts, prefix of conversations, oldest time.
_LIST = """
local ids = {}
local from = '+inf'
if ARGV[2] ~= '' then
    local same = redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[2], ARGV[2])
    for i = #same, 1, -1 do
        if same[i] < ARGV[3] then table.insert(ids, same[i]) end
    end
    from = '(' .. ARGV[2]
end
for _, id in ipairs(redis.call('ZREVRANGEBYSCORE', KEYS[1], from, ARGV[5], 'LIMIT', 0, ARGV[1])) do
    table.insert(ids, id)
end
local found = {}
for i = 1, math.min(#ids, tonumber(ARGV[1])) do
    local row = redis.call('HMGET', ARGV[4] .. ids[i], 'user', 'bot', 'name', 'created', 'updated')
    if row[1] then table.insert(found, {ids[i], row[1], row[2], row[3], row[4], row[5]}) end
end
return found
"""

# KEYS: conversation. ARGV: name.
_RENAME = """
local found = redis.call('HMGET', KEYS[1], 'user', 'deleted')
if not found[1] or found[2] then return 0 end
redis.call('HSET', KEYS[1], 'name', ARGV[1])
return 1
"""

# KEYS: conversation. ARGV: id, list of the user's.
_DELETE = """
local found = redis.call('HMGET', KEYS[1], 'user', 'deleted', 'list')
if not found[1] or found[2] then return 0 end
redis.call('HSET', KEYS[1], 'deleted', '1', 'name', '')
redis.call('ZREM', ARGV[2], ARGV[1])
redis.call('ZREM', found[3], ARGV[1])
return 1
"""


class ValkeyStore:
    """The store at `uri`, of which only host and port are ever shown."""

    def __init__(self, uri: str, lifetime_seconds: int) -> None:
        self._address = address_of(uri)
        self._lifetime = lifetime_seconds * 1000
        self._client = connect(uri, BOUNDS.store_connections)
        self._record_turn = self._client.register_script(_RECORD_TURN)
        self._list = self._client.register_script(_LIST)
        self._rename = self._client.register_script(_RENAME)
        self._delete = self._client.register_script(_DELETE)
        self._checked = False  # that what is kept there has this form

    async def __aenter__(self) -> Self:
        try:
            await self._check()
        except StoreDown as error:
            # It may come while the service runs; what needs it is refused until then.
            log.warning("the store does not answer", store=self._address, cause=str(error))
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await close(self._client)

    async def record_turn(self, conversation: Conversation) -> bool:
        identity, user_id, bot_id, name, created_at, updated_at = conversation
        done = await self._ask(
            lambda: self._record_turn(
                keys=[_conversation(identity), _list(user_id), _list(user_id, bot_id)],
                args=[identity, user_id, bot_id, name, created_at, updated_at, self._lifetime],
            )
        )
        return bool(done)

    async def conversation(self, conversation_id: str) -> Conversation | None:
        row = await self._ask(lambda: self._client.hmget(_conversation(conversation_id), [*_FIELDS, "deleted"]))
        deleted = row.pop()
        return _row(conversation_id, row) if row[0] is not None and not deleted else None

    async def deleted(self, conversation_ids: list[str]) -> set[str]:
        commands = self._client.pipeline(transaction=False)
        for conversation_id in conversation_ids:
            commands.hexists(_conversation(conversation_id), "deleted")
        found = await self._ask(commands.execute)
        return {conversation_id for conversation_id, there in zip(conversation_ids, found, strict=True) if there}

    async def conversations(self, user_id: str, bot_id: str | None, limit: int, after: Position | None) -> Page:
        position = ("", "") if after is None else (after.updated_at, after.conversation_id)
        rows = await self._ask(
            lambda: self._list(
                keys=[_list(user_id, bot_id)],
                args=[limit + 1, *position, _conversation(""), _now() - self._lifetime],
            )
        )
        return Page.of([_row(row[0].decode(), row[1:]) for row in rows], limit)

    async def rename(self, conversation_id: str, name: str) -> bool:
        return bool(await self._ask(lambda: self._rename(keys=[_conversation(conversation_id)], args=[name])))

    async def delete(self, conversation_id: str) -> bool:
        owner = await self._ask(lambda: self._client.hget(_conversation(conversation_id), "user"))
        if owner is None:
            return False
        done = await self._ask(
            lambda: self._delete(keys=[_conversation(conversation_id)], args=[conversation_id, _list(owner.decode())])
        )
        return bool(done)

    async def record_file(self, file_id: str, file: OwnedFile, expires_at: int) -> None:
        await self._ask(lambda: self._client.set(_file(file_id), json.dumps(file), nx=True, pxat=expires_at))

    async def files(self, file_ids: list[str]) -> dict[str, OwnedFile]:
        if not file_ids:
            return {}
        rows = await self._ask(lambda: self._client.mget([_file(file_id) for file_id in file_ids]))
        known = zip(file_ids, rows, strict=True)
        return {file_id: OwnedFile(*json.loads(row)) for file_id, row in known if row is not None}

    async def shared_secret(self, name: str, proposed: bytes) -> bytes:
        key = f"{PREFIX}secret:{name}"
        secret = await self._ask(lambda: self._client.get(key))
        if secret is None:
            await self._ask(lambda: self._client.set(key, proposed, nx=True))
            secret = await self._ask(lambda: self._client.get(key))
        if secret is None:
            raise StoreDown("it does not keep what it is given")
        assert isinstance(secret, bytes)
        return secret

    async def _check(self) -> None:
        key = f"{PREFIX}schema"
        async with in_time():
            # A server that is full takes nothing, and still tells what it has.
            if (found := await self._client.get(key)) is None:
                await self._client.set(key, _SCHEMA, nx=True)
                found = await self._client.get(key)
        if found is not None and found != b"%d" % _SCHEMA:
            raise StoreUnusable(f"STORE at {self._address}: {NEWER}")
        self._checked = True

    async def _ask(self, command: Callable[[], Any]) -> Any:
        if not self._checked:
            try:
                await self._check()
            except StoreUnusable as error:
                raise StoreDown(str(error)) from None
        async with in_time():
            return await command()


def _row(conversation_id: str, row: list[bytes]) -> Conversation:
    user_id, bot_id, name, created_at, updated_at = row
    return Conversation(
        conversation_id, user_id.decode(), bot_id.decode(), name.decode(), int(created_at), int(updated_at)
    )


def _now() -> int:
    return time.time_ns() // 1_000_000


def _conversation(conversation_id: str) -> str:
    return f"{PREFIX}conversation:{conversation_id}"


def _file(file_id: str) -> str:
    return f"{PREFIX}file:{file_id}"


def _list(user_id: str, bot_id: str | None = None) -> str:
    """The sorted set of the user's conversations by their last turn, with one bot or with any."""
    key = f"{PREFIX}conversations:{_digest(user_id)}"
    return key if bot_id is None else f"{key}:{_digest(bot_id)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
