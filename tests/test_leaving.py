"""A client that leaves frees Coze at once: the response is closed and the chat cancelled, once, and nothing stays."""

import asyncio
import gc
import json
import math
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import BOT, Service, Start, Upstream, events_of, http, running_service, wait_until

from generated.models import ChatMessage, ChatRequest
from service import settings
from service.bounds import BOUNDS
from service.coze import ChatEvent, Coze
from service.coze.http import Answer, Exchange
from service.lifecycle import Lifecycle
from service.observe.coze_observer import CozeObserver

ABANDONED = 1000


def body(bot: str, *, stream: bool, conversation: str | None = None, content: str = "Hello") -> dict[str, Any]:
    return {
        "bot_id": bot,
        "user_id": "u",
        "messages": [{"role": "user", "content": content}],
        "stream": stream,
        "conversation_id": conversation,
    }


def chats_of(upstream: Upstream, bot: str) -> list[dict[str, Any]]:
    return [chat for chat in upstream.state()["chats"] if chat["bot_id"] == bot]


def freed(upstream: Upstream, bot: str) -> bool:
    chats = chats_of(upstream, bot)
    return bool(chats) and all(
        chat["client_left"] and chat["cancel_calls"] == 1 and chat["status"] == "canceled" for chat in chats
    )


@pytest.fixture(autouse=True)
def fresh(upstream: Upstream) -> None:
    upstream.reset()
    upstream.set(delta_seconds=0)


def leave(service: Service, request: dict[str, Any], *, once: Callable[[], object] | None = None) -> None:
    """Sends a chat and closes the connection: `once` something is so, else after the first bytes of the answer."""
    content = json.dumps(request).encode()
    with socket.create_connection(service.address, timeout=30) as connection:
        connection.sendall(
            b"POST /api/v1/chat HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            % len(content)
            + content
        )
        if once is None:
            assert connection.recv(100)
        else:
            wait_until(once)


def test_midway(service: Service, upstream: Upstream, bots: dict[str, str]) -> None:
    leave(service, body(bots["for-ever"], stream=True))
    wait_until(lambda: freed(upstream, bots["for-ever"]))


def test_during_a_json_chat(service: Service, upstream: Upstream, bots: dict[str, str]) -> None:
    request = body(bots["for-ever"], stream=False)
    leave(service, request, once=lambda: chats_of(upstream, bots["for-ever"]))
    wait_until(lambda: freed(upstream, bots["for-ever"]))


@pytest.mark.parametrize("stream", [True, False])
def test_after_a_long_question(service: Service, upstream: Upstream, bots: dict[str, str], stream: bool) -> None:
    """Its last part may come all at once while the service waits for it: then the server stops reading."""
    content = json.dumps(body(bots["for-ever"], stream=stream, content="x" * 1_000_000)).encode()
    head = b"POST /api/v1/chat HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    for _ in range(5):
        upstream.reset()
        with socket.create_connection(service.address, timeout=30) as connection:
            connection.sendall(head % len(content) + content[:-150_000])
            time.sleep(0.05)
            connection.sendall(content[-150_000:])
            wait_until(lambda: chats_of(upstream, bots["for-ever"]))
        wait_until(lambda: freed(upstream, bots["for-ever"]))


def test_with_the_next_question_on_its_way(service: Service, upstream: Upstream, bots: dict[str, str]) -> None:
    """On one connection behind the other, the second so long that the server does not keep it."""
    head = b"POST /api/v1/chat HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    for size in (10, 30_000, 600_000):
        upstream.reset()
        with socket.create_connection(service.address, timeout=30) as connection:
            for content in ("x", "x" * size):
                question = json.dumps(body(bots["for-ever"], stream=False, content=content)).encode()
                connection.sendall(head % len(question) + question)
                wait_until(lambda: chats_of(upstream, bots["for-ever"]))
        wait_until(lambda: freed(upstream, bots["for-ever"]))


