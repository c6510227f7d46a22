"""SIGTERM, SIGINT and SIGHUP: no new work, what runs finishes, what does not is ended honestly, exit code 0."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import COMMAND, Service, Start, Upstream, changed, events_of, http, running_service, wait_until
from scripted_coze import HEAD, STARTED, ScriptedCoze, chunk, sized

CHAT = b"POST /v3/chat "
CANCEL = b"POST /v3/chat/cancel "
SLOW = {"user_id": "u", "stream": True, "messages": [{"role": "user", "content": "n=20 d=0.1"}]}


@pytest.fixture(autouse=True)
def fresh(upstream: Upstream) -> None:
    upstream.reset()
    upstream.set(delta_seconds=0)


class Background(threading.Thread):
    """A chat in flight; `answer` is there once it is over."""

    def __init__(self, service: Service, body: dict[str, Any]) -> None:
        super().__init__()
        self._arguments = (f"{service.url}/api/v1/chat", body)
        self.begun = threading.Event()
        self.status = 0
        self.text = ""
        self.start()

    def run(self) -> None:
        url, body = self._arguments
        with httpx.stream("POST", url, json=body, timeout=60) as answer:
            self.status = answer.status_code
            self.begun.set()
            for piece in answer.iter_text():
                self.text += piece


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_chats_in_flight_finish(start: Start, upstream: Upstream, bots: dict[str, str], sig: signal.Signals) -> None:
    service = start()
    streamed = Background(service, {**SLOW, "bot_id": bots["load"]})
    plain = Background(service, {**SLOW, "bot_id": bots["load"], "stream": False})
    assert streamed.begun.wait(30)
    wait_until(lambda: len(upstream.state()["chats"]) == 2)
    assert service.stop(sig) == 0
    streamed.join()
    plain.join()
    events = events_of(streamed.text)
    assert [event["type"] for event in events[-2:]] == ["chat_completed", "end"]
    assert sum(event["type"] == "message_delta" for event in events) == 20
    assert plain.status == 200
    assert not [line for line in service.lines() if line["level"] in ("error", "critical")]


def test_under_nohup_a_hangup_is_nothing(upstream: Upstream, bots: dict[str, str], tmp_path: Path) -> None:
    env = {"COZE_API_TOKEN": "pat_test", "COZE_API_BASE": upstream.url, "COZE_BOT_ID": bots["load"]}
    with running_service(tmp_path, command=("nohup", *COMMAND), **env) as service:
        chat = Background(service, SLOW)
        assert chat.begun.wait(30)
        service.process.send_signal(signal.SIGHUP)
        chat.join()
        assert events_of(chat.text)[-2]["type"] == "chat_completed"
        assert http.get(f"{service.url}/").status_code == 200
        assert service.stop() == 0


def test_what_does_not_finish_in_time_is_ended(start: Start, upstream: Upstream, bots: dict[str, str]) -> None:
    service = start(SHUTDOWN_GRACE="1")
    streamed = Background(service, {**SLOW, "bot_id": bots["for-ever"]})
    plain = Background(service, {**SLOW, "bot_id": bots["for-ever"], "stream": False})
    silent = Background(service, {**SLOW, "bot_id": bots["stall"]})
    hanging = Background(service, {**SLOW, "bot_id": bots["hang"]})
    assert streamed.begun.wait(30)
    assert silent.begun.wait(30)
    wait_until(lambda: len(upstream.state()["chats"]) == 4)
    assert service.stop() == 0
    for chat in (streamed, plain, silent, hanging):
        chat.join()
    for chat in (streamed, silent):
        assert [event["type"] for event in events_of(chat.text)[-2:]] == ["error", "end"]
        assert "stopping" in events_of(chat.text)[-2]["message"]
    assert (plain.status, hanging.status) == (503, 503)
    cancelled = [chat["cancel_calls"] for chat in upstream.state()["chats"] if chat["bot_id"] != bots["hang"]]
    assert cancelled == [1, 1, 1]


def test_no_new_work(start: Start, upstream: Upstream, bots: dict[str, str]) -> None:
    service = start()
    running = Background(service, {**SLOW, "bot_id": bots["load"]})
    assert running.begun.wait(30)
    service.process.send_signal(signal.SIGTERM)
    wait_until(lambda: any(line["event"] == "stopping" for line in service.lines()))

    def refused() -> bool:
        try:
            socket.create_connection(service.address, timeout=5).close()
        except OSError:
            return True
        return False

    wait_until(refused)
    running.join()
    assert events_of(running.text)[-2]["type"] == "chat_completed"
    assert service.process.wait(60) == 0


def test_idle_connections_do_not_hold_it_up(start: Start) -> None:
    """And the log says that it ended."""
    service = start()
    assert service.http.get("/").status_code == 200  # kept alive by the client
    assert service.stop(timeout=20) == 0
    assert service.lines()[-1]["event"] == "stopping"


def test_a_chat_that_has_no_name_yet_is_cancelled_too(start: Start) -> None:
    named = threading.Event()

    def answer(request: bytes) -> Iterator[bytes]:
        if request.startswith(CANCEL):
            yield sized(b'{"code":0}')
            return
        headers_first = b"headers first" in request
        if headers_first:
            yield HEAD + b"\r\n"
        named.wait(60)
        yield chunk(STARTED) if headers_first else HEAD + b"\r\n" + chunk(STARTED)

    with ScriptedCoze(answer) as coze:
        bounds = changed(leave_seconds=60, goodbye_seconds=60)
        service = start(*bounds, COZE_API_BASE=coze.url, SHUTDOWN_GRACE="0")
        chats = [
            Background(service, {**SLOW, "stream": stream, "messages": [{"role": "user", "content": content}]})
            for content in ("headers first", "headers late")
            for stream in (True, False)
        ]
        wait_until(lambda: len(coze.numbers(CHAT)) == len(chats))
        service.process.send_signal(signal.SIGTERM)
        for chat in chats:
            chat.join()
            assert chat.status == 503
        # Only now Coze says what they are called.
        assert not coze.numbers(CANCEL)
        named.set()
        assert service.process.wait(60) == 0
        assert len(coze.numbers(CANCEL)) == len(chats)


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_before_it_serves_is_a_stop_too(start: Start, sig: signal.Signals) -> None:
    assert start().stop(sig) == 0


def test_a_log_that_has_gone_ends_no_chat(upstream: Upstream, bots: dict[str, str], tmp_path: Path) -> None:
    """As with Ctrl-C in `… | tee log`: the reader of the log ends first."""
    reader, writer = os.pipe()
    env = {"COZE_API_TOKEN": "pat_test", "COZE_API_BASE": upstream.url, "HOST": "127.0.0.1", "PORT": "0"}
    command = [sys.executable, "-m", "service"]
    with subprocess.Popen(command, cwd=tmp_path, env={"PATH": os.environ["PATH"], **env}, stdout=writer) as process:
        os.close(writer)
        line = b""
        while not line.endswith(b"\n"):
            line += os.read(reader, 1)
        url = json.loads(line)["url"]
        body = {**SLOW, "bot_id": bots["load"]}
        with httpx.stream("POST", f"{url}/api/v1/chat", json=body, timeout=60) as answer:
            os.close(reader)
            process.send_signal(signal.SIGINT)
            text = answer.read().decode()
        assert [event["type"] for event in events_of(text)[-2:]] == ["chat_completed", "end"]
        assert process.wait(60) == 0


# A service whose requests go on though they are answered and their clients have gone.
STAYING = """
import asyncio
import service.command as command

