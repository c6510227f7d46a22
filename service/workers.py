"""Several processes on one port: started together, replaced when they die, restarted one by one, stopped in order.

The parent holds the listening socket and serves nothing itself. SIGTERM or SIGINT stops all, SIGHUP restarts all
without a refused connection.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import FrameType

import structlog

log = structlog.get_logger()

_STOPS = (signal.SIGTERM, signal.SIGINT)
# To a worker that is replaced: it goes on with what its connections bring until those are closed, then it ends.
# Not SIGHUP, which may be ignored from the start, as under nohup.
RETIRE = signal.SIGUSR1
_CHECK_SECONDS = 0.1
# A worker that dies within so many seconds was not able to run: so many of those in a row end the service.
_HEALTHY_SECONDS = 5.0
_MAX_EARLY_DEATHS = 5
# How long a worker may take beyond SHUTDOWN_GRACE before it is killed.
_PATIENCE_SECONDS = 40.0
# How long a restart waits for a new worker before it stops the old one.
_START_SECONDS = 30.0


class Worker:
    """One process of `command` in `env`; the listening socket's number is its last argument."""

    def __init__(self, command: list[str], listener: socket.socket, env: Mapping[str, str]) -> None:
        self.started = time.monotonic()
        # Its standard input is a channel: it says when it serves, and learns by its end that the parent is gone.
        # A session of its own keeps a terminal's Ctrl-C away from it: the parent passes on what is to be done.
        self._channel, theirs = socket.socketpair()
        self.process = subprocess.Popen(  # noqa: S603 - our own command
            [*command, str(listener.fileno())],
            env=env,
            pass_fds=[listener.fileno()],
            stdin=theirs.fileno(),
            start_new_session=True,
        )
        theirs.close()

    def is_ready(self, seconds: float) -> bool | None:
        """Whether it serves; None if it has neither said so within so many seconds nor ended."""
        self._channel.settimeout(seconds)
        try:
            return self._channel.recv(1) == b"1"
        except TimeoutError:
            return None
        except OSError:
            return False

    def stop(self, sig: signal.Signals) -> None:
        if self.process.poll() is None:
            self.process.send_signal(sig)

    def close(self) -> None:
        """Once it has ended: lets go of what led to it."""
        self._channel.close()

    def ended_well(self, seconds: float) -> bool:
        """Waits so many seconds for its end; one that was stopped before it could serve ended well, too."""
        return self.process.wait(seconds) in (0, -signal.SIGTERM)


class Supervisor:
    """Runs `count` workers until it is told to stop; `grace` is SHUTDOWN_GRACE, in seconds.

    `on_end` is called with the pid of each that has ended.
    """

    def __init__(
        self,
        command: list[str],
        listener: socket.socket,
        *,
        count: int,
        grace: float,
        env: Mapping[str, str],
        on_end: Callable[[int], None],
    ) -> None:
        self._command = command
        self._listener = listener
        self._env = env
        self._count = count
        self._grace = grace
        self._on_end = on_end
        self._workers: list[Worker] = []
        # While they are replaced: the one that comes or goes beside those.
        self._beside: list[Worker] = []
        self._early_deaths = 0
        self._stop_wanted = False
        self._restart_wanted = False

    def run(self) -> int:
        """The exit code: 0 after an orderly stop, 1 if the workers cannot run."""
        for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(sig, self._on_signal)
        self._workers = [self._start() for _ in range(self._count)]
        while not self._stop_wanted:
            if self._restart_wanted:
                # One that is wanted from now on, perhaps for another setting, is one more.
                self._restart_wanted = False
                self._restart_all()
                continue
            if not self._replace_the_dead():
                self._stop(self._workers)
                return 1
            time.sleep(_CHECK_SECONDS)
        log.info("stopping", grace_seconds=self._grace, workers=self._count)
        self._listener.close()
        return 0 if self._stop(self._workers + self._beside) else 1

    def _start(self) -> Worker:
        return Worker(self._command, self._listener, self._env)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if number in _STOPS:
            self._stop_wanted = True
        else:
            self._restart_wanted = True

    def _replace_the_dead(self) -> bool:
        for at, worker in enumerate(self._workers):
            code = worker.process.poll()
            if code is None:
                continue
            early = time.monotonic() - worker.started < _HEALTHY_SECONDS
            self._early_deaths = self._early_deaths + 1 if early else 0
            log.error("worker died", pid=worker.process.pid, code=code)
            self._ended(worker)
            if self._early_deaths >= _MAX_EARLY_DEATHS:
                log.error("the workers cannot run")
                return False
            self._workers[at] = self._start()
        return True

    def _restart_all(self) -> None:
        for at, old in enumerate(self._workers):
            log.info("restarting a worker", pid=old.process.pid)
            new = self._start()
            self._beside = [new]
            ready = self._is_ready(new)
            if self._stop_wanted:
                return
            if not ready:
                log.error("the new worker does not serve: the old ones go on", pid=new.process.pid)
                self._let_go(new, signal.SIGTERM)
                return
            self._workers[at], self._beside = new, [old]
            self._let_go(old, RETIRE)
            if self._stop_wanted:
                return

    def _is_ready(self, worker: Worker) -> bool:
        """Waits until it serves, but not for ever, and not once a stop is wanted."""
        deadline = time.monotonic() + _START_SECONDS
        ready = None
        while ready is None and time.monotonic() < deadline and not self._stop_wanted:
            ready = worker.is_ready(_CHECK_SECONDS)
        return bool(ready)

    def _let_go(self, worker: Worker, sig: signal.Signals) -> None:
        """Ends the one that is beside the others; once a stop is wanted, it stays for that."""
        worker.stop(sig)
        deadline = self._deadline()
        while worker.process.poll() is None and time.monotonic() < deadline:
            if self._stop_wanted:
                return
            time.sleep(_CHECK_SECONDS)
        self._beside = []
        self._end(worker, deadline)

    def _stop(self, workers: list[Worker]) -> bool:
        """Whether all have ended by themselves, and well."""
        for worker in workers:
            worker.stop(signal.SIGTERM)
        deadline = self._deadline()
        good = [self._end(worker, deadline) for worker in workers]
        return all(good)

    def _deadline(self) -> float:
        return time.monotonic() + self._grace + _PATIENCE_SECONDS

    def _end(self, worker: Worker, deadline: float) -> bool:
        """Waits for its end until then, and kills it if it does not come; whether it has ended by itself, and well."""
        try:
            good = worker.ended_well(max(deadline - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            log.error("worker killed", pid=worker.process.pid)
            worker.process.kill()
            worker.process.wait()
            good = False
        self._ended(worker)
        return good

    def _ended(self, worker: Worker) -> None:
        worker.close()
        self._on_end(worker.process.pid)


def tell_parent() -> None:
    """In a worker: says that it serves."""
    os.write(0, b"1")


def stop_with_parent() -> None:
    """In a worker: ends it, in order, when the parent is gone."""

    def watch() -> None:
        with contextlib.suppress(ConnectionError):
            while os.read(0, 1):
                pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def worker_command(*arguments: str) -> list[str]:
    """This very command for a worker; the number of the socket follows. It warns of what this process warns of."""
    warnings = [f"-W{option}" for option in sys.warnoptions]
    return [sys.executable, *warnings, "-m", "service", *arguments, "--worker"]