def test_in_the_turn_of_the_loop_in_which_coze_answers(upstream: Upstream, bots: dict[str, str]) -> None:
    async def main() -> None:
        chosen = settings.read({"COZE_API_TOKEN": "pat_test", "COZE_API_BASE": upstream.url, "COZE_BOT_ID": BOT})
        asked = ChatRequest(
            user_id="tester", bot_id=bots["for-ever"], messages=[ChatMessage(role="user", content="Hello")]
        )
        async with Coze(chosen, CozeObserver(), Lifecycle()) as coze:
            chat = coze.chat(asked)
            answered = chat.answered

            def answered_and_left(answer: Answer) -> None:
                answered(answer)
                asking.cancel()

            async def ask() -> None:
                try:
                    await chat.open()
                finally:
                    chat.leave()

            chat.answered = answered_and_left  # type: ignore[method-assign]
            asking = asyncio.ensure_future(ask())
            await asyncio.wait((asking,))

    asyncio.run(main())
    wait_until(lambda: freed(upstream, bots["for-ever"]))


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", ["stall-after-start", "stall"])
def test_while_coze_is_silent(
    service: Service, upstream: Upstream, bots: dict[str, str], name: str, stream: bool
) -> None:
    leave(service, body(bots[name], stream=stream), once=lambda: chats_of(upstream, bots[name]))
    wait_until(lambda: freed(upstream, bots[name]))


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", ["late", "late-headers"])
def test_before_coze_has_named_the_chat(
    service: Service, upstream: Upstream, bots: dict[str, str], name: str, stream: bool
) -> None:
    """There is nothing to cancel yet: the service reads on until there is."""
    # Once it has its name, the chat goes on for longer than any process stands still.
    upstream.set(delta_seconds=10)
    leave(service, body(bots[name], stream=stream, content="pause=1"), once=lambda: chats_of(upstream, bots[name]))
    wait_until(lambda: freed(upstream, bots[name]))


def test_before_coze_has_answered_at_all(service: Service, upstream: Upstream, bots: dict[str, str]) -> None:
    leave(service, body(bots["hang"], stream=True), once=lambda: chats_of(upstream, bots["hang"]))
    wait_until(lambda: upstream.state(0)["streams"] == 0 and chats_of(upstream, bots["hang"])[0]["client_left"])


@pytest.mark.parametrize("stream", [True, False])
def test_a_chat_that_completed_is_not_cancelled(service: Service, upstream: Upstream, stream: bool) -> None:
    assert service.chat(stream=stream).status_code == 200
    wait_until(lambda: upstream.state(0)["streams"] == 0)
    assert service.chat(stream=stream).status_code == 200
    assert [chat["cancel_calls"] for chat in upstream.state()["chats"]] == [0, 0]


def test_a_cancel_that_coze_does_not_answer_is_not_waited_for_at_the_end(
    upstream: Upstream, bots: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BOUNDS, "goodbye_seconds", 0.2)
    upstream.set(fail={"/v3/chat/cancel": {"kind": "hang"}})

    async def main() -> None:
        env = {"COZE_API_TOKEN": "pat_test", "COZE_API_BASE": upstream.url, "COZE_REQUEST_TIMEOUT": "3600"}
        asked = ChatRequest(
            user_id="tester", bot_id=bots["for-ever"], messages=[ChatMessage(role="user", content="Hello")]
        )
        async with asyncio.timeout(30), Coze(settings.read(env), CozeObserver(), Lifecycle()) as coze:
            chat = coze.chat(asked)
            await chat.open()
            chat.leave()

    asyncio.run(main())


@pytest.mark.parametrize("name", ["failed-5000", "requires-function", "open-end", "error-first-4016"])
def test_a_chat_that_is_over_is_not_cancelled(
    service: Service, upstream: Upstream, bots: dict[str, str], name: str
) -> None:
    service.chat(bot=bots[name], stream=True)
    service.chat(bot=bots[name])
    wait_until(lambda: upstream.state(0)["streams"] == 0)
    assert "POST /v3/chat/cancel" not in upstream.state()["requests"]


