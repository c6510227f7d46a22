"""The folder in which several workers write their figures, in memory where there is such a place.

It goes with the last process that uses it, also if the parent was killed; what a crash of all leaves behind goes with
the next start. To tell the one from the other each holds a shared lock on the folder, as long as it lives: whoever gets
it alone is the last. A lock is seen through containers that share their memory, where a process id means nothing.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PREFIX = "coze-service-metrics-"


@contextlib.contextmanager
def held(path: str | None = None) -> Iterator[str]:
    """Keeps the folder at `path`, or a new one, from being removed while the block runs; its path."""
    folder = None
    while folder is None:
        chosen = path or tempfile.mkdtemp(prefix=_PREFIX, dir=_parent())
        folder = _open(chosen, fcntl.LOCK_SH)
        if folder is None and path:
            raise FileNotFoundError(path)
        # A new one that is gone already: another start took it for one that was left, before it had its lock.
    try:
        yield chosen
    finally:
        os.close(folder)
        _remove_if_unused(chosen)


def remove_unused() -> None:
    """Removes what services that were killed have left behind, and nothing of those that run."""
    for path in Path(_parent()).glob(f"{_PREFIX}*"):
        _remove_if_unused(str(path))


def _parent() -> str:
    # Not beside uploads on their way: a worker dies where its file is in memory and finds no room.
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir()  # noqa: S108 - a random name follows


def _remove_if_unused(path: str) -> None:
    folder = _open(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if folder is not None:
        # What cannot be removed now is left to the next start.
        shutil.rmtree(path, ignore_errors=True)
        os.close(folder)


def _open(path: str, lock: int) -> int | None:
    """A descriptor of the folder with the lock; None if that cannot be had, or the folder is gone or another user's."""
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    with contextlib.suppress(OSError):
        fcntl.flock(folder, lock)
        status = os.fstat(folder)
        # One that was removed before the lock was there is none any more.
        if status.st_uid == os.geteuid() and os.path.samestat(status, os.stat(path)):
            return folder
    os.close(folder)
    return None
