"""Files that tell of a running service: its process id while it lives, and where it listens while it does."""

import fcntl
import os
import time
from pathlib import Path

from service.bounds import BOUNDS
from service.settings import SettingsError


class RunFiles:
    """PID_FILE and READY_FILE, each where it is set.

    The first has the process id, and a lock that the system takes away when the process ends. The second has two lines:
    the address while the service takes connections, else nothing, and how many seconds a stop takes at most.
    Raises SettingsError if a service that runs has the lock, or a file cannot be written.
    """

    def __init__(self, pid_file: Path | None, ready_file: Path | None, stop_seconds: float) -> None:
        self._ready_file = ready_file
        self._stop_seconds = stop_seconds
        locked = None
        try:
            if pid_file:
                locked = _lock(pid_file)
        except OSError as error:
            raise SettingsError(f"PID_FILE {pid_file} cannot be used: {error.strerror}.") from None
        # Whoever finds this process's id finds no address that a crash left.
        self.tell_address("")
        if locked is not None:
            os.ftruncate(locked, 0)
            os.write(locked, b"%d\n" % os.getpid())

    def tell_address(self, address: str) -> None:
        """Replaces what READY_FILE says, in one step; an empty address as soon as no more connections are taken."""
        if self._ready_file is None:
            return
        draft = Path(f"{self._ready_file}.{os.getpid()}")
        try:
            draft.write_text(f"{address}\n{self._stop_seconds:g}\n")
            draft.replace(self._ready_file)
        except OSError as error:
            raise SettingsError(f"READY_FILE {self._ready_file} cannot be used: {error.strerror}.") from None

    def remove_ready_file(self) -> None:
        """At the end. The process id stays: without the lock it says nothing."""
        if self._ready_file is not None:
            self._ready_file.unlink(missing_ok=True)


def _lock(path: Path) -> int:
    """A descriptor of the file, to be kept open, with the lock."""
    deadline = time.monotonic() + BOUNDS.pid_file_seconds
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever found that nobody had it may just have removed it, and the next one would not see this lock.
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