serve = command.serve

def serve_staying(app, *arguments, **options):
    async def staying(scope, receive, send):
        await app(scope, receive, send)
        if scope["type"] == "http":
            await asyncio.sleep(3600)

    serve(staying, *arguments, **options)

command.serve = serve_staying
command.main()
"""


def test_a_request_that_does_not_end_does_not_hold_it_up(upstream: Upstream, tmp_path: Path) -> None:
    arguments = changed(last_events_seconds=0, uvicorn_seconds=1)
    env = {"COZE_API_TOKEN": "pat_test", "COZE_API_BASE": upstream.url, "SHUTDOWN_GRACE": "0"}
    with running_service(tmp_path, *arguments, command=(sys.executable, "-c", STAYING), **env) as service:
        assert service.http.get("/").status_code == 200
        assert service.stop(timeout=30) == 0


def test_clients_that_do_not_read_do_not_hold_it_up(start: Start, upstream: Upstream, bots: dict[str, str]) -> None:
    service = start(SHUTDOWN_GRACE="1")
    request = {**SLOW, "bot_id": bots["load"], "messages": [{"role": "user", "content": "n=300 d=0.001 size=100000"}]}
    content = json.dumps(request).encode()
    head = b"POST /api/v1/chat HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    connections = []
    for _ in range(3):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(service.address)
        connection.sendall(head % len(content) + content)
        assert connection.recv(100)
        connections.append(connection)
    assert service.stop() == 0
    assert {chat["cancel_calls"] for chat in upstream.state()["chats"]} == {1}
    for connection in connections:
        connection.close()
