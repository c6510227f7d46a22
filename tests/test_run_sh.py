"""run.sh: the service in the background, once, with a pid that is its own."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from conftest import BOT, ROOT, Upstream, wait_until


class Checkout:
    """A copy of the project's own files in another folder; its .venv is this one's, set up already."""

    def __init__(self, folder: Path, upstream: Upstream) -> None:
        self.folder = folder
        self.pid_file = folder / ".run/service.pid"
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

    def run(self, command: str, code: int = 0) -> str:
        ended = subprocess.run(
            ["./run.sh", command],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
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
    assert "not running" in checkout.run("status", 3)
    said = checkout.run("start")
    address = next(word for word in said.split() if word.startswith("http")).rstrip(",")
    assert httpx.get(f"{address}/health").status_code == 200
    assert f"docs at {address}/docs" in said
    assert "already running" in checkout.run("start", 1)
    status = checkout.run("status")
    assert "healthy" in status
    assert str(checkout.pid()) in status
    process = psutil.Process(checkout.pid())
    assert checkout.run("stop") == "stopped\n"
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    assert checkout.run("stop") == "not running\n"
    assert not checkout.pid_file.exists()


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
        assert "not running" in checkout.run("status", 3)
    checkout.pid_file.write_text(str(os.getpid()))
    checkout.run("start")
    assert checkout.pid() != os.getpid()


def test_a_service_that_was_killed_is_started_again(checkout: Checkout) -> None:
    checkout.run("start")
    process = psutil.Process(checkout.pid())
    process.kill()
    wait_until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)
    assert "not running" in checkout.run("status", 3)
    checkout.run("start")
    assert "healthy" in checkout.run("status")


def test_a_start_that_cannot_be_says_why(checkout: Checkout) -> None:
    checkout.env["PORT"] = "http"
    assert "PORT takes" in checkout.run("start", 1)
    assert not checkout.pid_file.exists()


def test_usage(checkout: Checkout) -> None:
    assert "usage" in checkout.run("nonsense", 2)
    assert "usage" in checkout.run("help")
    assert "no log yet" in checkout.run("logs", 1)
