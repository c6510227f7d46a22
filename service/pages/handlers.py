"""Route handlers as the service declares them: GET together with its HEAD, and the files of a page."""

from pathlib import Path
from typing import Any

from litestar import Request, Response
from litestar.enums import HttpMethod
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response import File


def get(path: str | None = None, **options: Any) -> HTTPRouteHandler:
    """A handler for GET that answers HEAD too, with the same headers: the server leaves the body out."""
    return HTTPRouteHandler(path, http_method=[HttpMethod.GET, HttpMethod.HEAD], **options)


def assets(path: str, folder: Path, **options: Any) -> HTTPRouteHandler:
    """A handler for `path/<name>`: the files that `folder` holds now. No other name ever reaches the file system."""
    files = {file.name: file for file in folder.iterdir() if file.is_file()}

    @get(f"{path}/{{name:str}}", include_in_schema=False, sync_to_thread=False, **options)
    def asset(name: FromPath[str]) -> File:
        if name not in files:
            raise NotFoundException
        return File(files[name], filename=name, content_disposition_type="inline")

    return asset


def page(path: str, content: bytes, headers: dict[str, str]) -> HTTPRouteHandler:
    """A handler for an HTML page. What the page refers to is relative, so that a proxy may serve it under any path;
    a request with slashes at the end is sent on to the one address from which those references lead right.
    """

    @get(path, include_in_schema=False, sync_to_thread=False)
    def show(request: Request[Any, Any, Any]) -> Response[bytes]:
        raw_path = request.scope["raw_path"]
        if slashes := len(raw_path) - len(raw_path.rstrip(b"/")):
            there = {"Location": "../" * slashes + path.removeprefix("/")}
            return Response(b"", status_code=308, media_type="text/html", headers=there)
        return Response(content, media_type="text/html", headers=headers)

    return show
