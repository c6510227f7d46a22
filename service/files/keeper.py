"""Keeps uploads in the store that FILE_STORE chooses and finds them by their links; cleans the store up meanwhile."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Literal, Self

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

# What is known of a file stands in so many bytes behind its content: ranges of the content are ranges of the whole.
_ABOUT_BYTES = 2048


_MediaType = Literal["image/png", "image/jpeg", "image/gif", "image/webp", "application/octet-stream"]


class _About(msgspec.Struct, frozen=True):
    """A file's own name, and what it is by its first bytes. Only pictures without scripts are told apart."""

    name: str
    media_type: _MediaType


_decode = msgspec.json.Decoder(_About).decode


class KeptFile:
    """A file that is being read; has to be closed."""

    def __init__(self, file: OpenFile, stored_name: str, about: _About, seconds_left: int) -> None:
        self._file = file
        self.name = about.name
        self.media_type = about.media_type
        self.is_picture = about.media_type != "application/octet-stream"
        self.size = file.size - _ABOUT_BYTES
        # What has this name never changes.
        self.etag = f'"{stored_name}"'
        self.seconds_left = seconds_left
        self.read = file.read
        self.close = file.close


class Files:
    """The files; with FILE_STORE=off there are none. An asynchronous context: it cleans up while it is open."""

    def __init__(self, settings: Settings) -> None:
        self._bounds = Bounds(settings.file_store_max_bytes, settings.file_lifetime)
        self._store = _store(settings, self._bounds)
        self._key: bytes | None = None
        self._cleaning: asyncio.Task[None] | None = None
        # Uploads that reached Coze and were not kept.
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

    async def keep(self, file: IO[bytes], size: int, name: str, base_url: str | None) -> str | None:
        """The address of what is now kept. None if it is not: whatever the reason, Coze has the file."""
        if self._store is None:
            return None
        try:
            if base_url is None:
                raise StoreError("the request's Host is not a host, so that no link can lead here")
            async with _in_time():
                key = await self._known_key(self._store, create=True)
                assert key is not None  # it has been made
                stored_name = new_name(time.time() + self._bounds.lifetime)
                await asyncio.to_thread(_add_about, file, size, name)
                await self._store.put(stored_name, file, size + _ABOUT_BYTES)
            return base_url + FILES_PATH + link_to(stored_name, key)
        except Exception as error:
            self._failures.inc()
            cause = str(error) if isinstance(error, StoreError) else getattr(error, "strerror", None)
            log.error("file not kept", cause=cause or type(error).__name__)
            return None

    async def open(self, link: str) -> KeptFile | None:
        """The file that `link` leads to; None if it leads to none, or does no longer. Raises ServiceError (503)."""
        if self._store is None:
            return None
        try:
            async with _in_time():
                key = await self._known_key(self._store, create=False)
                name = name_in(link, key) if key else None
                if name is None or (seconds_left := expiry_of(name) - time.time()) <= 0:
                    return None
                file = await self._store.open(name)
                if file is None:
                    return None
                try:
                    about = _decode(await file.read(file.size - _ABOUT_BYTES, file.size))
                except BaseException:
                    await file.close()
                    raise
        except (StoreError, msgspec.MsgspecError) as error:
            raise ServiceError(NO_FILES, cause=f"file store: {error}") from None
        return KeptFile(file, name, about, int(min(seconds_left, self._bounds.lifetime)))

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
async def _in_time() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(BOUNDS.files_wait_seconds):
            yield
    except TimeoutError:
        raise StoreError(f"no answer within {BOUNDS.files_wait_seconds} seconds") from None


def _store(settings: Settings, bounds: Bounds) -> FileStore | None:
    if settings.file_store is None:
        return None
    if not settings.file_store.startswith("s3:"):
        return Folder(Path(settings.file_store), bounds)
    # Others need not wait for it.
    from service.files.bucket import Bucket

    return Bucket(settings.file_store, bounds, settings.aws)


def _add_about(file: IO[bytes], size: int, name: str) -> None:
    """Writes behind the content what is known of it, and goes back to the beginning."""
    file.seek(0)
    about = msgspec.json.encode(_About(name=name, media_type=_media_type(file.read(16))))
    file.seek(size)
    file.write(about.ljust(_ABOUT_BYTES))
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
