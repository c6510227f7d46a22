"""The supervisor where the system starts no more processes."""

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.bounds import BOUNDS
from service.process.workers import Supervisor

# Beats until it is told to stop.
WORKER = f"""#!{sys.executable}
import os, signal, sys, time
for sig in (signal.SIGTERM, signal.SIGUSR1):
    signal.signal(sig, lambda *_: sys.exit(0))
while True:
    os.write(0, b"1")
    time.sleep(0.05)
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(BOUNDS, "workers_check_seconds", 0.01)
    monkeypatch.setattr(BOUNDS, "worker_retry_seconds", 0.2)
    program = tmp_path / "worker"
    program.write_text(WORKER)
    program.chmod(0o755)
    before = {sig: signal.getsignal(sig) for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield program
    for sig, handler in before.items():
        signal.signal(sig, handler)


class Supervised(Supervisor):
    """One that `act` is done to, in a thread, until which it is not stopped."""

    def __init__(self, program: Path, act: Callable[["Supervised"], None]) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._act, args=(act,))
        super().__init__(
            [str(program)],
            self.listener,
            count=2,
            grace=1,
            env={},
            on_ready=self._thread.start,
            on_stop=lambda: None,
            on_end=lambda _: None,
        )

    def _act(self, act: Callable[["Supervised"], None]) -> None:
        try:
            self.until(lambda: len(self.pids()) == 2 and all(worker.serves for worker in self._workers))
            act(self)
        finally:
            self._on_signal(signal.SIGTERM, None)

    def pids(self) -> list[int]:
        return [worker.process.pid for worker in list(self._workers)]

    def restart(self) -> None:
        self._on_signal(signal.SIGHUP, None)

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def run(self) -> int:
        with contextlib.closing(self.listener):
            code = super().run()
        if self._thread.ident is not None:
            self._thread.join()
        return code


def test_a_worker_that_cannot_be_started_again_ends_no_other(program: Path) -> None:
    seen: list[list[int]] = []

    def act(service: Supervised) -> None:
        lost, other = service.pids()
        program.chmod(0o644)
        os.kill(lost, signal.SIGKILL)
        service.until(lambda: service.pids() == [other])
        time.sleep(0.5)  # it is tried, and tried again
        seen.append(service.pids())
        program.chmod(0o755)
        service.until(lambda: len(service.pids()) == 2)
        seen.append(service.pids()[:1])

    assert Supervised(program, act).run() == 0
    assert len(seen) == 2
    assert seen[0] == seen[1]


def test_a_restart_with_workers_that_cannot_be_started_ends_none(program: Path) -> None:
    seen: list[bool] = []

    def act(service: Supervised) -> None:
        before = service.pids()
        program.chmod(0o644)
        service.restart()
        time.sleep(0.5)
        seen.append(service.pids() == before)
        program.chmod(0o755)
        service.restart()
        service.until(lambda: not {*before} & {*service.pids()})

    assert Supervised(program, act).run() == 0
    assert seen == [True]


def test_workers_that_cannot_be_started_end_the_service(program: Path) -> None:
    program.chmod(0o644)
    assert Supervised(program, lambda _: None).run() == 1
