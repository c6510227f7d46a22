"""The load: chats over kept connections, each read to its end and checked to be whole."""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count, repeat
from typing import NamedTuple

import httptools

_STAMP = re.compile(rb'"content": ?"(\d+) ')
_WORD = "好的".encode()
_CHAT_SECONDS = 120


class Question(NamedTuple):
    """What to ask the upstream for; see there."""

    deltas: int
    pause_ms: int = 0
    at_once: int = 1

    @property
    def text(self) -> str:
        return f"n={self.deltas} d={self.pause_ms} w={self.at_once}"

    @property
    def seconds(self) -> float:
        """How long the upstream takes over it."""
        return -(-self.deltas // self.at_once) * self.pause_ms / 1000


class Wire(NamedTuple):
    """How a server is asked, and what its answer is known by."""

    path: str
    messages: str
    delta: bytes
    end: bytes
    more: dict[str, str] = {}  # noqa: RUF012 - nobody changes it
    users: Iterator[int] = repeat(0)

    def request(self, question: Question, stream: bool, query: str) -> bytes:
        message = {"role": "user", "content": question.text, "content_type": "text"}
        asked = {"bot_id": "7600000000000000002", "user_id": f"u{next(self.users)}", "stream": stream}
        body = json.dumps({**asked, self.messages: [message], **self.more})
        head = f"POST {self.path}{query} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


GATEWAY = Wire("/api/v1/chat", "messages", b'"message_delta"', b'"end"')
# Answers that outlive their connection. A user may have few of them at once.
KEPT = GATEWAY._replace(more={"on_disconnect": "continue"}, users=count())
OPENAI = Wire("/openai/v1/chat/completions", "messages", b'"delta":{"content":', b"[DONE]", {"model": "default"})
COZE = Wire("/v3/chat", "additional_messages", b"event:conversation.message.delta", b"event:done")


class Chat(NamedTuple):
    """One that was whole, in seconds."""

    first_delta: float
    total: float


@dataclass(slots=True)
class Tally:
    """What came of many chats. `ways` has each delta's way from the upstream's write, in seconds, if it is `timed`."""

    timed: bool = False
    chats: list[Chat] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    started: int = 0
    deltas: int = 0
    ways: list[float] = field(default_factory=list)


class Connection(asyncio.Protocol):
    """To a server on this machine; one chat at a time."""

    def __init__(self, port: int, wire: Wire, tally: Tally) -> None:
        self._port = port
        self._wire = wire
        self._tally = tally
        self._transport: asyncio.Transport | None = None
        self._done: asyncio.Future[None] | None = None

    async def chat(self, question: Question, *, stream: bool = True, query: str = "") -> None:
        """Adds its outcome to the tally."""
        try:
            async with asyncio.timeout(_CHAT_SECONDS):
                self._tally.chats.append(await self._chat(question, stream, query))
        except (OSError, TimeoutError, ValueError, httptools.HttpParserError) as error:
            self._tally.failures.append(f"{question.text}: {error!r}")
            self.close()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    async def _chat(self, question: Question, stream: bool, query: str) -> Chat:
        loop = asyncio.get_running_loop()
        if self._transport is None:
            self._transport, _ = await loop.create_connection(lambda: self, "127.0.0.1", self._port)
        self._done = loop.create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._stream = stream
        self._rest, self._deltas, self._ended, self._first = b"", 0, False, 0.0
        started = time.perf_counter()
        self._transport.write(self._wire.request(question, stream, query))
        await self._done
        total = time.perf_counter() - started
        status = self._parser.get_status_code()
        if status != 200:
            raise ValueError(f"HTTP {status}: {self._rest[:200]!r}")
        if stream and not self._ended:
            raise ValueError("no end")
        deltas = self._deltas if stream else self._rest.count(_WORD)
        if deltas != question.deltas:
            raise ValueError(f"{deltas} deltas")
        return Chat(self._first - started, total)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._done is not None and not self._done.done():
            self._done.set_exception(ConnectionResetError(f"closed in a chat: {error}"))

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            if self._done is not None and not self._done.done():
                self._done.set_exception(error)

    def on_body(self, body: bytes) -> None:
        body = self._rest + body
        whole = body.rfind(b"\n\n") + 2 if self._stream else 0
        if whole < 2:
            self._rest = body
            return
        events, self._rest = body[:whole], body[whole:]
        self._ended = self._ended or self._wire.end in events
        deltas = events.count(self._wire.delta)
        if not deltas:
            return
        if not self._deltas:
            self._first = time.perf_counter()
            self._tally.started += 1
        self._deltas += deltas
        self._tally.deltas += deltas
        if self._tally.timed:
            now = time.monotonic_ns()
            self._tally.ways += [(now - int(stamp)) / 1e9 for stamp in _STAMP.findall(events)]

    def on_message_complete(self) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(None)


async def each_after_the_other(
    port: int,
    wire: Wire,
    question: Question,
    *,
    connections: int,
    seconds: float,
    stream: bool = True,
    timed: bool = False,
) -> Tally:
    """On each connection chat after chat for so many seconds, and one at least."""
    tally = Tally(timed)

    async def work(connection: Connection) -> None:
        while True:
            await connection.chat(question, stream=stream)
            if time.perf_counter() >= end or len(tally.failures) > connections:
                break

    end = time.perf_counter() + seconds
    await _with_connections(port, wire, tally, connections, lambda at, connection: work(connection))
    return tally


async def side_by_side(port: int, wire: Wire, question: Question, tally: Tally, *, streams: int, spread: float) -> None:
    """So many streams at once; their starts are spread over so many seconds."""

    async def work(at: int, connection: Connection) -> None:
        await asyncio.sleep(at * spread / streams)
        await connection.chat(question)

    await _with_connections(port, wire, tally, streams, work)


async def _with_connections(
    port: int, wire: Wire, tally: Tally, count: int, work: Callable[[int, Connection], Awaitable[None]]
) -> None:
    connections = [Connection(port, wire, tally) for _ in range(count)]
    try:
        await asyncio.gather(*(work(at, connection) for at, connection in enumerate(connections)))
    finally:
        for connection in connections:
            connection.close()


def percentile(values: Iterable[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)] if ordered else float("nan")
