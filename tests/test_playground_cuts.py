"""The playground over a network that breaks: an answer comes whole, once and in order, and the bot is asked once."""

import contextlib
import random
import re
import socket
import socketserver
import threading
from collections.abc import Iterator

import pytest
from browser import page_on
from conftest import Service, Start, Upstream, wait_until
from playground import answered, ask, bubbles, open_at, wire
from playwright.sync_api import Browser, Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("fresh")]

QUESTION = " ".join(str(number) for number in range(400))
ANSWER = f"You said: {QUESTION}"


class Network(socketserver.ThreadingTCPServer):
    """A relay to a service that cuts each stream after so many bytes, or all of it. `cuts` counts.

    `hold` has the streams stand still after so many bytes, until `release`: no answer is complete before.
    """

    daemon_threads = True

    def __init__(self, service: Service) -> None:
        self.service = service
        self.after = 10**9
        self.is_down = False
        self.cuts = 0
        self._held_after = 10**9
        self._released = threading.Event()
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Connection)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def take_down(self) -> None:
        self.is_down = True
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def hold(self, after: int) -> None:
        self._held_after = after

    def release(self) -> None:
        self._held_after = 10**9
        self._released.set()

    def carry(self, client: socket.socket) -> None:
        if self.is_down:
            return
        self._open.add(client)
        with socket.create_connection(self.service.address, timeout=60) as service:
            threading.Thread(target=self._forth, args=(client, service), daemon=True).start()
            with contextlib.suppress(OSError):
                self._back(client, service)
        self._open.discard(client)

    def _forth(self, client: socket.socket, service: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while part := client.recv(65536):
                service.sendall(part)
        with contextlib.suppress(OSError):
            service.shutdown(socket.SHUT_RDWR)

    def _back(self, client: socket.socket, service: socket.socket) -> None:
        left = None
        passed = 0
        while part := service.recv(65536):
            if left is None and b"text/event-stream" in part:
                left = random.randint(1, 2 * self.after)
            if left is not None and len(part) >= left:
                client.sendall(part[:left])
                client.shutdown(socket.SHUT_RDWR)
                self.cuts += 1
                return
            room = len(part) if left is None else max(0, self._held_after - passed)
            client.sendall(part[:room])
            if room < len(part):
                self._released.wait()
                client.sendall(part[room:])
            if left is not None:
                left -= len(part)
                passed += len(part)


class _Connection(socketserver.BaseRequestHandler):
    server: Network

    def handle(self) -> None:
        self.server.carry(self.request)


@pytest.fixture
def network(on_sandbox: Service) -> Iterator[Network]:
    with Network(on_sandbox) as relay:
        threading.Thread(target=relay.serve_forever, daemon=True).start()
        yield relay
        relay.shutdown()


def asked(upstream: Upstream) -> int:
    return int(upstream.state(0)["requests"].get("POST /v3/chat", 0))


def begun(page: Page, count: int = 1) -> None:
    """Waits until the last of `count` answers has some words."""
    expect(page.locator(".bot .bubble")).to_have_count(count)
    expect(page.locator(".bot .bubble").last).to_have_text(re.compile("You said: 0 1 2"))


def test_a_network_that_cuts_anywhere(browser: Browser, network: Network, upstream: Upstream) -> None:
    upstream.set(delta_seconds=0.005)
    network.after = 15_000
    with page_on(browser, f"{network.url}/playground", lost=True) as page:
        open_at(page)
        ask(page, QUESTION)
        expect(page.locator(".bot[aria-busy=false]")).to_have_count(1, timeout=90_000)
        assert answered(page, 1) == ANSWER
        assert network.cuts > 0
        assert page.get_by_role("alert").count() == 0
        rows = wire(page)
        assert sum('"chat_started"' in row for row in rows) == 1
        assert sum('"type":"end"' in row for row in rows) == 1
    assert asked(upstream) == 1


# Chromium cannot hide its tab under test; the page is told so in the way that it asks.
HIDE = """hidden => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_a_network_that_is_away_while_the_tab_is_hidden(browser: Browser, network: Network, upstream: Upstream) -> None:
    network.hold(after=5000)
    with page_on(browser, f"{network.url}/playground", lost=True) as page:
        open_at(page)
        ask(page, QUESTION)
        begun(page)
        page.evaluate(HIDE, True)
        page.evaluate(HIDE, False)
        page.evaluate(HIDE, True)
        network.take_down()
        expect(page.locator(".bot .about")).to_have_text("Reconnecting…")
        assert page.get_by_role("alert").count() == 0
        page.locator("#question").fill("Meanwhile")
        network.release()
        network.is_down = False
        page.evaluate(HIDE, False)
        assert answered(page, 1) == ANSWER
        expect(page.locator("#question")).to_have_value("Meanwhile")
    assert asked(upstream) == 1


def test_a_connection_that_is_cut_before_the_answer_begins(
    browser: Browser, network: Network, upstream: Upstream
) -> None:
    upstream.set(fail={"/v3/chat": {"kind": "slow", "seconds": 1.5}})
    network.hold(after=0)
    with page_on(browser, f"{network.url}/playground", lost=True) as page:
        open_at(page)
        ask(page, QUESTION)
        wait_until(lambda: asked(upstream) == 1)
        network.take_down()
        expect(page.locator(".bot .about")).to_have_text("Reconnecting…")
        network.release()
        network.is_down = False
        assert answered(page, 1) == ANSWER
    assert asked(upstream) == 1


@pytest.mark.parametrize("caller", ["visitor", "claimed"])
def test_a_page_that_is_reloaded(browser: Browser, network: Network, upstream: Upstream, caller: str) -> None:
    """The question is there once, and the answer goes on: with the conversations that the service lists, or without."""
    with page_on(browser, f"{network.url}/playground", statuses=(401,)) as page:
        open_at(page)
        if caller == "claimed":
            page.get_by_label("User id").fill("alice")
            page.get_by_label("User id").blur()
        ask(page, "First")
        answered(page, 1)
        network.hold(after=5000)
        ask(page, QUESTION)
        begun(page, 2)
        for _ in range(2):
            page.reload()
            begun(page, 2 if caller == "visitor" else 1)
        network.release()
        text = answered(page, 2 if caller == "visitor" else 1)
        assert text.startswith(ANSWER)
        said = [QUESTION, text] if caller == "claimed" else ["First", "You said: First", QUESTION, text]
        expect(bubbles(page)).to_have_text(said, use_inner_text=True)
        ask(page, "And then?")
        answered(page, 3 if caller == "visitor" else 2)
        assert len({chat["conversation_id"] for chat in upstream.state()["chats"]}) == 1
        page.reload()
        open_at(page)
        expect(bubbles(page)).to_have_count(6 if caller == "visitor" else 0)
    assert asked(upstream) == 3


def test_a_page_that_is_reloaded_before_the_answer_begins(
    browser: Browser, on_sandbox: Service, upstream: Upstream
) -> None:
    upstream.set(fail={"/v3/chat": {"kind": "slow", "seconds": 3}})
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        ask(page, QUESTION)
        wait_until(lambda: asked(upstream) == 1)
        page.reload()
        assert answered(page, 1) == ANSWER
        expect(bubbles(page)).to_have_text([QUESTION, ANSWER])
    assert asked(upstream) == 1


def test_another_conversation_meanwhile(browser: Browser, on_sandbox: Service, upstream: Upstream) -> None:
    """The answer goes on without anybody, and whoever comes back sees it."""
    upstream.set(delta_seconds=0.02)
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        ask(page, QUESTION)
        begun(page)
        page.get_by_role("button", name="New conversation").click()
        ask(page, "Another")
        assert answered(page, 1) == "You said: Another"
        assert "Stopped" not in "".join(wire(page))
        page.get_by_role("link", name="0 1 2").click()
        begun(page)
        assert answered(page, 1) == ANSWER
    assert [chat["cancel_calls"] for chat in upstream.state()["chats"]] == [0, 0]


def test_stopping_is_for_the_button_and_not_for_the_tab(
    browser: Browser, on_sandbox: Service, upstream: Upstream, bots: dict[str, str]
) -> None:
    def states() -> list[str]:
        return [chat["status"] for chat in upstream.state()["chats"]]

    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        page.get_by_label("Bot id").fill(bots["for-ever"])
        ask(page, "Go on")
        expect(page.locator(".bot .bubble")).to_have_text(re.compile("0 1 2"))
    assert states() == ["in_progress"]
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        page.get_by_label("Bot id").fill(bots["for-ever"])
        ask(page, "Go on")
        expect(page.locator(".bot .bubble")).to_have_text(re.compile("0 1 2"))
        page.reload()
        expect(page.locator(".bot .bubble")).to_have_text(re.compile("0 1 2"))
        page.get_by_role("button", name="Stop").click()
        expect(page.locator(".bot .about")).to_contain_text("Stopped")
        wait_until(lambda: states() == ["in_progress", "canceled"])
        page.reload()
        open_at(page)
        expect(page.get_by_role("button", name="Send")).to_be_visible()


def test_stopping_before_the_answer_has_begun(browser: Browser, on_sandbox: Service, upstream: Upstream) -> None:
    upstream.set(delta_seconds=0.05, fail={"/v3/chat": {"kind": "slow", "seconds": 1.5}})
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        ask(page, QUESTION)
        wait_until(lambda: asked(upstream) == 1)
        page.keyboard.press("Escape")
        expect(page.locator(".bot .about")).to_contain_text("Stopped")
        expect(page.get_by_role("button", name="Send")).to_be_visible()
        wait_until(lambda: [chat["cancel_calls"] for chat in upstream.state()["chats"]] == [1])


@pytest.mark.parametrize("begun_yet", [True, False])
def test_the_next_question_waits_for_the_stop(
    browser: Browser, on_sandbox: Service, upstream: Upstream, begun_yet: bool
) -> None:
    """Coze takes no question while a chat runs in the conversation, and to end one takes a moment."""
    with page_on(browser, f"{on_sandbox.url}/playground", statuses=(429,)) as page:
        open_at(page)
        ask(page, "First")
        answered(page, 1)
        slow = {"kind": "slow", "seconds": 1}
        upstream.set(delta_seconds=0.05, fail={"/v3/chat/cancel": slow} if begun_yet else {"/v3/chat": slow})
        ask(page, QUESTION)
        begun(page, 2) if begun_yet else wait_until(lambda: asked(upstream) == 2)
        page.locator("#question").fill("Next")
        page.keyboard.press("Escape")
        expect(page.get_by_role("button", name="Send")).to_be_enabled()
        page.keyboard.press("Enter")
        expect(page.locator(".bot .bubble").last).to_have_text(re.compile("You said: Next"))
        assert page.get_by_role("alert").count() == 0
        assert len({chat["conversation_id"] for chat in upstream.state()["chats"]}) == 1


def test_a_service_that_keeps_no_answers(browser: Browser, start: Start, upstream: Upstream) -> None:
    service = start(WORKERS="2")
    with page_on(browser, f"{service.url}/playground", statuses=(429, 503)) as page:
        open_at(page)
        for count, question in enumerate(("One", "Two"), 1):
            ask(page, question)
            assert question in answered(page, count)
        assert sum("on_disconnect" in row for row in wire(page)) == 1
        upstream.set(delta_seconds=0.05, fail={"/v3/chat/cancel": {"kind": "slow", "seconds": 1}})
        ask(page, QUESTION)
        begun(page, 3)
        page.get_by_role("button", name="Stop").click()
        ask(page, "Next")
        assert answered(page, 4).startswith("You said: Next")
        assert page.get_by_role("alert").count() == 0
        states = [chat["status"] for chat in upstream.state()["chats"]]
        assert states == ["completed", "completed", "canceled", "completed"]
