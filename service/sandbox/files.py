"""The file endpoints: an upload is counted and looked at as it streams by, never held."""

from __future__ import annotations

import hashlib
import time
from pathlib import PurePosixPath
from typing import Final

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from .history import Json
from .recent import MEBI
from .wire import LOGID, CozeError, dump, reply
from .world import WORLD, Upload, World

CLOUD_LIMIT: Final = 512 * MEBI
STUDIO_LIMIT: Final = 200 * MEBI
CHUNK: Final = 256 * 1024

# What Coze lists, and plain text, Markdown and data besides: its page leaves them out, its users send them.
LISTED: Final = frozenset(
    ".doc.docx.xls.xlsx.ppt.pptx.pdf.numbers.csv.cpp.py.java.c.jpg.jpg2.jpeg.png.gif.webp.heic.heif.bmp.pcd"
    ".tiff.tif.wav.mp3.flac.m4a.aac.ogg.wma.midi.mid.mp4.avi.mov.3gp.3gpp.flv.webm.wmv.rmvb.m4v.mkv"
    ".rar.zip.7z.gz.gzip.bz2.txt.md.json"[1:].split(".")
)
# First bytes, what they mean, and the endings whose files must begin so.
MAGIC: Final[tuple[tuple[bytes, str, tuple[str, ...]], ...]] = (
    (b"\x89PNG\r\n\x1a\n", "PNG image", ("png",)),
    (b"\xff\xd8\xff", "JPEG image", ("jpg", "jpeg", "jpg2")),
    (b"GIF8", "GIF image", ("gif",)),
    (b"%PDF-", "PDF document", ("pdf",)),
    (b"RIFF", "WebP image", ("webp",)),
    (b"PK", "ZIP archive or Office document", ("zip", "docx", "xlsx", "pptx")),
)


def kind_of(head: bytes) -> str:
    """What a file is by its first bytes, in words."""
    for magic, kind, _ in MAGIC:
        if head.startswith(magic) and (magic != b"RIFF" or head[8:12] == b"WEBP"):
            return kind
    try:
        head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # not just a character cut at the end
            return "binary file"
    return "binary file" if b"\0" in head else "text file"


def check_name(name: str, head: bytes, types: str) -> None:
    """Raises CozeError when the ending is not taken (4303), or not what the bytes are (4000)."""
    ending = PurePosixPath(name).suffix[1:].lower()
    invalid = CozeError(4000, "The file content or filename is invalid: they do not agree.")
    for _, kind, endings in MAGIC:
        if ending in endings and kind_of(head) != kind:
            raise invalid
    if types == "any":
        return
    if ending and ending not in LISTED:
        raise CozeError(4303)


async def upload(request: web.Request) -> web.Response:
    """POST /v1/files/upload: exactly one part `file` with a filename."""
    world = request.app[WORLD]
    found, content, head = await _read(request, world)
    if not world.studio:
        check_name(found.name, head, world.dials.upload_types)
    world.uploads.put(found.id, found, 1_000)
    if content:
        world.contents.put(found.id, content, len(content))
    return reply(request, studio_file(request, found) if world.studio else _file(found))


async def _read(request: web.Request, world: World) -> tuple[Upload, bytes, bytes]:
    """The upload, its content where that is kept, and its first bytes."""
    limit = STUDIO_LIMIT if world.studio else CLOUD_LIMIT
    found: tuple[Upload, bytes, bytes] | None = None
    no_form = CozeError(104000005 if world.studio else 4000, "The body must be valid multipart/form-data.")
    if request.content_type != "multipart/form-data":
        raise no_form
    try:
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader) or not part.filename:
                continue
            if found is not None:
                raise CozeError(4301)
            if part.name != "file":
                raise CozeError(4300, 'The part that holds the file must be named "file".')
            digest, size, head, kept = hashlib.sha256(), 0, b"", bytearray()
            while chunk := await part.read_chunk(CHUNK):
                size += len(chunk)
                if size > limit:
                    raise CozeError(4302)
                digest.update(chunk)
                head = head or chunk[:512]
                if world.studio and size <= MEBI:
                    kept += chunk
            content = bytes(kept) if size <= MEBI else b""
            content_type = part.headers.get("Content-Type", "")
            name = part.filename
            made = Upload(world.new_id(), name, size, digest.hexdigest(), content_type, kind_of(head), int(time.time()))
            found = made, content, head
    except (ValueError, AssertionError, HttpProcessingError):  # all of them are aiohttp's "malformed"
        raise no_form from None
    if found is None or not found[0].bytes:
        raise CozeError(4300)
    return found


def _file(found: Upload) -> Json:
    return {"id": found.id, "bytes": found.bytes, "file_name": found.name, "created_at": found.created_at}


def studio_file(request: web.Request, found: Upload) -> Json:
    """A file as the Studio gives it: with an address."""
    uri = f"sandbox/files/{found.id}"
    return {
        "id": found.id,
        "bytes": found.bytes,
        "file_name": found.name,
        "url": f"{request.scheme}://{request.host}/{uri}",
        "uri": uri,
        "CreatedAt": found.created_at,
    }


async def retrieve(request: web.Request) -> web.Response:
    """GET and POST /v1/files/retrieve"""
    file_id = request.query.get("file_id", "")
    if not file_id:
        raise CozeError(4000, "file_id is required.")
    found = request.app[WORLD].upload(file_id)
    if found is None:
        raise CozeError(4200)
    return reply(request, _file(found))


async def download(request: web.Request) -> web.Response:
    """GET /sandbox/files/{id}: what a Studio upload's url leads to, for the last few small ones."""
    content = request.app[WORLD].contents.get(request.match_info["id"])
    if content is None:
        body = {"code": 404, "msg": "not found", "detail": {"logid": request[LOGID]}}
        return web.Response(body=dump(body), status=404, content_type="application/json")
    # Never shown as a page: it is whatever somebody sent.
    headers = {"Content-Disposition": "attachment", "X-Content-Type-Options": "nosniff"}
    return web.Response(body=content, content_type="application/octet-stream", headers=headers)