def test_a_stop_and_the_next_question_at_once(service: Service, upstream: Upstream) -> None:
    """Coze answers one chat of a conversation at a time, so only a chat that was cancelled makes room for the next."""
    conversation = service.chat().json()["conversation_id"]
    upstream.set(delta_seconds=10)
    request = body("", stream=True, conversation=conversation, content="say this again, word by word, slowly please")
    for _ in range(3):
        leave(service, request)
        with http.stream("POST", f"{service.url}/api/v1/chat", json=request) as answer:
            assert answer.status_code == 200, answer.read()
    upstream.set(delta_seconds=0)
    events = events_of(service.http.post("/api/v1/chat", json=request).text)
    assert events[-2]["type"] == "chat_completed"


def test_a_thousand_abandoned_streams_leave_nothing(
    start: Start, upstream: Upstream, bots: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    service = start(SHUTDOWN_GRACE="5")
    process = psutil.Process(service.process.pid)

    def seen() -> int:
        return int(upstream.state(0)["requests"].get("POST /v3/chat", 0))

    def at_least(count: int) -> bool:
        return seen() >= count

    def abandon(count: int) -> None:
        for number in range(count):
            if number % 2 == 0:
                leave(service, body(bots["for-ever"], stream=True))
            else:
                sent = seen() + 1
                leave(service, body(bots["for-ever"], stream=False), once=partial(at_least, sent))
        wait_until(lambda: upstream.state(0)["streams"] == 0, 60)
        wait_until(lambda: len(process.net_connections()) <= 6, 60)

    abandon(100)
    files, memory = process.num_fds(), process.memory_info().rss
    abandon(ABANDONED)
    # A chat is cancelled once its stream is closed.
    wait_until(lambda: upstream.state(0)["requests"]["POST /v3/chat/cancel"] == ABANDONED + 100)
    state = upstream.state()
    assert {chat["cancel_calls"] for chat in state["chats"]} == {1}
    files_after, memory_after = process.num_fds(), process.memory_info().rss
    assert files_after <= files + 4
    assert memory_after - memory < 8 * 1024 * 1024
    assert service.chat().status_code == 200
    assert not [line for line in service.lines() if line["level"] in ("error", "critical")]
    assert service.stop() == 0
    with capsys.disabled():
        print(
            f"\n{ABANDONED + 100} abandoned chats, {state['requests']['POST /v3/chat/cancel']} cancelled: "
            f"descriptors {files} -> {files_after}, memory {memory >> 10} -> {memory_after >> 10} KiB"
        )


def test_a_connection_that_goes_on_keeps_nothing_of_the_chats_before(upstream: Upstream) -> None:
    async def answers_left_behind() -> int:
        chosen = settings.read({"COZE_API_TOKEN": "pat_test", "COZE_API_BASE": upstream.url, "COZE_BOT_ID": BOT})
        asked = ChatRequest(user_id="tester", messages=[ChatMessage(role="user", content="Hello")])
        async with Coze(chosen, CozeObserver(), Lifecycle()) as coze:
            for _ in range(200):
                chat = coze.chat(asked)
                await chat.open()
                chat.listen(lambda _: None)
                assert await chat.completed(math.inf)
                chat.leave()
                await asyncio.sleep(0)
            gc.collect()
            return sum(isinstance(thing, Exchange) for thing in gc.get_objects())

    assert asyncio.run(answers_left_behind()) < 20


def test_what_nobody_listens_to_is_left_with_coze(upstream: Upstream, bots: dict[str, str]) -> None:
    """As while the head of an answer waits for a client that is slow to take it."""

    async def kept() -> int:
        chosen = settings.read({"COZE_API_TOKEN": "pat_test", "COZE_API_BASE": upstream.url})
        question = ChatMessage(role="user", content="n=70 d=0.001 size=100000")
        asked = ChatRequest(user_id="tester", bot_id=bots["load"], messages=[question])
        heard: list[list[ChatEvent]] = []
        async with Coze(chosen, CozeObserver(), Lifecycle()) as coze:
            chat = coze.chat(asked)
            await chat.open()
            await asyncio.sleep(1)
            chat.listen(heard.append)
            kept = len(heard[0])
            assert await chat.completed(math.inf)
            chat.leave()
        assert sum(map(len, heard)) == 72
        return kept

    assert asyncio.run(kept()) < 30


# A service that says on SIGRTMIN how much of what it has made only the garbage collector has found.
COUNTING = """
import gc, signal, sys
from service.command import main

def tell(*_):
    print(f'{{"garbage": {gc.collect()}}}', flush=True)

freeze = gc.freeze
gc.freeze = lambda: (freeze(), gc.disable())
signal.signal(signal.SIGRTMIN, tell)
main()
"""


def test_a_chat_leaves_nothing_to_the_garbage_collector(
    upstream: Upstream, bots: dict[str, str], tmp_path: Path
) -> None:
    """Which would make all chats wait while it searches, ever longer the more there are."""
    env = {"COZE_API_TOKEN": "pat_test", "COZE_API_BASE": upstream.url, "COZE_BOT_ID": BOT}
    with running_service(tmp_path, command=(sys.executable, "-c", COUNTING), **env) as service:

        def left_over() -> list[int]:
            return [line["garbage"] for line in service.lines() if "garbage" in line]

        def told(count: int) -> bool:
            return len(left_over()) == count

        def all_kinds() -> None:
            for stream in (True, False):
                assert service.chat(stream=stream).status_code == 200
                assert service.chat(bot="", user_id="", stream=stream).status_code == 400
                for name in (
                    "error-first-4016",
                    "failed-midway-4028",
                    "502-html",
                    "eof-midway",
                    "bad-json",
                    "reset",
                    "reset-first",
                ):
                    service.chat(bot=bots[name], stream=stream)
            leave(service, body(bots["for-ever"], stream=True))
            assert service.http.get("/api/v1/workspaces").status_code == 200
            upstream.set(fail={"/v1/users/me": {"kind": "close"}})
            assert service.http.get("/api/v1/user/info").status_code == 503
            upstream.set(fail={})
            assert service.http.get("/api/v1/nothing").status_code == 404
            assert service.http.post("/api/v1/upload", files={"file": ("a.csv", b"1,2")}).status_code == 200

        all_kinds()
        for count in range(3):
            wait_until(lambda: upstream.state(0)["streams"] == 0)
            service.process.send_signal(signal.SIGRTMIN)
            wait_until(partial(told, count + 1))
            for _ in range(5):
                all_kinds()
        # At first there is what is made once.
        assert left_over()[1:] == [0, 0]


def test_a_client_that_stops_reading_costs_no_memory_and_no_one_else(
    start: Start, upstream: Upstream, bots: dict[str, str]
) -> None:
    service = start(HEARTBEAT_INTERVAL="0.05")
    process = psutil.Process(service.process.pid)
    service.chat(stream=True)
    before = process.memory_info().rss
    request = body(bots["load"], stream=True, content="n=300 d=0.001 size=100000")
    content = json.dumps(request).encode()
    connections = []
    for _ in range(20):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(service.address)
        connection.sendall(
            b"POST /api/v1/chat HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            % len(content)
            + content
        )
        connections.append(connection)
    for connection in connections:
        assert connection.recv(100)
    for _ in range(20):
        assert service.chat(stream=True).status_code == 200
    # 30 MB are on offer to each; what is kept is the buffers between two sockets.
    assert process.memory_info().rss - before < 40 * 1024 * 1024
    for connection in connections:
        connection.close()
    wait_until(lambda: freed(upstream, bots["load"]), 60)
