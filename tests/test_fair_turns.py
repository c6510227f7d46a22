"""What Coze sends at once does not hold the loop: a bounded part of it is read in each turn, all of it in order."""

import asyncio
import json
import math
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

import pytest
import uvloop
from scripted_coze import DONE, HEAD, STARTED, ScriptedCoze, chunk, sized

from generated.models import ChatCompletedEvent, ChatMessage, ChatRequest, MessageDeltaEvent
from service import settings
from service.bounds import BOUNDS
from service.coze import Chat, ChatEvent, Coze, route_to_coze
from service.coze.http import Answer, Exchange
from service.coze.http.connection import Connection
from service.coze.http.pool import Pool
from service.errors import ServiceError
from service.lifecycle import Lifecycle
from service.observe.coze_observer import CozeObserver

CHAT = b"POST /v3/chat "
CANCEL = b"POST /v3/chat/cancel "
LAST = chunk(b"")
LINES = 1500  # what is read in one turn, about


def delta(text: str) -> bytes:
    message = {"id": "3", "role": "assistant", "type": "answer", "content": text}
    return b"event:conversation.message.delta\ndata:" + json.dumps(message).encode() + b"\n\n"


DELTAS = b"".join(delta(f"{number} ") for number in range(20_000))
TEXT = "".join(f"{number} " for number in range(20_000))
FEW = "".join(f"{number} " for number in range(1000))
# What comes behind the start of a chat.
BURSTS = {
    "deltas": chunk(DELTAS + DONE),
    "comments": chunk(b": ping\n" * 300_000 + DONE),
    "comments that end in CR": chunk(b": ping\r" * 300_000 + b"\r" + DONE),
    "blank lines": chunk(b"\n" * 500_000 + DONE),
    "events that nobody knows": chunk(b"event:noise\ndata:1\n\n" * 50_000 + DONE),
    "a chunk for each byte": b"".join(b"1\r\n%c\r\n" % byte for byte in DELTAS[: DELTAS.index(delta("1000 "))] + DONE),
}


@pytest.fixture
def coze() -> Iterator[ScriptedCoze]:
    with ScriptedCoze() as server:
        yield server


async def chatting(coze: ScriptedCoze, use: Callable[[Chat], Awaitable[None]], *rest: bytes, chats: int = 1) -> None:
    """Begins a chat, lets its rest arrive in the buffers of the connection, and has it used; then the next."""
    go = threading.Event()

    def answer(request: bytes) -> Iterator[bytes]:
        if request.startswith(CANCEL):
            yield sized(b'{"code":0}')
        else:
            yield HEAD + b"\r\n" + chunk(STARTED)
            assert go.wait(30)
            yield from rest

    coze.answer = answer
    chosen = settings.read({"COZE_API_TOKEN": "pat_test", "COZE_API_BASE": coze.url, "COZE_BOT_ID": "1"})
    async with Coze(chosen, CozeObserver(), Lifecycle()) as client:
        for _ in range(chats):
            chat = client.chat(ChatRequest(user_id="u", messages=[ChatMessage(role="user", content="?")]))
            await chat.open()
            go.set()
            time.sleep(0.3)  # noqa: ASYNC251 - what comes meanwhile is there at once
            await use(chat)
            chat.leave()


