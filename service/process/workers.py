"""Several processes on one port: started together, replaced when they die or hang, restarted one by one, stopped well.

The parent holds the listening socket and serves nothing itself. SIGTERM or SIGINT stops all, SIGHUP restarts all
without a refused connection.
"""

import contextlib
import math
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

from service.bounds import BOUNDS

log = structlog.get_logger()

_STOPS = (signal.SIGTERM, signal.SIGINT)
# To a worker that is replaced: it goes on with what its connections bring until those are closed, then it ends.
# Not SIGHUP, which may be ignored from the start, as under nohup.
RETIRE = signal.SIGUSR1
_ALIVE = b"1"
# The last sign: what the process still does is not done by its loop.
_OVER = b"0"


class Worker:
    """One process of `command` in `env`; the listening socket's number is its last argument."""

    def __init__(self, command: list[str], listener: socket.socket, env: Mapping[str, str]) -> None:
        self.started = time.monotonic()
        self.serves = False
        self._loop_is_over = False
        # Once it is told to go: when it is killed if it has not gone, by time.monotonic().
        self.deadline = math.inf
        self._silent_seconds = 0.0
        # Its standard input is a channel: it gives signs of life, and learns by its end that the parent is gone.
        # A session of its own keeps a terminal's Ctrl-C away from it: the parent passes on what is to be done.
        self._channel, theirs = socket.socketpair()
        self._channel.setblocking(False)
        self.process = subprocess.Popen(  # noqa: S603 - our own command
            [*command, str(listener.fileno())],
            env=env,
            pass_fds=[listener.fileno()],
            stdin=theirs.fileno(),
            start_new_session=True,
        )
        theirs.close()

    def listen(self) -> None:
        """Takes its signs of life; to be called every BOUNDS.workers_check_seconds.

        Silence is counted by these calls and not by the clock: where the whole machine slept, no worker has hung.
        """
        try:
            said = self._channel.recv(4096)
        except OSError:
            said = b""
        self.serves = self.serves or bool(said)
        self._loop_is_over = self._loop_is_over or said.endswith(_OVER)
        self._silent_seconds = 0.0 if said else self._silent_seconds + BOUNDS.workers_check_seconds

    @property
    def hangs(self) -> bool:
        patience = BOUNDS.worker_hang_seconds if self.serves else BOUNDS.worker_start_seconds
        return self._silent_seconds > patience and not self._loop_is_over

    def send(self, sig: signal.Signals) -> None:
        if self.process.poll() is None:
            self.process.send_signal(sig)

    def kill(self) -> None:
        self.process.kill()
        # Where the system takes its time, it is not killed again at once.
        self._silent_seconds = 0.0
        self.deadline = math.inf

    def close(self) -> None:
        """Once it has ended: lets go of what led to it."""
        self._channel.close()


