"""Readers of event streams, unmodified, with the settings of docs/readers.md: a question is asked once in any case."""

import asyncio
import contextlib
import itertools
import json
import os
import random
import re
import shutil
import socket
import socketserver
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import aiohttp
import httpx
import httpx_sse
import pytest
import requests
import requests_sse
from browser import chromium
from conftest import ROOT, Service, Start, Upstream, wait_until
from javascript import TESTS, needs_packages, node, run_tool
from playwright.sync_api import Page
from relay import Relay
from test_examples import served

pytestmark = [pytest.mark.browser, pytest.mark.npm]

PAGE = (ROOT / "docs" / "readers.md").read_text(encoding="utf-8")
HEADERS = {"Content-Type": "application/json"}
# What happens, with the bot and the question that make it happen. In "cut" the reader's own connection is.
SCENES = {
    "answer": ("separators", "Hello"),
    "silence": ("silence", "pause=1"),  # longer than HEARTBEAT_INTERVAL
    "failure": ("reset", "Hello"),
    "refusal": ("429-retry-after", "Hello"),
    "cut": ("for-ever", "Hello"),
}
# Where a reader is left to connect again: what the service can see to.
SEEN_TO = ("answer", "silence", "failure")
# Those that only read, and those that can ask again.
READING = (
    "@ai-sdk/provider-utils parseJsonEventStream",
    "@ant-design/x-sdk XStream",
    "eventsource-parser",
    "fetch messagesOf",
    "fetch-event-stream",
)
RECONNECTING = ("event-source-plus", "eventsource", "eventsource-client")
ASKING = ("@ant-design/x-sdk XRequest", *RECONNECTING)
IN_BROWSERS = ("@microsoft/fetch-event-source", "sse.js")

