"""PID_FILE and READY_FILE: the process id of a running service, and its address while it listens."""

import contextlib
import fcntl
import os
import time
from pathlib import Path

from service.bounds import BOUNDS
from service.settings import SettingsError


class RunFiles:
    """The two files, each where it is set.

    PID_FILE holds the process id, under a lock that ends with the process. READY_FILE has two lines: the address while
    connections are accepted, else nothing; and the most seconds that a stop takes.
    Raises SettingsError if a running service holds the lock, or a file cannot be written.
    """

    def __init__(self, pid_file: Path | None, ready_file: Path | None, stop_seconds: float) -> None:
        for name, path in (("PID_FILE", pid_file), ("READY_FILE", ready_file)):
            if path and path.exists() and not path.is_file():
                raise SettingsError(f"{name} {path} cannot be used: it is no regular file.")
        self._ready_file = ready_file
        self._stop_seconds = stop_seconds
        locked = None
        try:
            if pid_file:
                locked = _lock(pid_file)
        except OSError as error:
            raise SettingsError(f"PID_FILE {pid_file} cannot be used: {error.strerror}.") from None
        # Clear the address that a crash left before the new process id appears.
        self.tell_address("")
        if locked is not None:
            os.ftruncate(locked, 0)
            os.write(locked, b"%d\n" % os.getpid())

    def tell_address(self, address: str) -> None:
        """Replaces READY_FILE atomically. `address` is empty while no connections are accepted."""
        if self._ready_file is None:
            return
        draft = Path(f"{self._ready_file}.{os.getpid()}")
        try:
            draft.write_text(f"{address}\n{self._stop_seconds:g}\n")
            draft.replace(self._ready_file)
        except OSError as error:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise SettingsError(f"READY_FILE {self._ready_file} cannot be used: {error.strerror}.") from None

    def tell_stop(self) -> None:
        """Says that no more connections are accepted. Nothing may prevent an orderly stop.

        A file that still had the address would have run.sh take the service for one that hangs. On a full disk it
        cannot be replaced, but removed.
        """
        try:
            self.tell_address("")
        except SettingsError:
            self.remove_ready_file()

    def remove_ready_file(self) -> None:
        """Removes READY_FILE at exit, if it can. PID_FILE stays: without its lock it means nothing."""
        if self._ready_file is not None:
            with contextlib.suppress(OSError):
                self._ready_file.unlink()


def _lock(path: Path) -> int:
    """Returns a locked descriptor of the file, to be kept open. Raises SettingsError if the lock is taken."""
    deadline = time.monotonic() + BOUNDS.pid_file_seconds
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Another process that found it unlocked may just have removed it; a lock on the old file excludes nobody.
            if os.path.samestat(os.fstat(file), os.stat(path)):
                return file
        except FileNotFoundError:
            pass
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(file)
                raise SettingsError(f"PID_FILE {path} is that of a service that runs.") from None
            time.sleep(BOUNDS.pid_file_seconds / 20)
        os.close(file)
