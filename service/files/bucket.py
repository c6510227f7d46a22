"""A store in a bucket of S3, or of a compatible server, through obstore.

Each process counts the bytes it adds, and lists the bucket when they are many. Between two listings the bucket may
exceed its bound by a tenth for each other process.
"""

import asyncio
import contextlib
import re
import secrets
import time
from collections.abc import AsyncIterator, Iterable
from datetime import timedelta
from typing import IO
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store

from service.bounds import BOUNDS
from service.files.links import KEY_BYTES, NAME
from service.files.store import Bounds, StoredFile, StoreError, disk_bytes

# What obstore says of answers that have neither a code nor a status of an error, and what an operator is told.
_ODD_ANSWERS = {
    "Received redirect without LOCATION": "a redirect, as where AWS_REGION is wrong",
    "Got invalid ": "an answer that is not S3's",
    "Encountered object with invalid path": "an object in the bucket whose name is no path",
}


class OpenObject:
    """A file of the bucket. Each read is a request, and fails once the file is removed."""

    def __init__(self, bucket: S3Store, name: str, size: int) -> None:
        self._bucket = bucket
        self._name = name
        self.size = size

    async def read(self, start: int, end: int) -> bytes:
        async with _explained():
            return bytes(await obstore.get_range_async(self._bucket, self._name, start=start, end=end))

    async def close(self) -> None:
        pass


class Bucket:
    """The store at `s3://bucket/prefix`. obstore looks for missing `credentials` where AWS's own tools do."""

    def __init__(self, url: str, bounds: Bounds, credentials: dict[str, str]) -> None:
        parts = urlsplit(url)
        plain = credentials.get("aws_endpoint_url", "").startswith("http:")
        self._bucket = S3Store(
            parts.netloc,
            prefix=parts.path.strip("/") or None,
            config=credentials,  # type: ignore[arg-type] # names as in the environment are taken too
            client_options={"allow_http": plain, "timeout": timedelta(seconds=BOUNDS.bucket_request_seconds)},
            retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=BOUNDS.bucket_request_seconds)},
        )
        self._bounds = bounds
        self._counting = asyncio.Lock()
        self._used: int | None = None  # None: not counted yet
        self._added = 0

    async def key(self, *, create: bool) -> bytes | None:
        async with _explained():
            if (key := await self._stored_key()) is None and create:
                with contextlib.suppress(AlreadyExistsError):
                    await obstore.put_async(self._bucket, "key", secrets.token_bytes(KEY_BYTES), mode="create")
                # Another process may have been first.
                key = await self._stored_key()
            return key

    async def put(self, name: str, file: IO[bytes], size: int) -> None:
        async with _explained():
            async with self._counting:
                await self._free_space(disk_bytes(size))
            # A part at a time, to bound the memory.
            await obstore.put_async(self._bucket, name, file, max_concurrency=1)

    async def open(self, name: str) -> OpenObject | None:
        async with _explained():
            try:
                found = await obstore.head_async(self._bucket, name)
            except FileNotFoundError:
                return None
            return OpenObject(self._bucket, name, found["size"])

    async def clean(self) -> None:
        async with _explained(), self._counting:
            files = await self._files()
            await self._remove(files, {*self._bounds.overdue(files, time.time())})

    async def _stored_key(self) -> bytes | None:
        try:
            return bytes(await (await obstore.get_async(self._bucket, "key")).bytes_async())
        except FileNotFoundError:
            return None

    async def _free_space(self, wanted: int) -> None:
        limit = self._bounds.max_bytes
        if self._used is None or self._used + wanted > limit or self._added + wanted > limit // 10:
            files = await self._files()
            await self._remove(files, {*self._bounds.surplus(files, wanted, time.time())})
        assert self._used is not None
        self._used += wanted
        self._added += wanted

    async def _files(self) -> list[StoredFile]:
        return [
            StoredFile(found["path"], disk_bytes(found["size"]))
            async for some in obstore.list(self._bucket)
            for found in some
            if NAME.fullmatch(found["path"])
        ]

    async def _remove(self, files: Iterable[StoredFile], gone: set[StoredFile]) -> None:
        if gone:
            await obstore.delete_async(self._bucket, [file.name for file in gone])
        self._used = sum(file.size_on_disk for file in files if file not in gone)
        self._added = 0


@contextlib.asynccontextmanager
async def _explained() -> AsyncIterator[None]:
    """Turns failures into StoreError, with S3's code or status or what was odd: their text quotes the request."""
    try:
        async with asyncio.timeout(BOUNDS.bucket_seconds):
            yield
    except (BaseError, OSError) as error:
        text = str(error)
        said = re.search(r"<Code>(\w+)</Code>", text) or re.search(r"status code: (\d{3})", text)
        odd = next((told for sign, told in _ODD_ANSWERS.items() if sign in text), "no answer")
        raise StoreError(f"S3: {said[1] if said else odd}") from error
