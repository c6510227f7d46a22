"""What a store of files does, and which files have to leave it."""

from typing import IO, NamedTuple, Protocol

from service.files.links import expiry_of

# What a file takes on a disk is a multiple of this. It also bounds how many small ones there can be.
_BLOCK_BYTES = 4096


class StoreError(Exception):
    """The store failed. The text says why in a few words, without secrets."""


class StoredFile(NamedTuple):
    """A file's name, and what it takes of the store's room in bytes."""

    name: str
    room: int


class OpenFile(Protocol):
    """A file that is being read; has to be closed."""

    size: int

    async def read(self, start: int, end: int) -> bytes:
        """The bytes from `start` up to `end`, which is not over `size`. Raises StoreError."""

    async def close(self) -> None: ...


class FileStore(Protocol):
    """Files by name, each whole or not there, and the key of their links. All may raise StoreError."""

    async def key(self, *, create: bool) -> bytes | None:
        """The one key of all who share the store; None if there is none and it is not to be made."""

    async def put(self, name: str, file: IO[bytes], size: int) -> None:
        """Keeps the `size` bytes of `file`, which stands at its beginning; makes room first."""

    async def open(self, name: str) -> OpenFile | None:
        """The file, or None if there is no such file."""

    async def clean(self) -> None:
        """Removes what has to leave."""


def room_for(size: int) -> int:
    """What `size` bytes take of a store's room."""
    return -(-size // _BLOCK_BYTES) * _BLOCK_BYTES


class Bounds:
    """How much a store holds (FILE_STORE_MAX_BYTES) and for how many seconds (FILE_LIFETIME)."""

    def __init__(self, max_bytes: int, lifetime: int) -> None:
        self.max_bytes = max_bytes
        self.lifetime = lifetime
        self._expired: set[str] = set()

    def surplus(self, files: list[StoredFile], wanted: int, now: float) -> list[StoredFile]:
        """What has to go to make room for `wanted` more bytes, oldest first: nothing, or enough that there is some
        room for the next ones too. Raises StoreError if there cannot be room.
        """
        if wanted > self.max_bytes:
            raise StoreError("there is no room for the file within FILE_STORE_MAX_BYTES")
        used = sum(file.room for file in files)
        if used + wanted <= self.max_bytes:
            return []
        found = []
        # Names from beyond a lifetime are of a time when the clock was wrong, or the lifetime longer. What comes now
        # would be older than they are and leave before them.
        beyond = now + self.lifetime
        for file in sorted(files, key=lambda file: (expiry_of(file.name) <= beyond, file.name)):
            if used + wanted <= max(self.max_bytes * 9 // 10, wanted):
                break
            found.append(file)
            used -= file.room
        return found

    def overdue(self, files: list[StoredFile], now: float) -> list[StoredFile]:
        """Whose life is over, and was when this was last asked: a clock that jumps ahead and is set right before it is
        asked again costs no file.
        """
        expired = {file.name for file in files if expiry_of(file.name) < now}
        found = [file for file in files if file.name in expired & self._expired]
        self._expired = expired
        return found
