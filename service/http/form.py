"""Files on their way to Coze, from a multipart form or in base64, spooled so that memory stays bounded."""

import asyncio
import binascii
import contextlib
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from litestar import Request
from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser

from generated.models import UploadRequest
from service.bounds import BOUNDS
from service.coze import Upload
from service.errors import BAD_REQUEST, FILE_TOO_LARGE, NO_SPACE, TAKING_IN, ServiceError
from service.files.names import CONSOLE, decoded, file_name
from service.http.body import body_chunks
from service.http.headers import header, parameters


def _max_length(field: str) -> int:
    """Returns the contract's `maxLength` of a field of the form."""

    def search(hint: object) -> int | None:
        if get_origin(hint) is Annotated:
            return next((m.max_length for m in get_args(hint)[1:] if isinstance(m, msgspec.Meta)), None)
        return next((found for part in get_args(hint) if (found := search(part)) is not None), None)

    limit = search(get_type_hints(UploadRequest, include_extras=True)[field])
    assert limit is not None
    return limit


_MAX_FILE_BYTES = _max_length("file")
_MAX_DESCRIPTION_CHARACTERS = _max_length("description")
# Allows for everything around the file: the description in UTF-8, boundaries, headers, some unknown fields.
_MAX_FORM_BYTES = _MAX_FILE_BYTES + 1024 * 1024
_MAX_BASE64_CHARACTERS = (_MAX_FILE_BYTES + 2) // 3 * 4


class UploadForm:
    """A form that has been read: the file, its size in bytes, and the description if there was one. Must be closed."""

    def __init__(self, name: str = "", media_type: str = "") -> None:
        spool = tempfile.SpooledTemporaryFile(max_size=BOUNDS.spool_bytes)  # noqa: SIM115 - until `close`
        self.upload = Upload(name=name, media_type=media_type, file=spool)
        self.size = 0
        self.description: str | None = None

    def close(self) -> None:
        # Closing flushes, which fails on a full disk; the file is no longer needed.
        with contextlib.suppress(OSError):
            self.upload.file.close()

    def add(self, data: bytes | bytearray) -> None:
        """Adds to the file. Raises ServiceError (413) if it gets too large, OSError."""
        self.size += len(data)
        if self.size > _MAX_FILE_BYTES:
            raise ServiceError(FILE_TOO_LARGE)
        self.upload.file.write(data)

    async def decode(self, encoded: str) -> None:
        """Adds a whole file in base64 (RFC 4648, section 4). Raises ServiceError (400, 413, 503)."""
        if len(encoded) > _MAX_BASE64_CHARACTERS:
            raise ServiceError(FILE_TOO_LARGE)
        step = BOUNDS.spool_bytes // 3 * 4
        with _spooling(self):
            try:
                if "=" in encoded[:-2]:
                    raise ValueError
                for start in range(0, len(encoded), step):
                    self.add(binascii.a2b_base64(encoded[start : start + step], strict_mode=True))
                    # Others have their turn.
                    await asyncio.sleep(0)
            except ValueError:
                raise ServiceError(BAD_REQUEST, "A file in the request is not valid base64.") from None


class Uploads:
    """The forms that one process reads at once, at most `most`. Each takes up to 11 MiB of the temporary folder."""

    def __init__(self, most: int, *, timeout: float) -> None:
        self._most = most
        self._timeout = timeout
        self._open = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """Takes the place of one form. Raises ServiceError (503) if there is none."""
        if self._open >= self._most:
            raise ServiceError(TAKING_IN)
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    @asynccontextmanager
    async def read(self, request: Request[Any, Any, Any]) -> AsyncIterator[UploadForm]:
        """Yields the form of a request and deletes its spool afterwards. Raises ServiceError (400, 413, 503)."""
        with self.place(), closing(UploadForm()) as form:
            await _read(request, form, self._timeout)
            yield form


