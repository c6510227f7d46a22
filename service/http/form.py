"""The upload's multipart form. The file is spooled as it arrives, so that memory stays bounded."""

import contextlib
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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


class UploadForm:
    """A form that has been read: the file, its size in bytes, and the description if there was one."""

    def __init__(self) -> None:
        self.upload = Upload(name="", media_type="", file=tempfile.SpooledTemporaryFile(max_size=BOUNDS.spool_bytes))  # noqa: SIM115
        self.size = 0
        self.description: str | None = None


class Uploads:
    """The forms that one process reads at once, at most `most`. Each takes up to 11 MiB of the temporary folder."""

    def __init__(self, most: int, *, timeout: float) -> None:
        self._most = most
        self._timeout = timeout
        self._open = 0

    @asynccontextmanager
    async def read(self, request: Request[Any, Any, Any]) -> AsyncIterator[UploadForm]:
        """Yields the form of a request and deletes its spool afterwards. Raises ServiceError (400, 413, 503)."""
        if self._open >= self._most:
            raise ServiceError(TAKING_IN)
        self._open += 1
        form = UploadForm()
        try:
            await _read(request, form, self._timeout)
            yield form
        finally:
            self._open -= 1
            # Closing flushes, which fails on a full disk; the file is no longer needed.
            with contextlib.suppress(OSError):
                form.upload.file.close()


async def _read(request: Request[Any, Any, Any], form: UploadForm, timeout: float) -> None:
    content_type = header(request.scope, b"content-type") or b""
    kind, boundary = content_type.partition(b";")[0], parameters(content_type).get("boundary")
    if kind.strip().lower() != b"multipart/form-data" or not boundary:
        raise ServiceError(BAD_REQUEST, "The request's Content-Type must be multipart/form-data with a boundary.")
    reader = _FormReader(form)
    try:
        # Latin-1 preserves the bytes of headers for service.files.names to decode.
        with PushMultipartParser(
            boundary, max_segment_count=BOUNDS.form_parts, max_header_size=8192, header_charset="latin-1"
        ) as parser:
            chunks = body_chunks(request, limit=_MAX_FORM_BYTES, too_large=FILE_TOO_LARGE, timeout=timeout)
            async for chunk in chunks:
                for event in parser.parse(chunk):
                    reader.take(event)
        # The HTTP client asks for the descriptor too, which rolls the spool over to disk, and ignores errors there.
        form.upload.file.fileno()
        form.upload.file.flush()
    except ParserLimitReached:
        raise ServiceError(
            BAD_REQUEST, f"The form has more than {BOUNDS.form_parts} parts, or too long a name of one."
        ) from None
    except MultipartError:
        raise ServiceError(BAD_REQUEST, "The request's body is not a valid multipart form.") from None
    except OSError as error:
        raise ServiceError(NO_SPACE, cause=f"spool: {error.strerror}") from None
    if not form.upload.name:
        raise ServiceError(BAD_REQUEST, 'The form has no part named "file" with a file name.')
    if not form.size:
        raise ServiceError(BAD_REQUEST, "The file is empty.")


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
            self._form.size += len(data)
            if self._form.size > _MAX_FILE_BYTES:
                raise ServiceError(FILE_TOO_LARGE)
            self._form.upload.file.write(data)
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