# Readers of an answer that outlives its connection, which they are left to connect to again.
FOLLOWING = ("@microsoft/fetch-event-source", "@ant-design/x-sdk XRequest", "eventsource", "the browser's EventSource")
WORDS = " ".join(f"word-{number}" for number in range(120))
# Chromium cannot hide its tab under test; the readers are told so in the way that they ask.
HIDE = """hidden => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""

# A Python reader asks one question: the address, the body of the POST, and what takes the data of an event.
Reader = Callable[[str, str, Callable[[str], None]], None]


def read_lines(lines: Iterator[str], take: Callable[[str], None]) -> None:
    for line in lines:
        if line.startswith("data: "):
            take(line.removeprefix("data: "))


def with_httpx(url: str, body: str, take: Callable[[str], None]) -> None:
    with httpx.stream("POST", url, content=body, headers=HEADERS, timeout=30) as response:
        response.raise_for_status()
        read_lines(response.iter_lines(), take)


def with_requests(url: str, body: str, take: Callable[[str], None]) -> None:
    with requests.post(url, data=body, headers=HEADERS, stream=True, timeout=30) as response:
        response.raise_for_status()
        read_lines((str(line) for line in response.iter_lines(decode_unicode=True)), take)


def with_httpx_sse(url: str, body: str, take: Callable[[str], None]) -> None:
    with (
        httpx.Client(timeout=30) as client,
        httpx_sse.connect_sse(client, "POST", url, content=body, headers=HEADERS) as source,
    ):
        source.response.raise_for_status()
        for event in source.iter_sse():
            take(event.data)


def with_aiohttp(url: str, body: str, take: Callable[[str], None]) -> None:
    async def main() -> None:
        async with aiohttp.ClientSession() as session, session.post(url, data=body, headers=HEADERS) as response:
            response.raise_for_status()
            async for line in response.content:
                if line.startswith(b"data: "):
                    take(line.decode().removeprefix("data: "))

    asyncio.run(main())


def with_requests_sse(url: str, body: str, take: Callable[[str], None]) -> None:
    def fail() -> None:
        raise requests.ConnectionError("The answer was refused or broke off.")

    with requests_sse.EventSource(
        url, method="POST", data=body, headers=dict(HEADERS), timeout=30, on_error=fail
    ) as source:
        for event in source:
            take(event.data)
            if json.loads(event.data)["type"] == "end":
                return


def with_requests_sse_left_to_reconnect(url: str, body: str, take: Callable[[str], None]) -> None:
    soon = timedelta(milliseconds=50)
    ends = 0
    with (
        requests_sse.EventSource(
            url, method="POST", data=body, headers=dict(HEADERS), timeout=30, reconnection_time=soon
        ) as source,
        contextlib.suppress(requests_sse.InvalidStatusCodeError),  # the 204
    ):
        for event in source:
            take(event.data)
            ends += json.loads(event.data)["type"] == "end"
            assert ends < 2, "it got a second answer"


PYTHON: dict[str, Reader] = {
    "aiohttp response.content": with_aiohttp,
    "httpx iter_lines": with_httpx,
    "httpx-sse": with_httpx_sse,
    "requests iter_lines": with_requests,
    "requests-sse": with_requests_sse,
}


@dataclass(frozen=True)
class Asked:
    """A question: where it was asked, by which reader, whether that was left to reconnect, and what happens."""

    place: str
    reader: str
    scene: str
    way: str = "readers"

    def __str__(self) -> str:
        return f"{self.reader} in {self.place}, {self.scene}" + (", left to reconnect" * (self.way != "readers"))


QUESTIONS = [
    *(Asked("node", reader, scene) for reader in (*READING, *ASKING) for scene in SCENES),
    *(Asked("node", reader, scene, "reconnecting") for reader in RECONNECTING for scene in SEEN_TO),
    *(Asked("chromium", reader, scene) for reader in (*ASKING, *IN_BROWSERS) for scene in SCENES),
    *(
        Asked("chromium", reader, scene, "reconnecting")
        for reader in (*RECONNECTING, *IN_BROWSERS)
        for scene in SEEN_TO
    ),
    *(Asked("python", reader, scene) for reader in PYTHON for scene in SCENES),
    *(Asked("python", "requests-sse", scene, "reconnecting") for scene in SEEN_TO),
]


@dataclass
class Outcome:
    """The text of an answer, whether it came to its `end`, how it failed, and how often Coze was asked."""

    text: str = ""
    ended: bool = False
    failure: str | None = None
    asked: int = 0


@pytest.fixture(scope="module")
def quick(start: Start) -> Service:
    """A service that does not wait long to send a heartbeat, but long for Coze, which many ask at once here."""
    return start(HEARTBEAT_INTERVAL="0.2", COZE_CONNECT_TIMEOUT="60")


@pytest.fixture(scope="module")
def cutting(quick: Service) -> Iterator[str]:
    """The address of a relay to the service that cuts each connection once an answer has begun."""

    class Connection(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(quick.address, timeout=30) as service:
                forth = threading.Thread(target=self.pass_on, args=(service,))
                forth.start()
                received = b""
                while received.count(b"message_delta") < 2 and (part := service.recv(65536)):
                    received += part
                    self.request.sendall(part)
                self.request.shutdown(socket.SHUT_RDWR)
                forth.join()

        def pass_on(self, service: socket.socket) -> None:
            while part := self.request.recv(65536):
                service.sendall(part)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Connection) as relay:
        threading.Thread(target=relay.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{relay.server_address[1]}"
        finally:
            relay.shutdown()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tests/readers with its packages, and with the code that docs/readers.md shows."""
    needs_packages("@microsoft/fetch-event-source", "eventsource", "vite")
    folder = Path(shutil.copytree(TESTS / "readers", tmp_path_factory.mktemp("readers") / "readers"))
    (folder / "node_modules").symlink_to(TESTS / "node_modules")
    shutil.copyfile(ROOT / "examples" / "javascript" / "coze-api.js", folder / "coze-api.mjs")
    following, asking = re.findall(r"^```js\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (folder / "following.mjs").write_text(following, encoding="utf-8")
    (folder / "fetch-event-source.mjs").write_text(asking, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def page(project: Path) -> Iterator[Page]:
    run_tool(project, "vite", "build", "--logLevel", "warn")
    with chromium() as browser, served(project / "dist") as url:
        opened = browser.new_page()
        opened.goto(url)
        yield opened


@pytest.fixture(scope="module")
def outcomes(
    project: Path, page: Page, quick: Service, cutting: str, upstream: Upstream, bots: dict[str, str]
) -> dict[Asked, Outcome]:
    """What came of all questions. They are asked at once, and counted when none can be asked again."""
    upstream.reset()
    upstream.set(delta_seconds=0)

    def question(number: int) -> dict[str, str]:
        asked = QUESTIONS[number]
        bot, content = SCENES[asked.scene]
        body = {
            "bot_id": bots[bot],
            "user_id": f"reader-{number}",
            "messages": [{"role": "user", "content": content}],
            "stream": True,
        }
        url = f"{cutting if asked.scene == 'cut' else quick.url}/api/v1/chat"
        return {"reader": asked.reader, "way": asked.way, "url": url, "body": json.dumps(body)}

    def at(place: str) -> list[int]:
        return [number for number, asked in enumerate(QUESTIONS) if asked.place == place]

    def ask_in_python(number: int) -> Outcome:
        outcome = Outcome()

        def take(data: str) -> None:
            event = json.loads(data)
            match event["type"]:
                case "message_delta":
                    outcome.text += event["content"]
                case "error":
                    outcome.failure = event["message"]
                case "end":
                    outcome.ended = True

        asked = question(number)
        reader = PYTHON[asked["reader"]] if asked["way"] == "readers" else with_requests_sse_left_to_reconnect
        try:
            reader(asked["url"], asked["body"], take)
        except Exception as error:  # each reader has its own kinds
            outcome.failure = outcome.failure or f"{type(error).__name__}: {error}"
        return outcome

    command = [node(), str(project / "node.mjs")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        with ThreadPoolExecutor(8) as pool:
            in_python = list(pool.map(ask_in_python, at("python")))
        in_node, _ = process.communicate(json.dumps([question(number) for number in at("node")]))
    in_chromium = page.evaluate("questions => askAll(questions)", [question(number) for number in at("chromium")])
    found = dict(zip(at("python"), in_python, strict=True))
    found |= {n: Outcome(**told) for n, told in zip(at("node"), json.loads(in_node), strict=True)}
    found |= {n: Outcome(**told) for n, told in zip(at("chromium"), in_chromium, strict=True)}
    counted = Counter(chat["user_id"] for chat in upstream.state()["chats"])
    for number, outcome in found.items():
        outcome.asked = counted[f"reader-{number}"]
    return {QUESTIONS[number]: outcome for number, outcome in found.items()}


@pytest.mark.parametrize("asked", QUESTIONS, ids=str)
def test_it_is_asked_once(outcomes: dict[Asked, Outcome], asked: Asked) -> None:
    outcome = outcomes[asked]
    match asked.scene:
        case "answer":
            assert "line\u2028paragraph\u2029next\u0085unit\u001c\u000bend" in outcome.text
            assert (outcome.ended, outcome.failure) == (True, None)
        case "silence":
            assert (outcome.ended, outcome.failure) == (True, None)
        case "failure":
            assert outcome.text
            assert "Coze broke off" in (outcome.failure or "")
        case "refusal":
            assert outcome.text == ""
            assert outcome.failure
        case "cut":
            assert outcome.failure
            assert not outcome.ended
    assert outcome.asked == 1


def test_those_left_to_reconnect_did_so(outcomes: dict[Asked, Outcome], quick: Service) -> None:
    """Each was told that there is no more, all but one, which does not come back after a good end."""
    came_back = [
        asked for asked in outcomes if asked.way == "reconnecting" and asked.reader != "@microsoft/fetch-event-source"
    ]
    assert sum(line.get("status") == 204 for line in quick.lines()) >= len(came_back) > 20


def test_a_tab_that_is_hidden_and_shown_again(
    page: Page, quick: Service, upstream: Upstream, bots: dict[str, str]
) -> None:
    body = {"bot_id": bots["silence"], "messages": [{"role": "user", "content": "pause=2"}], "stream": True}
    questions = [
        {
            "reader": "@microsoft/fetch-event-source",
            "way": way,
            "url": f"{quick.url}/api/v1/chat",
            "body": json.dumps(body | {"user_id": way}),
        }
        for way in ("readers", "reconnecting")
    ]
    page.evaluate("questions => { window.told = askAll(questions) }", questions)
    wait_until(lambda: page.evaluate("outcomes.every((outcome) => outcome.text)"))
    page.evaluate(HIDE, True)
    page.evaluate(HIDE, False)
    as_advised, by_default = page.evaluate("told")
    assert as_advised["ended"]
    assert by_default["ended"]
    asked = Counter(chat["user_id"] for chat in upstream.state()["chats"])
    assert (asked["readers"], asked["reconnecting"]) == (1, 2)


def test_an_answer_outlives_connections_tabs_and_pages(
    page: Page, quick: Service, upstream: Upstream, bots: dict[str, str], seed: int
) -> None:
    """CUTS in the environment says how often the connections are cut."""
    drawn = random.Random(seed)
    cuts = int(os.environ.get("CUTS", "10"))
    upstream.reset()
    upstream.set(delta_seconds=0.01)
    with Relay(quick.address, lambda: drawn.randrange(12_000) if relay.cuts < cuts else None) as relay:
        for lap in itertools.count():
            questions = [
                {
                    "reader": reader,
                    "way": "following",
                    "url": f"{relay.url}/api/v1/chat",
                    "body": json.dumps(
                        {"user_id": f"{reader} {lap}", "messages": [{"role": "user", "content": WORDS}]}
                    ),
                    "key": f"{seed}-{lap}",
                }
                for reader in FOLLOWING
            ]
            start = "questions => { window.outcomes = []; window.told = askAll(questions) }"
            begun = "outcomes.length && outcomes.every(({ text }) => text.includes('word-9'))"
            page.evaluate(start, questions)
            page.wait_for_function(begun, timeout=60_000)
            page.reload()
            page.evaluate(start, questions)
            page.wait_for_function(begun, timeout=60_000)
            page.evaluate(HIDE, True)
            page.evaluate(HIDE, False)
            for reader, outcome in zip(FOLLOWING, page.evaluate("told"), strict=True):
                assert outcome == {"text": f"You said: {WORDS}", "ended": True, "failure": None}, reader
            if relay.cuts >= cuts:
                break
        asked = Counter(chat["user_id"] for chat in upstream.state()["chats"])
    assert asked == {f"{reader} {number}": 1 for reader in FOLLOWING for number in range(lap + 1)}
    print(f"{relay.cuts} cuts in {lap + 1} laps")


def test_the_page_names_them_all() -> None:
    rows = [line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `")]
    named = [" ".join(re.findall("`([^`]+)`", row)) for row in rows]
    assert sorted(named) == sorted([*READING, *ASKING, *IN_BROWSERS, *PYTHON])
