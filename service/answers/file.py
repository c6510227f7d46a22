"""A kept file as an HTTP answer, with conditions and ranges, that no browser executes.

RFC 9110, sections 13 and 14 (conditions and ranges), RFC 6266 and RFC 8187 (the name).
"""

import re
from collections.abc import Mapping
from urllib.parse import quote

from litestar.types import Receive, Scope, Send

from service.answers.conditional import has_already
from service.answers.errors import error_answer
from service.bounds import BOUNDS
from service.errors import RANGE_NOT_THERE, ClientLeft, ServiceError
from service.files.keeper import KeptFile
from service.files.store import StoreError
from service.http.connection import connection_of, unless_client_leaves
from service.observe.record import Outcome, record_of

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.IGNORECASE)
_HEADERS = {
    "Accept-Ranges": "bytes",
    # Pages of other origins may show it. Nothing in it may run or load anything, even if it is opened by itself.
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Referrer-Policy": "no-referrer",
}


class FileAnswer:
    """ASGI application that answers with `file`, according to the request's `headers`, and closes it."""

    def __init__(self, file: KeptFile, headers: Mapping[str, str]) -> None:
        self._file = file
        self._request = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        file, size = self._file, self._file.size
        try:
            headers = _HEADERS | {
                "ETag": file.etag,
                "Cache-Control": f"private, max-age={file.seconds_left}, immutable",
            }
            if has_already(self._request, file.etag):
                await _answer(send, 304, headers)
                return
            # A range is defined for GET alone (RFC 9110, section 14.2).
            head = scope.get("method") == "HEAD"
            part = None if head else _part(self._request, file.etag, size)
            start, end = part or (0, size)
            if start >= end and part:
                refusal = error_answer(
                    scope, ServiceError(RANGE_NOT_THERE), {"Content-Range": f"bytes */{size}", "Accept-Ranges": "bytes"}
                )
                await refusal(scope, receive, send)
                return
            headers |= {
                "Content-Type": file.media_type,
                "Content-Length": str(end - start),
                "Content-Disposition": _disposition(file.name, shown=file.is_picture),
            }
            if part:
                headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
            if head:
                await _answer(send, 200, headers)
                return
            await unless_client_leaves(
                connection_of(scope), self._send(send, 206 if part else 200, headers, start, end)
            )
            record_of(scope).end(Outcome.COMPLETED)
        except ClientLeft:
            record_of(scope).end(Outcome.UNREAD)
        except StoreError as error:
            # Too late for an error: the missing end tells the client that the answer is incomplete.
            record_of(scope).cause = f"file store: {error}"
            record_of(scope).end(Outcome.FAILED)
        finally:
            await file.close()

    async def _send(self, send: Send, status: int, headers: dict[str, str], start: int, end: int) -> None:
        await _answer(send, status, headers, more_body=True)
        for at in range(start, end, BOUNDS.download_chunk_bytes):
            body = await self._file.read(at, min(at + BOUNDS.download_chunk_bytes, end))
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _answer(send: Send, status: int, headers: dict[str, str], *, more_body: bool = False) -> None:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    if not more_body:
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _part(request: Mapping[str, str], etag: str, size: int) -> tuple[int, int] | None:
    """Returns the requested range as (first byte, byte after the last); it is empty if it lies outside the file.

    Returns None for the whole file, also if the header names several ranges or is malformed.
    """
    found = _RANGE.fullmatch(request.get("range", "").strip())
    if not found or found[0].endswith("=-") or request.get("if-range", etag).strip() != etag:
        return None
    first, last = found[1], found[2]
    if not first:
        return max(size - int(last), 0), size
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last) + 1, size) if last else size


def _disposition(name: str, *, shown: bool) -> str:
    plain = re.sub(r'[^ -~]|["\\%]', "_", name)
    return f"{'inline' if shown else 'attachment'}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
