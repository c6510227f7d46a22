"""Files that tell of a running service: its process id while it lives, and where it listens while it does."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from service.settings import SettingsError

# Somebody may have the lock for a moment, to see whether it is taken.
_LOCK_SECONDS = 1.0


@contextlib.contextmanager
def pid_file(path: Path) -> Iterator[None]:
    """Keeps this process's id in a file while the block runs, and a lock on it, which not even a crash leaves behind.

    Raises SettingsError if a service that runs has the lock, or the file cannot be written.
    """
    try:
        file = _lock(path)
        os.ftruncate(file, 0)
        os.write(file, b"%d\n" % os.getpid())
    except OSError as error:
        raise SettingsError(f"PID_FILE {path} cannot be used: {error.strerror}.") from None
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(file)


def _lock(path: Path) -> int:
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Who had it before may have removed it at last, and the next one would not see this lock.
            if os.path.samestat(os.fstat(file), os.stat(path)):
                return file
        except FileNotFoundError:
            pass
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(file)
                raise SettingsError(f"PID_FILE {path} is that of a service that runs.") from None
            time.sleep(_LOCK_SECONDS / 20)
        os.close(file)


class ReadyFile:
    """A file that is there while the service takes connections; without a `path`, none.

    Raises SettingsError where it cannot be made.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        if path is not None:
            try:
                # What a crash left.
                path.unlink(missing_ok=True)
                self._draft = path.with_name(f"{path.name}.{os.getpid()}")
                self._draft.touch()
            except OSError as error:
                raise SettingsError(f"READY_FILE {path} cannot be used: {error.strerror}.") from None

    def write(self, *lines: str) -> None:
        """Writes the file, whole or not at all."""
        if self._path is not None:
            self._draft.write_text("".join(f"{line}\n" for line in lines))
            self._draft.replace(self._path)

    def remove(self) -> None:
        if self._path is not None:
            self._draft.unlink(missing_ok=True)
            self._path.unlink(missing_ok=True)
