"""Answers that several processes share, on a Valkey or Redis server: their events, and which process reads which.

An answer has a hash of what is known about it, and a stream: entry n-0 is its event n, and the last entry is its end.
Exactly one process, its reader, adds to it. A process that sends no more heartbeats is taken for dead, and others claim
what it was reading. What belongs together changes in one script. Times are the server's. All keys expire.
"""

import hashlib
import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from service.bounds import BOUNDS
from service.store.model import Addition, Entry, UserFullError
from service.store.server import PREFIX, address_of, close, connect, in_time

_ANSWER = f"{PREFIX}answer:"
_PROCESSES = f"{PREFIX}answer-processes"
_PROCESS = f"{PREFIX}answer-process:"
# Of a process's inbox; it takes them at once, unless it is dead.
_INBOX_ENTRIES = 1000
_ENTRIES = 500  # read at once, of a stream

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

# KEYS: answer, its heard, its reader's set, the user's answers in progress.
# ARGV: id, key of the question or '', the most of a user, lifetime, heard's lifetime, names and values of the answer.
_CREATE = f"""{_NOW}
if ARGV[2] ~= '' then
    local id = redis.call('GET', ARGV[2])
    if id and id ~= ARGV[1] then return {{'taken', id}} end
end
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', now)
redis.call('ZREM', KEYS[4], ARGV[1])
if redis.call('ZCARD', KEYS[4]) >= tonumber(ARGV[3]) then return {{'full'}} end
redis.call('HSET', KEYS[1], unpack(ARGV, 6))
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('SET', KEYS[2], 1, 'PX', ARGV[5])
if ARGV[2] ~= '' then redis.call('SET', ARGV[2], ARGV[1], 'PX', ARGV[4]) end
redis.call('SADD', KEYS[3], ARGV[1])
redis.call('PEXPIRE', KEYS[3], ARGV[4])
redis.call('ZADD', KEYS[4], now + ARGV[4], ARGV[1])
redis.call('PEXPIRE', KEYS[4], ARGV[4])
return {{}}
"""

# KEYS: answer, events. ARGV: id, process, number of the first part, the end or '', Coze's two ids or two '', lifetime
# of an answer that is over, prefix of processes, 1 to give its key back, parts. Answers with the last number; -1: it
# has another reader, -2: it is not there.
_APPEND = """
local reader, last, over = unpack(redis.call('HMGET', KEYS[1], 'reader', 'last', 'end'))
if not reader then return -2 end
if reader ~= ARGV[2] then return -1 end
last = tonumber(last or 0)
local first = tonumber(ARGV[3])
if first > last + 1 then return last end
if ARGV[5] ~= '' then redis.call('HSET', KEYS[1], 'conversation_id', ARGV[5], 'chat_id', ARGV[6]) end
for i = 10, #ARGV do
    local number = first + i - 10
    if number > last then
        redis.call('XADD', KEYS[2], string.format('%d-0', number), 'e', ARGV[i])
        last = number
    end
end
redis.call('HSET', KEYS[1], 'last', last)
redis.call('PEXPIRE', KEYS[2], redis.call('PTTL', KEYS[1]))
if ARGV[4] ~= '' and not over then
    redis.call('XADD', KEYS[2], string.format('%d-0', last + 1), 'end', ARGV[4])
    redis.call('HSET', KEYS[1], 'end', ARGV[4])
    redis.call('SREM', ARGV[8] .. reader, ARGV[1])
    local key, of = unpack(redis.call('HMGET', KEYS[1], 'key', 'of'))
    redis.call('ZREM', of, ARGV[1])
    redis.call('PEXPIRE', KEYS[1], ARGV[7])
    redis.call('PEXPIRE', KEYS[2], ARGV[7])
    if key ~= '' and ARGV[9] == '1' then redis.call('DEL', key)
    elseif key ~= '' then redis.call('PEXPIRE', key, ARGV[7]) end
end
return last
"""

# KEYS: processes, the process's set, its inbox. ARGV: process, longest silence, lifetime.
_BEAT = f"""{_NOW}
redis.call('ZADD', KEYS[1], now, ARGV[1])
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[3]) end
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2], 'LIMIT', 0, 10)
"""

# KEYS: processes, the dead process's set, its inbox, the claimer's set.
# ARGV: the dead one, the claimer, longest silence, most, prefix of answers, lifetime.
_CLAIM = f"""{_NOW}
local beat = redis.call('ZSCORE', KEYS[1], ARGV[1])
if beat and tonumber(beat) > now - ARGV[3] then return {{}} end
local claimed = {{}}
for _, id in ipairs(redis.call('SPOP', KEYS[2], ARGV[4])) do
    local answer = ARGV[5] .. id
    if redis.call('HGET', answer, 'reader') == ARGV[1] then
        redis.call('HSET', answer, 'reader', ARGV[2])
        redis.call('SADD', KEYS[4], id)
        table.insert(claimed, id)
    end
end
redis.call('PEXPIRE', KEYS[4], ARGV[6])
if redis.call('SCARD', KEYS[2]) == 0 then
    redis.call('ZREM', KEYS[1], ARGV[1])
    redis.call('DEL', KEYS[3])
end
return claimed
"""

