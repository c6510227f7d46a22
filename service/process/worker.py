"""One worker, as its parent has it and as it has its parent: the two ends of a channel."""

import contextlib
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping

from service.bounds import BOUNDS
from service.settings import WORKER_PLACE

# Tells a worker that is replaced to finish its open connections and end. Not SIGHUP, which children of nohup ignore.
RETIRE = signal.SIGUSR1
_ALIVE = b"1"
# The last heartbeat: the loop has ended, and the process is about to.
_LAST = b"0"


class Worker:
    """A process of `command` in `env`, with the descriptor of the listening socket as its last argument.

    `place` is a number that no other worker has; when this one has ended, another gets it. Raises OSError if the system
    does not start the process.
    """

    def __init__(self, command: list[str], listener: socket.socket, env: Mapping[str, str], place: int) -> None:
        self.place = place
        self.started = time.monotonic()
        self.serves = False
        self._loop_ended = False
        # When to kill it, by time.monotonic(), once it is told to stop.
        self.deadline = math.inf
        self._silent_seconds = 0.0
        # Standard input is a channel: it carries the worker's heartbeats, and its end means that the parent is gone.
        # A session of its own keeps a terminal's Ctrl-C from the worker: the parent alone passes signals on.
        self._channel, theirs = socket.socketpair()
        self._channel.setblocking(False)
        try:
            self.process = subprocess.Popen(  # noqa: S603 - our own command
                [*command, str(listener.fileno())],
                env={**env, WORKER_PLACE: str(place)},
                pass_fds=[listener.fileno()],
                stdin=theirs.fileno(),
                start_new_session=True,
            )
        except OSError:
            self._channel.close()
            raise
        finally:
            theirs.close()

    def read_beats(self) -> None:
        """Reads its heartbeats; to be called every BOUNDS.workers_check_seconds.

        Silence is counted in calls and not by the clock: a machine that slept has no hung workers.
        """
        try:
            said = self._channel.recv(4096)
        except OSError:
            said = b""
        self.serves = self.serves or bool(said)
        self._loop_ended = self._loop_ended or said.endswith(_LAST)
        self._silent_seconds = 0.0 if said else self._silent_seconds + BOUNDS.workers_check_seconds

    @property
    def hangs(self) -> bool:
        """Whether its loop has been silent for too long."""
        patience = BOUNDS.worker_hang_seconds if self.serves else BOUNDS.worker_start_seconds
        return self._silent_seconds > patience and not self._loop_ended

    def send(self, sig: signal.Signals) -> None:
        if self.process.poll() is None:
            self.process.send_signal(sig)

    def kill(self) -> None:
        self.process.kill()
        # The system may take its time: do not kill it again at once.
        self._silent_seconds = 0.0
        self.deadline = math.inf

    def close(self) -> None:
        """Closes the channel to a worker that has ended."""
        self._channel.close()


class Parent:
    """The parent, as a worker sees it: the other end of standard input. Stops the worker when the parent is gone."""

    def __init__(self) -> None:
        self._channel = socket.socket(fileno=os.dup(0))
        threading.Thread(target=self._watch, name="parent-watch", daemon=True).start()

    def beat(self) -> None:
        """Sends a heartbeat. The first one says that the worker serves."""
        self._send(_ALIVE)

    def end_beats(self) -> None:
        """Sends the last heartbeat, as the loop has ended."""
        self._send(_LAST)

    def _send(self, beat: bytes) -> None:
        # A suspended parent does not read. The beats already in the buffer are enough for it.
        with contextlib.suppress(OSError):
            self._channel.send(beat, socket.MSG_DONTWAIT)

    def _watch(self) -> None:
        with contextlib.suppress(ConnectionError):
            while self._channel.recv(1):
                pass
        os.kill(os.getpid(), signal.SIGTERM)


def worker_command(*arguments: str) -> list[str]:
    """Returns this command for a worker, with the same warning filters; the socket's descriptor follows."""
    warnings = [f"-W{option}" for option in sys.warnoptions]
    return [sys.executable, *warnings, "-m", "service", *arguments, "--worker"]
