"""run.sh: the service in the background, once, with a pid that is its own."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest
from conftest import BOT, ROOT, Upstream, changed, events_of, http, wait_until

# A chat of fifteen seconds: more than run.sh gives a service that does not notice that it is to stop.
SLOW = "n=150 d=0.1"


class Checkout:
    """A copy of the project's own files in another folder; its .venv is this one's, set up already."""

    def __init__(self, folder: Path, upstream: Upstream) -> None:
        self.folder = folder
        self.pid_file = folder / ".run/service.pid"
        self.log = folder / ".run/service.log"
        for name in ("run.sh", "pyproject.toml", "uv.lock", "openapi.yaml", "README.md"):
            shutil.copy(ROOT / name, folder)
        for name in ("service", "generated"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / ".venv").symlink_to(ROOT / ".venv")
        self.env = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "COZE_API_TOKEN": "pat_test",
            "COZE_API_BASE": upstream.url,
            "COZE_BOT_ID": BOT,
            "HOST": "127.0.0.1",
            "PORT": "0",
        }

    def call(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["./run.sh", *command],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def run(self, *command: str, code: int = 0) -> str:
        ended = self.call(*command)
        assert ended.returncode == code, ended.stdout + ended.stderr
        return ended.stdout + ended.stderr

    def pid(self) -> int:
        return int(self.pid_file.read_text())


@pytest.fixture
def checkout(tmp_path: Path, upstream: Upstream) -> Iterator[Checkout]:
    if not (ROOT / ".venv/.set-up").exists():
        pytest.fail("run these tests by ./run.sh test, which sets .venv up")
    made = Checkout(tmp_path, upstream)
    yield made
    made.run("stop")


def test_start_status_stop(checkout: Checkout) -> None:
    # No line of the log says where it listens.
    checkout.env |= {"LOG_LEVEL": "WARNING", "LOG_FORMAT": "console", "WORKERS": "2", "ENABLE_RATE_LIMIT": "false"}
    assert "not running" in checkout.run("status", code=3)
    said = checkout.run("start")
    address = next(word for word in said.split() if word.startswith("http")).rstrip(",")
    assert http.get(f"{address}/health").status_code == 200
    assert f"docs at {address}/docs" in said
    assert "already running" in checkout.run("start", code=1)
    checkout.env["http_proxy"] = "http://127.0.0.1:9"
    status = checkout.run("status")
    assert "healthy" in status
    assert f"(pid {checkout.pid()}) on {address}\n" in status
    process = psutil.Process(checkout.pid())
    assert checkout.run("stop") == "stopped\n"
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    assert checkout.run("stop") == "not running\n"
    assert not checkout.pid_file.exists()


def test_of_two_starts_at_once_one_succeeds(checkout: Checkout) -> None:
    with ThreadPoolExecutor() as pool:
        ended = [pool.submit(checkout.call, "start") for _ in range(3)]
        said = sorted((one.result().returncode, one.result().stdout + one.result().stderr) for one in ended)
    assert [code for code, _ in said] == [0, 1, 1], said
    assert f"running (pid {checkout.pid()}) on" in said[0][1]
    for _, text in said[1:]:
        assert f"already running (pid {checkout.pid()})" in text
    assert "healthy" in checkout.run("status")
    assert checkout.run("stop") == "stopped\n"
    assert not [process for process in psutil.process_iter(["cwd"]) if process.info["cwd"] == str(checkout.folder)]


def test_a_service_that_hangs_is_stopped(checkout: Checkout) -> None:
    checkout.run("start")
    process = psutil.Process(checkout.pid())
    process.suspend()
    assert f"killed (pid {process.pid})" in checkout.run("stop")
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    assert "not running" in checkout.run("status", code=3)


def test_a_stop_that_does_not_end_is_given_its_time(checkout: Checkout) -> None:
    """An idle connection holds it up, for as long as bounds let it."""
    checkout.env["SHUTDOWN_GRACE"] = "0"
    held = changed(stop_idle_seconds=3600, last_events_seconds=3600)
    said = checkout.run("start", *held, *changed(worker_stop_seconds=1, end_seconds=1))
    with httpx.Client(timeout=60) as client:
        assert client.get(said.split(" on ")[1].split(",")[0]).status_code == 200
        assert "killed" in checkout.run("stop")


def test_a_stop_twice_gives_chats_their_time(checkout: Checkout, bots: dict[str, str]) -> None:
    address = checkout.run("start").split(" on ")[1].split(",")[0]
    body = {"user_id": "u", "bot_id": bots["load"], "stream": True, "messages": [{"role": "user", "content": SLOW}]}
    with httpx.stream("POST", f"{address}/api/v1/chat", json=body, timeout=60) as answer, ThreadPoolExecutor() as pool:
        stops = [pool.submit(checkout.run, "stop") for _ in range(2)]
        text = answer.read().decode()
        assert events_of(text)[-2]["type"] == "chat_completed"
        assert {stop.result() for stop in stops} == {"stopped\n"}


def test_a_start_without_a_way_to_coze_says_so(checkout: Checkout) -> None:
    checkout.env["COZE_API_TOKEN"] = "wrong"
    said = checkout.run("start")
    assert f"running (pid {checkout.pid()})" in said
    assert "it runs, but cannot chat: see ./run.sh status" in said
    assert "Coze does not accept the service's token." in checkout.run("status", code=1)


def test_restart(checkout: Checkout) -> None:
    checkout.run("start")
    first = checkout.pid()
    checkout.run("restart")
    assert checkout.pid() != first
    assert "healthy" in checkout.run("status")


def test_a_stale_pid_is_found_out(checkout: Checkout) -> None:
    checkout.pid_file.parent.mkdir()
    for stale in (str(os.getpid()), "999999999", "", "rubbish"):
        checkout.pid_file.write_text(stale)
        assert "not running" in checkout.run("status", code=3)
    checkout.pid_file.write_text(str(os.getpid()))
    checkout.run("start")
    assert checkout.pid() != os.getpid()


def test_a_service_that_was_killed_is_started_again(checkout: Checkout) -> None:
    checkout.run("start")
    first = checkout.log.read_text()
    assert '"listening"' in first
    process = psutil.Process(checkout.pid())
    process.kill()
    # A process is a zombie before its other threads have ended, and with them its lock.
    wait_until(lambda: checkout.call("status").returncode == 3)
    assert "not running" in checkout.run("status", code=3)
    checkout.run("start")
    assert "healthy" in checkout.run("status")
    # What the log says of a crash is there after it.
    assert checkout.log.read_text().startswith(first)


def test_a_start_that_cannot_be_says_why(checkout: Checkout) -> None:
    checkout.log.parent.mkdir()
    checkout.log.write_text("what was before\n" * 700_000)
    checkout.env["PORT"] = "http"
    said = checkout.run("start", code=1)
    assert "PORT takes" in said
    assert "before" not in said
    assert not checkout.pid_file.exists()
    # A log that has grown large makes room for a new one, once.
    assert "before" not in checkout.log.read_text()
    assert "before" in checkout.log.with_suffix(".log.1").read_text()
    said = checkout.run("start", code=1)
    assert checkout.log.read_text().count("PORT takes") == 2


def test_a_checkout_with_the_line_ends_of_windows_runs(tmp_path: Path) -> None:
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    origin.mkdir()
    for name in (".gitattributes", "run.sh"):
        shutil.copy(ROOT / name, origin)
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
    for command in (["init", "--quiet"], ["add", "."], [*identity, "commit", "--quiet", "--message=all"]):
        subprocess.run(["git", *command], cwd=origin, check=True)
    subprocess.run(["git", "clone", "--quiet", "-c", "core.autocrlf=true", origin, clone], check=True)
    assert "usage" in subprocess.run([clone / "run.sh", "help"], capture_output=True, text=True, check=True).stdout


def test_it_is_about_its_own_checkout(checkout: Checkout, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Also where a shell looks for relative folders elsewhere first."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / checkout.folder.name / ".run").mkdir(parents=True)
    (elsewhere / checkout.folder.name / ".run/service.log").touch()
    said = subprocess.run(
        ["bash", f"{checkout.folder.name}/run.sh", "logs"],
        cwd=checkout.folder.parent,
        env={**checkout.env, "CDPATH": str(elsewhere)},
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    assert (said.stdout, said.stderr) == ("", "run.sh: there is no log yet\n")


def test_a_service_whose_environment_was_removed_is_stopped(checkout: Checkout) -> None:
    """As before a new set-up: else it is said not to run, and does."""
    checkout.run("start")
    pid = checkout.pid()
    (environment := checkout.folder / ".venv").rename(checkout.folder / "aside")
    try:
        assert str(pid) in checkout.run("status")
        assert "stopped" in checkout.run("stop")
    finally:
        (checkout.folder / "aside").rename(environment)
    assert "not running" in checkout.run("status", code=3)


def test_usage(checkout: Checkout) -> None:
    assert "usage" in checkout.run("nonsense", code=2)
    assert "usage" in checkout.run("help")
    assert "no log yet" in checkout.run("logs", code=1)
