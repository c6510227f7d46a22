"""Supervisor of workers, several processes on one port: it replaces those that die or hang.

The parent owns the listening socket and serves nothing itself. SIGTERM or SIGINT stops all workers; SIGHUP restarts
them one by one without refusing a connection.
"""

import itertools
import math
import signal
import socket
import time
from collections.abc import Callable, Mapping
from types import FrameType

import structlog

from service.bounds import BOUNDS
from service.process.worker import RETIRE, Worker

log = structlog.get_logger()

_STOPS = (signal.SIGTERM, signal.SIGINT)


class Supervisor:
    """Runs `count` workers until a signal stops it; `grace` is SHUTDOWN_GRACE, in seconds.

    Calls `on_ready` when the first worker serves, `on_stop` when the stop begins, and `on_end` with the place of each
    worker that has ended.
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
        # A restart replaces `_outdated` one after the other: the first of them by `_successor`, as soon as that serves.
        self._outdated: list[Worker] = []
        self._successor: Worker | None = None
        # Told to stop, and not yet ended.
        self._stopping: list[Worker] = []
        self._ready = False
        self._early_deaths = 0
        # When a worker may be started in place of one that died, by time.monotonic().
        self._next_start = -math.inf
        self._stop_wanted = False
        self._restart_wanted = False

    def run(self) -> int:
        """Returns the exit code: 0 after an orderly stop, 1 if the workers cannot run or one had to be killed."""
        for sig in (*_STOPS, signal.SIGHUP):
            signal.signal(sig, self._on_signal)
        can_run = self._replace_lost()
        while can_run and not self._stop_wanted:
            time.sleep(BOUNDS.workers_check_seconds)
            self._read_beats()
            if not self._ready and any(worker.serves for worker in self._workers):
                self._ready = True
                self._on_ready()
            self._reap()
            self._restart()
            can_run = self._replace_lost()
        log.info("stopping", grace_seconds=self._grace, workers=self._count)
        self._on_stop()
        self._listener.close()
        return 0 if self._stop() and can_run else 1

    def _read_beats(self) -> None:
        for worker in self._all():
            worker.read_beats()

    def _all(self) -> list[Worker]:
        successor = [self._successor] if self._successor is not None else []
        return [*self._workers, *successor, *self._stopping]

    def _start(self) -> Worker | None:
        """Starts a worker. Returns None if the system does not, as where memory is short or an upgrade goes on."""
        taken = {worker.place for worker in self._all()}
        place = next(place for place in itertools.count() if place not in taken)
        try:
            return Worker(self._command, self._listener, self._env, place)
        except OSError as error:
            log.error("a worker cannot be started", cause=error.strerror)
            return None

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if number in _STOPS:
            self._stop_wanted = True
        else:
            self._restart_wanted = True

    def _replace_lost(self) -> bool:
        """Starts the workers that are missing and kills those that hang. Returns False if none can run."""
        for worker in list(self._workers):
            if worker.process.poll() is not None:
                self._drop(worker)
                if self._early_deaths >= BOUNDS.worker_early_deaths and not self._can_wait():
                    return False
            elif worker.hangs:
                log.error("worker hangs", pid=worker.process.pid)
                worker.kill()
        while len(self._workers) < self._count and time.monotonic() >= self._next_start:
            if (new := self._start()) is not None:
                self._workers.append(new)
            elif not self._can_wait():
                return False
        return True

    def _drop(self, worker: Worker) -> None:
        """Takes a worker that died from the list; its successor has its place if a restart has begun one."""
        early = time.monotonic() - worker.started < BOUNDS.worker_healthy_seconds
        self._early_deaths = self._early_deaths + 1 if early else 0
        log.error("worker died", pid=worker.process.pid, code=worker.process.returncode)
        self._ended(worker)
        self._workers.remove(worker)
        if self._successor is not None and worker is self._outdated[0]:
            self._workers.append(self._successor)
            self._successor = None

    def _can_wait(self) -> bool:
        """Puts off the next start if others serve meanwhile: what keeps a new worker from running need not end them."""
        if not any(worker.serves for worker in self._workers):
            log.error("the workers cannot run")
            return False
        log.error("a worker cannot run: the others go on", retry_seconds=BOUNDS.worker_retry_seconds)
        self._next_start = time.monotonic() + BOUNDS.worker_retry_seconds
        return True

    def _restart(self) -> None:
        """Advances a restart: a new worker serves, an old one stops, and when that has ended the next is replaced."""
        if self._successor is not None:
            self._hand_over(self._successor)
        elif not self._stopping:
            # Workers that died meanwhile have been replaced already.
            self._outdated = [worker for worker in self._outdated if worker in self._workers]
            if self._restart_wanted and not self._outdated:
                # A SIGHUP during a restart starts another one afterwards: a file may have changed again.
                self._restart_wanted = False
                self._outdated = list(self._workers)
            if self._outdated:
                log.info("restarting a worker", pid=self._outdated[0].process.pid)
                self._successor = self._start()
                if self._successor is None:
                    # The old ones go on.
                    self._outdated = []

    def _hand_over(self, new: Worker) -> None:
        """Swaps a new worker for the old one once it serves; abandons the restart if it dies or hangs before."""
        if new.serves:
            old = self._outdated.pop(0)
            self._workers[self._workers.index(old)], self._successor = new, None
            self._tell_to_stop(old, RETIRE)
        elif new.process.poll() is not None or new.hangs:
            log.error("the new worker does not serve: the old ones go on", pid=new.process.pid)
            self._outdated, self._successor = [], None
            self._tell_to_stop(new, signal.SIGTERM)

    def _tell_to_stop(self, worker: Worker, sig: signal.Signals) -> None:
        worker.send(sig)
        worker.deadline = time.monotonic() + self._grace + BOUNDS.worker_stop_seconds
        if worker not in self._stopping:
            self._stopping.append(worker)

    def _reap(self) -> bool:
        """Kills workers that do not stop in time. Returns whether all that ended since the last call ended well."""
        good = True
        for worker in list(self._stopping):
            code = worker.process.poll()
            if code is not None:
                self._stopping.remove(worker)
                self._ended(worker)
                # -SIGTERM: stopped before it could serve, which is fine.
                good = good and code in (0, -signal.SIGTERM)
            elif worker.hangs or time.monotonic() > worker.deadline:
                log.error("worker killed", pid=worker.process.pid)
                worker.kill()
        return good

    def _stop(self) -> bool:
        """Stops all workers. Returns whether all of them ended by themselves, and well."""
        for worker in self._all():
            self._tell_to_stop(worker, signal.SIGTERM)
        self._workers, self._successor = [], None
        good = True
        while self._stopping:
            time.sleep(BOUNDS.workers_check_seconds)
            self._read_beats()
            good = self._reap() and good
        return good

    def _ended(self, worker: Worker) -> None:
        worker.close()
        self._on_end(worker.place)