def run(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


def text(events: list[ChatEvent]) -> str:
    return "".join(event.content for event in events if isinstance(event, MessageDeltaEvent))


@pytest.mark.parametrize("name", BURSTS)
def test_a_turn_of_the_loop_reads_no_more_than_so_much(coze: ScriptedCoze, name: str) -> None:
    heard: list[ChatEvent] = []
    lines: Counter[int] = Counter()
    turn, over = 0, False

    async def listen(chat: Chat) -> None:
        nonlocal over
        loop, received = asyncio.get_running_loop(), chat.received

        def next_turn() -> None:
            nonlocal turn
            turn += 1
            if not over:
                loop.call_soon(next_turn)

        def counted(part: bytes) -> None:
            lines[turn] += len(part.splitlines())
            received(part)

        chat.received = counted  # type: ignore[method-assign]
        next_turn()
        chat.listen(heard.extend)
        assert await chat.completed(math.inf)
        over = True

    run(chatting(coze, listen, BURSTS[name] + LAST))
    # What is left of the lines read before may share a turn with new ones.
    assert max(lines.values()) <= 2 * LINES + 10
    assert text(heard) == (TEXT if name == "deltas" else FEW if name == "a chunk for each byte" else "")


def test_a_client_that_takes_no_more_is_given_no_more(coze: ScriptedCoze) -> None:
    """Nor is anything given twice, or out of turn."""
    heard: list[ChatEvent] = []

    async def listen(chat: Chat) -> None:
        held = False

        def take(events: list[ChatEvent]) -> None:
            nonlocal held
            assert not held
            heard.extend(events)
            held = True
            chat.pause()

        chat.listen(take)
        while not await chat.completed(asyncio.get_running_loop().time() + 0.001):
            held = False
            chat.resume()

    run(chatting(coze, listen, BURSTS["deltas"] + LAST))
    assert text(heard) == TEXT
    assert isinstance(heard[-1], ChatCompletedEvent)


class Listener:
    """Counts what it receives on `connection`, and notes whether reading from Coze was paused meanwhile."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.size = 0
        self.paused = False
        self.over = asyncio.Event()

    def answered(self, answer: Answer) -> None:
        pass

    def received(self, part: bytes) -> None:
        self.size += len(part)
        self.paused = self.paused or not self._connection.transport.is_reading()

    def ended(self, failure: ServiceError | None) -> bool:
        self.over.set()
        return failure is None


def test_while_much_is_still_to_be_told_no_more_is_read(coze: ScriptedCoze, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BOUNDS, "coze_backlog_bytes", 100_000)
    coze.answer = lambda _: (HEAD + b"\r\n" + chunk(DELTAS * 10) + LAST,)

    async def main() -> None:
        chosen = settings.read({"COZE_API_TOKEN": "pat_test", "COZE_API_BASE": coze.url})
        pool = Pool(route_to_coze(chosen), limit=1, connect_timeout=10)
        connection = await pool.take()
        listener = Listener(connection)
        exchange = Exchange(connection, listener, CozeObserver().begin_call("GET", coze.url, {}))
        exchange.write(b"GET / HTTP/1.1\r\n\r\n")
        await listener.over.wait()
        await pool.close()
        assert listener.size == len(DELTAS) * 10
        assert listener.paused

    run(main())


def test_a_client_that_leaves_in_the_middle_frees_coze(coze: ScriptedCoze) -> None:
    heard: list[ChatEvent] = []
    left = asyncio.Event()

    async def listen(chat: Chat) -> None:
        def take(events: list[ChatEvent]) -> None:
            heard.extend(events)
            left.set()

        chat.listen(take)
        await left.wait()

    run(chatting(coze, listen, chunk(DELTAS * 20)))
    assert 0 < len(heard) < 20_000
    assert len(coze.numbers(CANCEL)) == 1


@pytest.mark.parametrize("how", ["an end", "no end"])
def test_the_connection_ends_behind_it(coze: ScriptedCoze, how: str) -> None:
    """All that came before is heard, in its order, and then how it ended."""
    heard: list[ChatEvent] = []

    async def listen(chat: Chat) -> None:
        chat.listen(heard.extend)
        if how == "an end":
            assert await chat.completed(math.inf)
        else:
            with pytest.raises(ServiceError, match="broke off"):
                await chat.completed(math.inf)

    run(chatting(coze, listen, BURSTS["deltas"] if how == "an end" else chunk(DELTAS), b""))
    assert text(heard) == TEXT


def test_its_connection_serves_the_next_chat(coze: ScriptedCoze) -> None:
    async def listen(chat: Chat) -> None:
        heard: list[ChatEvent] = []
        chat.listen(heard.extend)
        assert await chat.completed(math.inf)
        assert text(heard) == TEXT

    run(chatting(coze, listen, BURSTS["deltas"] + LAST, chats=3))
    assert coze.numbers(CHAT) == [0, 0, 0]