class Supervisor:
    """Runs `count` workers until it is told to stop; `grace` is SHUTDOWN_GRACE, in seconds.

    `on_ready` is called when the first of them serves, `on_stop` when it is told to stop, `on_end` with the pid of each
    that has ended.
    """

    def __init__(
        self,
        command: list[str],
        listener: socket.socket,
        *,
        count: int,
        grace: float,
        env: Mapping[str, str],
        on_ready: Callable[[], None],
        on_stop: Callable[[], None],
        on_end: Callable[[int], None],
    ) -> None:
        self._command = command
        self._listener = listener
        self._env = env
        self._count = count
        self._grace = grace
        self._on_ready = on_ready
        self._on_stop = on_stop
        self._on_end = on_end
        self._workers: list[Worker] = []
        # A restart replaces `_outdated` one after the other: the first of them by `_coming`, as soon as that serves.
        self._outdated: list[Worker] = []
        self._coming: Worker | None = None
        # Those that were told to go.
        self._leaving: list[Worker] = []
        self._ready = False
        self._early_deaths = 0
        self._stop_wanted = False
        self._restart_wanted = False

    def run(self) -> int:
        """The exit code: 0 after an orderly stop, 1 if the workers cannot run or one had to be killed at the end."""
        for sig in (*_STOPS, signal.SIGHUP):
            signal.signal(sig, self._on_signal)
        self._workers = [self._start() for _ in range(self._count)]
        able = True
        while able and not self._stop_wanted:
            time.sleep(BOUNDS.workers_check_seconds)
            self._listen()
            if not self._ready and any(worker.serves for worker in self._workers):
                self._ready = True
                self._on_ready()
            self._see_off()
            self._restart()
            able = self._replace_the_lost()
        log.info("stopping", grace_seconds=self._grace, workers=self._count)
        self._on_stop()
        self._listener.close()
        return 0 if self._stop() and able else 1

    def _listen(self) -> None:
        for worker in self._all():
            worker.listen()

    def _all(self) -> list[Worker]:
        coming = [self._coming] if self._coming is not None else []
        return [*self._workers, *coming, *self._leaving]

    def _start(self) -> Worker:
        return Worker(self._command, self._listener, self._env)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if number in _STOPS:
            self._stop_wanted = True
        else:
            self._restart_wanted = True

    def _replace_the_lost(self) -> bool:
        """Replaces those that died, and has those die that hang; False if they die so soon that none can run."""
        for at, worker in enumerate(self._workers):
            code = worker.process.poll()
            if code is None:
                if worker.hangs:
                    log.error("worker hangs", pid=worker.process.pid)
                    worker.kill()
                continue
            early = time.monotonic() - worker.started < BOUNDS.worker_healthy_seconds
            self._early_deaths = self._early_deaths + 1 if early else 0
            log.error("worker died", pid=worker.process.pid, code=code)
            self._ended(worker)
            if self._early_deaths >= BOUNDS.worker_early_deaths:
                log.error("the workers cannot run")
                del self._workers[at]
                return False
            if self._coming is not None and worker is self._outdated[0]:
                self._workers[at], self._coming = self._coming, None
            else:
                self._workers[at] = self._start()
        return True

    def _restart(self) -> None:
        """Takes a restart further: a new worker serves, then an old one goes, and when that has gone comes the next."""
        if self._coming is not None:
            self._welcome(self._coming)
        elif not self._leaving:
            # One that died meanwhile has been replaced.
            self._outdated = [worker for worker in self._outdated if worker in self._workers]
            if self._restart_wanted and not self._outdated:
                # One that is wanted during a restart, perhaps for another setting, is one more.
                self._restart_wanted = False
                self._outdated = list(self._workers)
            if self._outdated:
                log.info("restarting a worker", pid=self._outdated[0].process.pid)
                self._coming = self._start()

    def _welcome(self, new: Worker) -> None:
        """Puts a new worker in the old one's place once it serves; ends the restart if it does not come to that."""
        if new.serves:
            old = self._outdated.pop(0)
            self._workers[self._workers.index(old)], self._coming = new, None
            self._dismiss(old, RETIRE)
        elif new.process.poll() is not None or new.hangs:
            log.error("the new worker does not serve: the old ones go on", pid=new.process.pid)
            self._outdated, self._coming = [], None
            self._dismiss(new, signal.SIGTERM)

    def _dismiss(self, worker: Worker, sig: signal.Signals) -> None:
        worker.send(sig)
        worker.deadline = time.monotonic() + self._grace + BOUNDS.worker_stop_seconds
        if worker not in self._leaving:
            self._leaving.append(worker)

    def _see_off(self) -> bool:
        """Kills those that do not go; whether all that have gone since the last time went by themselves, and well."""
        good = True
        for worker in list(self._leaving):
            code = worker.process.poll()
            if code is not None:
                self._leaving.remove(worker)
                self._ended(worker)
                # One that was stopped before it could serve ended well, too.
                good = good and code in (0, -signal.SIGTERM)
            elif worker.hangs or time.monotonic() > worker.deadline:
                log.error("worker killed", pid=worker.process.pid)
                worker.kill()
        return good

    def _stop(self) -> bool:
        """Ends all; whether all ended by themselves, and well."""
        for worker in self._all():
            self._dismiss(worker, signal.SIGTERM)
        self._workers, self._coming = [], None
        good = True
        while self._leaving:
            time.sleep(BOUNDS.workers_check_seconds)
            self._listen()
            good = self._see_off() and good
        return good

    def _ended(self, worker: Worker) -> None:
        worker.close()
        self._on_end(worker.process.pid)


class Parent:
    """In a worker: the parent, at the other end of the standard input. Ends the worker, in order, when that is gone."""

    def __init__(self) -> None:
        self._channel = socket.socket(fileno=os.dup(0))
        threading.Thread(target=self._watch, name="parent-watch", daemon=True).start()

    def beat(self) -> None:
        """Gives a sign of life, and with the first says that the worker serves."""
        self._send(_ALIVE)

    def say_over(self) -> None:
        """Says that no more signs will come, as the loop has done its work."""
        self._send(_OVER)

    def _send(self, sign: bytes) -> None:
        # A parent that is suspended takes none. Those that wait for it tell it enough.
        with contextlib.suppress(OSError):
            self._channel.send(sign, socket.MSG_DONTWAIT)

    def _watch(self) -> None:
        with contextlib.suppress(ConnectionError):
            while self._channel.recv(1):
                pass
        os.kill(os.getpid(), signal.SIGTERM)


def worker_command(*arguments: str) -> list[str]:
    """This very command for a worker; the number of the socket follows. It warns of what this process warns of."""
    warnings = [f"-W{option}" for option in sys.warnoptions]
    return [sys.executable, *warnings, "-m", "service", *arguments, "--worker"]
