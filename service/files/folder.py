"""A store in a local folder that any number of processes share.

A file is written under another name, flushed and renamed, so that it is whole or absent. The file `account` holds the
bytes in use. A process locks it while it frees space, so that the folder never exceeds its bound. A file being written
is locked by its writer; one without a lock is a leftover of a crash.
"""

import asyncio
import contextlib
import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TypeVar

from service.bounds import BOUNDS
from service.files.links import KEY_BYTES, NAME
from service.files.store import Bounds, StoredFile, StoreError, disk_bytes

_UNFINISHED = ".part"

T = TypeVar("T")


class OpenLocalFile:
    """A file of the folder. It stays readable while it is open, even once it is removed."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self.size = os.fstat(self._file.fileno()).st_size

    async def read(self, start: int, end: int) -> bytes:
        with _explained():
            found = await asyncio.to_thread(os.pread, self._file.fileno(), end - start, start)
        if len(found) != end - start:
            raise StoreError("the file is shorter than it was")
        return found

    async def close(self) -> None:
        await asyncio.to_thread(self._file.close)


class Folder:
    """The folder, created with the first file and readable only by its owner."""

    def __init__(self, folder: Path, bounds: Bounds) -> None:
        self._folder = folder
        self._bounds = bounds
        self._counted = False
        # Threads of their own: waiting for the lock or a slow disk must not delay downloads.
        self._writers = ThreadPoolExecutor(4, "folder")

    async def key(self, *, create: bool) -> bytes | None:
        key = await asyncio.to_thread(self._stored_key)
        return await self._in_writer(self._make_key) if key is None and create else key

    async def put(self, name: str, file: IO[bytes], size: int) -> None:
        await self._in_writer(self._put, name, file, size)

    async def open(self, name: str) -> OpenLocalFile | None:
        with _explained():
            try:
                return await asyncio.to_thread(OpenLocalFile, self._folder / name)
            except FileNotFoundError:
                return None

    async def clean(self) -> None:
        await self._in_writer(self._clean)

    async def _in_writer(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._writers, work, *arguments)

    def _stored_key(self) -> bytes | None:
        with _explained():
            try:
                return (self._folder / "key").read_bytes()
            except FileNotFoundError:
                return None

    def _make_key(self) -> bytes:
        path = self._folder / "key"
        with _explained(), self._account():
            if not path.exists():
                unfinished = self._folder / f"key{_UNFINISHED}"
                with open(unfinished, "wb", opener=_private) as file:
                    file.write(secrets.token_bytes(KEY_BYTES))
                    file.flush()
                    os.fsync(file.fileno())
                unfinished.rename(path)
                self._flush()
            return path.read_bytes()

    def _put(self, name: str, file: IO[bytes], size: int) -> None:
        unfinished = self._folder / (name + _UNFINISHED)
        with _explained():
            try:
                with contextlib.ExitStack() as stack:
                    with self._account() as account:
                        self._free_space(account, size)
                        written = stack.enter_context(open(unfinished, "xb", opener=_private))
                        fcntl.flock(written, fcntl.LOCK_EX)
                        # Full size from the start, so that other processes count it right while it grows.
                        written.truncate(size)
                    shutil.copyfileobj(file, written, BOUNDS.files_copy_bytes)
                    written.flush()
                    os.fsync(written.fileno())
                    with self._account():
                        unfinished.rename(self._folder / name)
                self._flush()
            except BaseException:
                unfinished.unlink(missing_ok=True)
                raise

    def _clean(self) -> None:
        with _explained():
            if not self._folder.exists():
                return
            with self._account() as account:
                self._remove_leftovers()
                files, unfinished = self._files()
                now = time.time()
                gone = {*self._bounds.overdue(files, now), *self._bounds.surplus(files, unfinished, now)}
                _write(account, self._remove(files, gone) + unfinished)

    def _free_space(self, account: int, size: int) -> None:
        wanted = disk_bytes(size)
        used = _read(account)
        # A power failure may have lost the last update of the account.
        if not self._counted or used + wanted > self._bounds.max_bytes:
            files, unfinished = self._files()
            gone = self._bounds.surplus(files, unfinished + wanted, time.time())
            used = self._remove(files, {*gone}) + unfinished
            self._counted = True
        _write(account, used + wanted)

    def _files(self) -> tuple[list[StoredFile], int]:
        """Returns the files, and the bytes of those being written. Other names in the folder are ignored."""
        files, unfinished = [], 0
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if NAME.fullmatch(entry.name):
                    files.append(StoredFile(entry.name, disk_bytes(entry.stat().st_size)))
                elif NAME.fullmatch(entry.name.removesuffix(_UNFINISHED)):
                    # Its writer may give up and remove it at any time.
                    with contextlib.suppress(FileNotFoundError):
                        unfinished += disk_bytes(entry.stat().st_size)
        return files, unfinished

    def _remove(self, files: list[StoredFile], gone: set[StoredFile]) -> int:
        """Removes those of `files` that are in `gone`. Returns the bytes that the others use."""
        for file in gone:
            (self._folder / file.name).unlink(missing_ok=True)
        return sum(file.size_on_disk for file in files if file not in gone)

    def _remove_leftovers(self) -> None:
        for path in self._folder.glob(f"*{_UNFINISHED}"):
            if not NAME.fullmatch(path.stem):
                continue
            with contextlib.suppress(BlockingIOError, FileNotFoundError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()

    @contextlib.contextmanager
    def _account(self) -> Iterator[int]:
        """Locks `account` and yields its descriptor. Raises StoreError if the lock is not released in time."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        account = os.open(self._folder / "account", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            until = time.monotonic() + BOUNDS.files_lock_seconds
            while not _locked(account):
                if time.monotonic() > until:
                    raise StoreError("the folder is in use")
                time.sleep(BOUNDS.files_lock_seconds / 500)
            yield account
        finally:
            os.close(account)

    def _flush(self) -> None:
        """Flushes the directory, so that renames survive a power failure."""
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _locked(account: int) -> bool:
    """Tries to lock `account`. Returns whether it did."""
    try:
        fcntl.flock(account, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(account: int) -> int:
    text = os.pread(account, 20, 0)
    return int(text) if text.isdigit() else 0


def _write(account: int, used: int) -> None:
    os.pwrite(account, b"%020d" % used, 0)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(error.strerror or type(error).__name__) from error