# KEYS: processes, the process's set, its inbox. ARGV: process.
_LEAVE = """
redis.call('DEL', KEYS[3])
if redis.call('SCARD', KEYS[2]) == 0 then redis.call('ZREM', KEYS[1], ARGV[1])
else redis.call('ZADD', KEYS[1], 0, ARGV[1]) end
"""

# KEYS: answer. ARGV: id, prefix of processes, most entries, lifetime.
_STOP = """
local reader, over = unpack(redis.call('HMGET', KEYS[1], 'reader', 'end'))
if not reader or over then return end
redis.call('HSET', KEYS[1], 'stop', 1)
local inbox = ARGV[2] .. reader .. ':inbox'
redis.call('XADD', inbox, 'MAXLEN', ARGV[3], '*', 'stop', ARGV[1])
redis.call('PEXPIRE', inbox, ARGV[4])
"""

# KEYS: answer, its events, its heard. ARGV: lifetime of an answer that is over, and of heard. 0: it is not there.
_HEAR = """
local over, key = unpack(redis.call('HMGET', KEYS[1], 'end', 'key'))
if not key then return 0 end
if over then
    redis.call('PEXPIRE', KEYS[1], ARGV[1])
    redis.call('PEXPIRE', KEYS[2], ARGV[1])
    if key ~= '' then redis.call('PEXPIRE', key, ARGV[1]) end
else
    redis.call('SET', KEYS[3], 1, 'PX', ARGV[1])
end
return 1
"""


