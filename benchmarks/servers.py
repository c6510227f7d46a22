"""The processes that are measured: each on a core of its own where the system lets us choose."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmarks.load import COZE, GATEWAY, OPENAI, Wire

ROOT = Path(__file__).resolve().parent.parent
PEERS = ("limit", "reference", "service", "openai")
_START_SECONDS = 60
_STOP_SECONDS = 30


class Cores(NamedTuple):
    """Which cores serve, and which ask and answer in Coze's place. Both empty if that cannot be chosen."""

    server: list[int]
    load: list[int]

    @classmethod
    def choose(cls, servers: int = 1) -> "Cores":
        if len(_ALL) < 2:
            return cls([], [])
        return cls(_ALL[:servers], _ALL[servers:] or _ALL)


_ALL = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def pin(pid: int, cores: list[int]) -> None:
    if cores:
        os.sched_setaffinity(pid, cores)


class Server:
    """A running one, with all the processes it consists of."""

    def __init__(self, name: str, pid: int, port: int) -> None:
        self.name = name
        self.pid = pid
        self.port = port
        self._process = psutil.Process(pid)

    @property
    def wire(self) -> Wire:
        return {"limit": COZE, "upstream": COZE, "openai": OPENAI}.get(self.name, GATEWAY)

    def cpu(self) -> float:
        """Seconds of CPU, user and system, that have been used so far."""
        return sum(times.user + times.system for times in (process.cpu_times() for process in self._processes()))

    def memory(self) -> int:
        return sum(process.memory_info().rss for process in self._processes())

    def _processes(self) -> list[psutil.Process]:
        return [self._process, *self._process.children(recursive=True)]


@contextlib.contextmanager
def running(name: str, cores: list[int], folder: Path, coze: str = "", **settings: str) -> Iterator[Server]:
    """`name` is one of PEERS, or "upstream". Its output goes to a file in `folder`."""
    port = _free_port()
    env = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "SYSTEMROOT") if key in os.environ}
    env |= {"COZE_API_BASE": coze, "COZE_BOT_ID": "7600000000000000002"}
    if name in ("service", "openai"):
        # On its defaults, but for the limit, which is there to refuse what is asked for here.
        command = ["-m", "service"]
        env |= {"COZE_API_TOKEN": "pat_bench", "HOST": "127.0.0.1", "PORT": str(port), "ENABLE_RATE_LIMIT": "false"}
    elif name == "upstream":
        command = ["-m", "benchmarks.upstream", str(port)]
    else:
        command = ["-m", "uvicorn", f"benchmarks.{name}:app", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--loop", "uvloop", "--http", "httptools", "--log-level", "warning", "--no-access-log"]
    # A folder without a .env of somebody's.
    place = folder / "empty"
    place.mkdir(parents=True, exist_ok=True)
    output = folder / f"{name}.log"
    with output.open("wb") as file:
        process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, *command],
            cwd=place,
            env=env | {"PYTHONPATH": str(ROOT)} | settings,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        pin(process.pid, cores)
        _wait_for(port, process, output)
        yield Server(name, process.pid, port)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(port: int, process: subprocess.Popen[bytes], output: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise SystemExit(f"a server ended at once: {output.read_text(errors='replace')[-1000:]}")
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 0.5).close()
            return
        time.sleep(0.05)
    raise SystemExit(f"a server does not answer: {output.read_text(errors='replace')[-1000:]}")
