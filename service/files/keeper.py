"""Uploads in the store that FILE_STORE chooses: keeping them, finding them by their links, cleaning up."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Literal, NamedTuple, Self

import msgspec
import structlog

from service.bounds import BOUNDS
from service.errors import NO_FILES, ServiceError
from service.files.folder import Folder
from service.files.links import FILES_PATH, KEY_BYTES, expiry_of, link_to, name_in, new_name
from service.files.store import Bounds, FileStore, OpenFile, StoreError
from service.observe.metrics import STORE_FAILURES
from service.settings import Settings

log = structlog.get_logger()

# The size of the metadata, which follows the content: so a range of the content is the same range of the whole.
_METADATA_BYTES = 2048


_MediaType = Literal["image/png", "image/jpeg", "image/gif", "image/webp", "application/octet-stream"]


class _Metadata(msgspec.Struct, frozen=True):
    """A file's metadata: its name, and its media type by its first bytes. Only scriptless pictures are recognised."""

    name: str
    media_type: _MediaType


_decode = msgspec.json.Decoder(_Metadata).decode


class Kept(NamedTuple):
    """A file that is kept: its address, and its name in the store."""

    url: str
    stored_name: str


class KeptFile:
    """An open file. Must be closed."""

    def __init__(self, file: OpenFile, stored_name: str, metadata: _Metadata, seconds_left: int) -> None:
        self._file = file
        self.name = metadata.name
        self.media_type = metadata.media_type
        self.is_picture = metadata.media_type != "application/octet-stream"
        self.size = file.size - _METADATA_BYTES
        # A stored name is never reused.
        self.etag = f'"{stored_name}"'
        self.seconds_left = seconds_left
        self.read = file.read
        self.close = file.close


class Files:
    """The kept files; with FILE_STORE=off there are none. An asynchronous context manager that cleans up while open."""

    def __init__(self, settings: Settings) -> None:
        self._bounds = Bounds(settings.file_store_max_bytes, settings.file_lifetime)
        self._store = _store(settings, self._bounds)
        self._key: bytes | None = None
        self._cleaning: asyncio.Task[None] | None = None
        # Counts uploads that reached Coze and could not be kept.
        self._failures = STORE_FAILURES.labels("files")

    async def __aenter__(self) -> Self:
        if self._store is not None:
            self._cleaning = asyncio.create_task(self._clean(self._store))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._cleaning is not None:
            self._cleaning.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._cleaning

    async def keep(self, file: IO[bytes], size: int, name: str, base_url: str | None) -> Kept | None:
        """Keeps a file. Returns None on any failure, as Coze has the file all the same."""
        if self._store is None:
            return None
        try:
            if base_url is None:
                raise StoreError("the request's Host is not a host, so that no link can lead here")
            async with _time_limit():
                key = await self._known_key(self._store, create=True)
                assert key is not None  # it has been made
                stored_name = new_name(time.time() + self._bounds.lifetime)
                await asyncio.to_thread(_append_metadata, file, size, name)
                await self._store.put(stored_name, file, size + _METADATA_BYTES)
            return Kept(base_url + FILES_PATH + link_to(stored_name, key), stored_name)
        except Exception as error:
            self._failures.inc()
            cause = str(error) if isinstance(error, StoreError) else getattr(error, "strerror", None)
            log.error("file not kept", cause=cause or type(error).__name__)
            return None

    async def url(self, stored_name: str, base_url: str | None) -> str | None:
        """Returns an address of a file that was kept under this name; None if it is not kept any more, or not known."""
        if self._store is None or base_url is None or expiry_of(stored_name) <= time.time():
            return None
        try:
            async with _time_limit():
                key = await self._known_key(self._store, create=False)
        except StoreError:
            return None
        return base_url + FILES_PATH + link_to(stored_name, key) if key else None

    async def open(self, link: str) -> KeptFile | None:
        """Opens the file that `link` leads to; None if the link is invalid or expired. Raises ServiceError (503)."""
        if self._store is None:
            return None
        try:
            async with _time_limit():
                key = await self._known_key(self._store, create=False)
                name = name_in(link, key) if key else None
                if name is None or (seconds_left := expiry_of(name) - time.time()) <= 0:
                    return None
                file = await self._store.open(name)
                if file is None:
                    return None
                try:
                    metadata = _decode(await file.read(file.size - _METADATA_BYTES, file.size))
                except BaseException:
                    await file.close()
                    raise
        except (StoreError, msgspec.MsgspecError) as error:
            raise ServiceError(NO_FILES, cause=f"file store: {error}") from None
        return KeptFile(file, name, metadata, int(min(seconds_left, self._bounds.lifetime)))

    async def _known_key(self, store: FileStore, *, create: bool) -> bytes | None:
        if self._key is None:
            key = await store.key(create=create)
            if key is not None and len(key) != KEY_BYTES:
                raise StoreError("the key of the links is damaged")
            self._key = key
        return self._key

    async def _clean(self, store: FileStore) -> None:
        while True:
            try:
                await store.clean()
            except StoreError as error:
                log.warning("file store not cleaned up", cause=str(error))
            await asyncio.sleep(min(BOUNDS.files_clean_seconds, self._bounds.lifetime / 4))


@contextlib.asynccontextmanager
async def _time_limit() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(BOUNDS.files_wait_seconds):
            yield
    except TimeoutError:
        raise StoreError(f"no answer within {BOUNDS.files_wait_seconds:g} seconds") from None


def _store(settings: Settings, bounds: Bounds) -> FileStore | None:
    if settings.file_store is None:
        return None
    if not settings.file_store.startswith("s3:"):
        return Folder(Path(settings.file_store), bounds)
    # Imported only here: obstore takes a while to load.
    from service.files.bucket import Bucket

    return Bucket(settings.file_store, bounds, settings.aws)


def _append_metadata(file: IO[bytes], size: int, name: str) -> None:
    """Appends the metadata to the content, and seeks back to the start."""
    file.seek(0)
    metadata = msgspec.json.encode(_Metadata(name=name, media_type=_media_type(file.read(16))))
    file.seek(size)
    file.write(metadata.ljust(_METADATA_BYTES))
    file.seek(0)


def _media_type(head: bytes) -> _MediaType:
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    return "application/octet-stream"