class AnswerStore:
    """The answers at `uri`, for this process. Calls raise StoreDown.

    An answer lives `running_seconds` at most while it is in progress, and `idle_seconds` after that unless it is heard.
    """

    def __init__(self, uri: str, running_seconds: float, idle_seconds: float) -> None:
        self.address = address_of(uri)
        self.process = secrets.token_hex(8)
        self._client = connect(uri, BOUNDS.store_connections)
        # A read waits for news, and would keep others from a connection.
        self._reading = connect(uri, 1)
        self._own = [_PROCESSES, f"{_PROCESS}{self.process}", f"{_PROCESS}{self.process}:inbox"]
        self._inbox_at = "0-0"
        # Whoever hears an answer says so at intervals; the time counts from the last.
        self._idle = int((idle_seconds + 2 * min(idle_seconds / 4, BOUNDS.answers_clean_seconds)) * 1000)
        self._running = int(running_seconds * 1000) + self._idle

    async def close(self) -> None:
        await close(self._client)
        await close(self._reading)

    async def asked(self, user: str, key: str) -> str | None:
        """Returns the id of the answer to the user's question with this key."""
        found = await self._ask(lambda: self._client.get(_key(user, key)))
        return found.decode() if found else None

    async def create(self, answer_id: str, user: str, key: str | None, most: int, about: dict[str, str]) -> str | None:
        """Creates an answer, which this process reads.

        Returns the id of the answer that has the key, and then creates none. Raises UserFullError if the user has
        `most` in progress.
        """
        named, of = _key(user, key) if key is not None else "", f"{PREFIX}answers-of:{_digest(user)}"
        about = {**about, "reader": self.process, "key": named, "of": of}
        keys = (f"{_ANSWER}{answer_id}", f"{_ANSWER}{answer_id}:heard", self._own[1], of)
        fields = (text for pair in about.items() for text in pair)
        said = await self._run(_CREATE, keys, answer_id, named, most, self._running, self._idle, *fields)
        if said == [b"full"]:
            raise UserFullError
        return said[1].decode() if said else None

    async def about(self, answer_id: str) -> dict[str, str]:
        """Returns what is known of an answer; nothing if it is not there."""
        found = await self._ask(lambda: self._client.hgetall(f"{_ANSWER}{answer_id}"))
        return {name.decode(): value.decode() for name, value in found.items()}

    async def entries(self, answer_id: str, after: int) -> list[Entry]:
        """Returns some entries behind number `after`; none if there are no more now."""
        key = f"{_ANSWER}{answer_id}:events"
        return _entries(await self._ask(lambda: self._client.xrange(key, f"({after}-0", count=_ENTRIES)))

    async def news(self, places: dict[str, int]) -> tuple[dict[str, list[Entry]], list[str]]:
        """Waits a while for entries behind these numbers of these answers, and for what other processes tell this one.

        Returns the entries by answer, and the ids of answers that are to be stopped.
        """
        keys = {f"{_ANSWER}{answer_id}:events": answer_id for answer_id in places}
        streams = {key: f"{places[answer_id]}-0" for key, answer_id in keys.items()}
        wait = BOUNDS.answers_beat_seconds
        async with in_time(wait):
            found = await self._reading.xread(
                {self._own[2]: self._inbox_at, **streams}, count=_ENTRIES, block=int(wait * 1000)
            )
        news, stops = {}, []
        for key, rows in found:
            if (name := key.decode()) in keys:
                news[keys[name]] = _entries(rows)
                continue
            self._inbox_at = rows[-1][0].decode()
            stops += [fields[b"stop"].decode() for _, fields in rows if b"stop" in fields]
        return news, stops

    async def interrupt_news(self) -> None:
        """Has `news` return at once, since there are other places now."""
        await self._ask(lambda: self._client.xadd(self._own[2], {"": ""}, maxlen=_INBOX_ENTRIES))

    async def append(self, additions: list[Addition]) -> list[int]:
        """Adds to answers that this process reads, in one round trip. What is there already stays as it is.

        Returns the number of the last event of each; OTHER_READER or GONE if nothing was added.
        """
        pipeline = self._client.pipeline(transaction=False)
        for answer_id, first, parts, ids, end, forget_key in additions:
            keys = (f"{_ANSWER}{answer_id}", f"{_ANSWER}{answer_id}:events")
            told = (end or "", *(ids or ("", "")), self._idle, _PROCESS, int(forget_key))
            pipeline.execute_command("EVAL", _APPEND, len(keys), *keys, answer_id, self.process, first, *told, *parts)
        numbers: list[int] = await self._ask(pipeline.execute)
        return numbers

    async def stop(self, answer_id: str) -> None:
        """Tells the reader of an answer to stop it, or whoever claims it from a dead one."""
        await self._run(_STOP, [f"{_ANSWER}{answer_id}"], answer_id, _PROCESS, _INBOX_ENTRIES, self._running)

    async def beat(self) -> list[str]:
        """Says that this process lives. Returns some that have not said so for too long."""
        silence = int(BOUNDS.answers_lease_seconds * 1000)
        silent = await self._run(_BEAT, self._own, self.process, silence, self._running)
        return [process.decode() for process in silent]

    async def claim(self, dead: str, most: int) -> list[str]:
        """Becomes the reader of some of the answers that a dead process was reading, and returns their ids."""
        keys = (_PROCESSES, f"{_PROCESS}{dead}", f"{_PROCESS}{dead}:inbox", self._own[1])
        silence = int(BOUNDS.answers_lease_seconds * 1000)
        claimed = await self._run(_CLAIM, keys, dead, self.process, silence, most, _ANSWER, self._running)
        return [answer_id.decode() for answer_id in claimed]

    async def leave(self) -> None:
        """Lets others claim at once what this process was reading."""
        await self._run(_LEAVE, self._own, self.process)

    async def hear(self, answer_ids: Iterable[str]) -> list[bool]:
        """Says that somebody follows these answers. Returns of each whether it is there."""
        pipeline = self._client.pipeline(transaction=False)
        for answer_id in answer_ids:
            name = f"{_ANSWER}{answer_id}"
            pipeline.execute_command("EVAL", _HEAR, 3, name, f"{name}:events", f"{name}:heard", self._idle)
        return [bool(there) for there in await self._ask(pipeline.execute)]

    async def heard(self, answer_ids: list[str]) -> set[str]:
        """Returns those of the answers in progress that somebody has followed lately."""
        keys = [f"{_ANSWER}{answer_id}:heard" for answer_id in answer_ids]
        found = await self._ask(lambda: self._client.mget(keys))
        return {answer_id for answer_id, there in zip(answer_ids, found, strict=True) if there}

    async def _run(self, script: str, keys: Sequence[str], *arguments: Any) -> Any:
        return await self._ask(lambda: self._client.execute_command("EVAL", script, len(keys), *keys, *arguments))

    async def _ask(self, command: Callable[[], Any]) -> Any:
        async with in_time():
            return await command()


def _entries(rows: list[tuple[bytes, dict[bytes, bytes]]]) -> list[Entry]:
    found = []
    for entry_id, fields in rows:
        over = b"end" in fields
        found.append(Entry(int(entry_id.partition(b"-")[0]), fields[b"end" if over else b"e"], over))
    return found


def _key(user: str, key: str) -> str:
    return f"{PREFIX}answer-key:{_digest(user)}:{_digest(key)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
