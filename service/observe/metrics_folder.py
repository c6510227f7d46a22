"""The folder into which workers write their metrics, in memory if possible.

The last process that uses it removes it, even if the parent was killed; the next start removes what a crash of all left
behind. Each process holds a shared lock on the folder while it lives: the one that can lock it exclusively is the last.
Unlike process ids, locks work across containers that share memory.
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
    """Keeps the folder at `path`, or a new one, from being removed while the block runs. Yields its path."""
    folder = None
    while folder is None:
        chosen = path or tempfile.mkdtemp(prefix=_PREFIX, dir=_parent())
        folder = _open(chosen, fcntl.LOCK_SH)
        if folder is None and path:
            raise FileNotFoundError(path)
        # Another start may remove a new folder before it is locked; then make another.
    try:
        yield chosen
    finally:
        os.close(folder)
        _remove_if_unused(chosen)


def remove_unused() -> None:
    """Removes the folders of killed services, and none of running ones."""
    for path in Path(_parent()).glob(f"{_PREFIX}*"):
        _remove_if_unused(str(path))


def _parent() -> str:
    # Not where uploads are spooled: a worker whose mapped file finds no space dies of SIGBUS.
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir()  # noqa: S108 - a random name follows


def _remove_if_unused(path: str) -> None:
    folder = _open(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if folder is not None:
        # The next start removes what cannot be removed now.
        shutil.rmtree(path, ignore_errors=True)
        os.close(folder)


def _open(path: str, lock: int) -> int | None:
    """Returns a locked descriptor of the folder; None if the lock is taken, or the folder gone or another user's."""
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    with contextlib.suppress(OSError):
        fcntl.flock(folder, lock)
        status = os.fstat(folder)
        # The folder may have been removed before the lock was taken.
        if status.st_uid == os.geteuid() and os.path.samestat(status, os.stat(path)):
            return folder
    os.close(folder)
    return None
