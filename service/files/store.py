"""The interface of a file store, and the choice of files to remove."""

from typing import IO, NamedTuple, Protocol

from service.files.links import expiry_of

# The block size of a disk. Counting in blocks also bounds the number of small files.
_BLOCK_BYTES = 4096


class StoreError(Exception):
    """A failure of the store. The text is the reason in a few words, without secrets."""


class StoredFile(NamedTuple):
    """A file's name, and the bytes that it uses of the store."""

    name: str
    size_on_disk: int


class OpenFile(Protocol):
    """A file open for reading. Must be closed."""

    size: int

    async def read(self, start: int, end: int) -> bytes:
        """Returns the bytes from `start` up to `end`, which is at most `size`. Raises StoreError."""

    async def close(self) -> None: ...


class FileStore(Protocol):
    """A store of files by name, each whole or absent, and of the key of their links. All methods raise StoreError."""

    async def key(self, *, create: bool) -> bytes | None:
        """Returns the key that all processes share. Makes it if `create`, else returns None while there is none."""

    async def put(self, name: str, file: IO[bytes], size: int) -> None:
        """Stores the `size` bytes of `file` from its start, after freeing the space for them."""

    async def open(self, name: str) -> OpenFile | None:
        """Opens a file; None if there is none of that name."""

    async def clean(self) -> None:
        """Removes expired files, and those that exceed the bound."""


def disk_bytes(size: int) -> int:
    """Returns the bytes that a file of `size` bytes uses of a store."""
    return -(-size // _BLOCK_BYTES) * _BLOCK_BYTES


class Bounds:
    """The limits of a store: bytes (FILE_STORE_MAX_BYTES) and the seconds that files live (FILE_LIFETIME)."""

    def __init__(self, max_bytes: int, lifetime: int) -> None:
        self.max_bytes = max_bytes
        self.lifetime = lifetime
        self._expired: set[str] = set()

    def surplus(self, files: list[StoredFile], wanted: int, now: float) -> list[StoredFile]:
        """Returns the files to remove for `wanted` more bytes, oldest first: none, or enough for the next ones too.

        Raises StoreError if `wanted` exceeds the limit.
        """
        if wanted > self.max_bytes:
            raise StoreError("there is no room for the file within FILE_STORE_MAX_BYTES")
        used = sum(file.size_on_disk for file in files)
        if used + wanted <= self.max_bytes:
            return []
        found = []
        # First those that expire later than a new file: the clock was wrong then, or the lifetime longer. Otherwise new
        # files would be removed before them.
        beyond = now + self.lifetime
        for file in sorted(files, key=lambda file: (expiry_of(file.name) <= beyond, file.name)):
            if used + wanted <= max(self.max_bytes * 9 // 10, wanted):
                break
            found.append(file)
            used -= file.size_on_disk
        return found

    def overdue(self, files: list[StoredFile], now: float) -> list[StoredFile]:
        """Returns the files that have expired both now and at the last call.

        So a clock that jumps ahead and is corrected before the next call costs no file.
        """
        expired = {file.name for file in files if expiry_of(file.name) < now}
        found = [file for file in files if file.name in expired & self._expired]
        self._expired = expired
        return found
