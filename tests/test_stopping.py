"""SIGTERM and SIGINT: no new work, what runs finishes, what does not is ended honestly, exit code 0."""

import signal
import socket
import threading
from typing import Any

import httpx
import pytest
from conftest import Service, Start, Upstream, events_of, wait_until

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


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_chats_in_flight_finish(start: Start, upstream: Upstream, bots: dict[str, str], sig: signal.Signals) -> None:
    service = start()
    streamed = Background(service, {**SLOW, "bot_id": bots["load"]})
    plain = Background(service, {**SLOW, "bot_id": bots["load"], "stream": False})
    assert streamed.begun.wait(30)
    wait_until(lambda: upstream.state()["streams"] == 2)
    assert service.stop(sig) == 0
    streamed.join()
    plain.join()
    events = events_of(streamed.text)
    assert [event["type"] for event in events[-2:]] == ["chat_completed", "end"]
    assert sum(event["type"] == "message_delta" for event in events) == 20
    assert plain.status == 200
    assert not [line for line in service.lines() if line["level"] in ("error", "critical")]


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
    host, port = service.url.removeprefix("http://").split(":")
    service.process.send_signal(signal.SIGTERM)
    wait_until(lambda: any(line["event"] == "stopping" for line in service.lines()))

    def refused() -> bool:
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except OSError:
            return True
        return False

    wait_until(refused)
    running.join()
    assert events_of(running.text)[-2]["type"] == "chat_completed"
    assert service.process.wait(60) == 0


def test_idle_connections_do_not_hold_it_up(start: Start) -> None:
    service = start()
    assert service.http.get("/").status_code == 200  # kept alive by the client
    assert service.stop(timeout=20) == 0


def test_an_idle_service_logs_its_end(start: Start) -> None:
    service = start()
    assert service.http.get("/").status_code == 200
    assert service.stop() == 0
    assert service.lines()[-1]["event"] == "stopping"


def test_a_stop_before_it_serves_is_a_stop_too(start: Start) -> None:
    assert start().stop() == 0