@contextmanager
def _spooling(form: UploadForm) -> Iterator[None]:
    """Sees to it that the file is on the disk at the end. Raises ServiceError (400, 503)."""
    try:
        yield
        # The HTTP client asks for the descriptor too, which rolls the spool over to disk, and ignores errors there.
        form.upload.file.fileno()
        form.upload.file.flush()
    except OSError as error:
        raise ServiceError(NO_SPACE, cause=f"spool: {error.strerror}") from None
    if form.upload.name and not form.size:
        raise ServiceError(BAD_REQUEST, "The file is empty.")


async def _read(request: Request[Any, Any, Any], form: UploadForm, timeout: float) -> None:
    content_type = header(request.scope, b"content-type") or b""
    kind, boundary = content_type.partition(b";")[0], parameters(content_type).get("boundary")
    if kind.strip().lower() != b"multipart/form-data" or not boundary:
        raise ServiceError(BAD_REQUEST, "The request's Content-Type must be multipart/form-data with a boundary.")
    reader = _FormReader(form)
    try:
        # Latin-1 preserves the bytes of headers for service.files.names to decode.
        with (
            _spooling(form),
            PushMultipartParser(
                boundary, max_segment_count=BOUNDS.form_parts, max_header_size=8192, header_charset="latin-1"
            ) as parser,
        ):
            chunks = body_chunks(request, limit=_MAX_FORM_BYTES, too_large=FILE_TOO_LARGE, timeout=timeout)
            async for chunk in chunks:
                for event in parser.parse(chunk):
                    reader.take(event)
    except ParserLimitReached:
        raise ServiceError(
            BAD_REQUEST, f"The form has more than {BOUNDS.form_parts} parts, or too long a name of one."
        ) from None
    except MultipartError:
        raise ServiceError(BAD_REQUEST, "The request's body is not a valid multipart form.") from None
    if not form.upload.name:
        raise ServiceError(BAD_REQUEST, 'The form has no part named "file" with a file name.')


class _FormReader:
    """Takes the parser's events: the headers of a part, its bytes, its end (None)."""

    def __init__(self, form: UploadForm) -> None:
        self._form = form
        self._field: Literal["file", "description"] | None = None  # None: an unknown part
        self._description = bytearray()
        self._encoding = ""

    def take(self, event: MultipartSegment | bytes | bytearray | None) -> None:
        if isinstance(event, MultipartSegment):
            self._begin(event)
        elif event is not None:
            self._add(event)
        else:
            self._end()

    def _begin(self, segment: MultipartSegment) -> None:
        self._field = None
        disposition = parameters(segment["Content-Disposition"].encode("latin-1"))
        match disposition.get("name"):
            case b"description":
                self._field = "description"
                self._encoding = segment.charset or ""
            case b"file" if name := file_name(disposition):
                if self._form.upload.name:
                    raise ServiceError(BAD_REQUEST, 'The form has more than one part named "file".')
                self._field = "file"
                self._form.upload.name = name
                self._form.upload.media_type = _media_type(segment.content_type)

    def _add(self, data: bytes | bytearray) -> None:
        if self._field == "file":
            self._form.add(data)
        elif self._field == "description":
            self._description += data
            # A character has at most four bytes.
            if len(self._description) > 4 * _MAX_DESCRIPTION_CHARACTERS:
                raise self._too_long()

    def _end(self) -> None:
        if self._field != "description":
            return
        try:
            self._form.description = decoded(bytes(self._description), self._encoding, "utf-8", CONSOLE)
        except ValueError:
            raise ServiceError(BAD_REQUEST, "The description is not valid UTF-8.") from None
        self._description.clear()
        if len(self._form.description) > _MAX_DESCRIPTION_CHARACTERS:
            raise self._too_long()

    def _too_long(self) -> ServiceError:
        return ServiceError(BAD_REQUEST, f"The description has more than {_MAX_DESCRIPTION_CHARACTERS} characters.")


def _media_type(media_type: str | None) -> str:
    plain = (media_type or "").partition(";")[0].strip().lower()
    good = plain.count("/") == 1 and plain.isascii() and plain.isprintable() and len(plain) <= 127 and " " not in plain
    return plain if good else "application/octet-stream"
