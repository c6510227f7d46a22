"""Makers of route handlers: GET with its HEAD, pages and their files; and the query of a request."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from litestar import Request, Response
from litestar.enums import HttpMethod
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response import File


def get(path: str | None = None, **options: Any) -> HTTPRouteHandler:
    """Makes a handler for GET and HEAD; the server leaves the body out of the answer to HEAD."""
    return HTTPRouteHandler(path, http_method=[HttpMethod.GET, HttpMethod.HEAD], **options)


def query(request: Request[Any, Any, Any]) -> list[tuple[str, str]]:
    """Returns the parameters in a request's query, in order.

    Litestar's `query_params` remembers the last 1,024 queries, each of which may take more than a megabyte.
    """
    return parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True)


def assets(path: str, folder: Path, **options: Any) -> HTTPRouteHandler:
    """Makes a handler for the files in `folder`, listed once. No other name reaches the file system."""
    files = {file.name: file for file in folder.iterdir() if file.is_file()}

    @get(f"{path}/{{name:str}}", include_in_schema=False, sync_to_thread=False, **options)
    def asset(name: FromPath[str]) -> File:
        if name not in files:
            raise NotFoundException
        return File(files[name], filename=name, content_disposition_type="inline")

    return asset


def page(
    path: str, content: bytes | Callable[[Request[Any, Any, Any]], bytes], headers: dict[str, str]
) -> HTTPRouteHandler:
    """Makes a handler for an HTML page whose references are relative, so that a proxy may serve it under any path.

    `content` is the page, or makes it for a request. A path with slashes at the end is redirected to the one from which
    the references resolve.
    """

    @get(path, include_in_schema=False, sync_to_thread=False)
    def show(request: Request[Any, Any, Any]) -> Response[bytes]:
        raw_path = request.scope["raw_path"]
        if slashes := len(raw_path) - len(raw_path.rstrip(b"/")):
            there = {"Location": "../" * slashes + path.removeprefix("/")}
            return Response(b"", status_code=308, media_type="text/html", headers=there)
        shown = content if isinstance(content, bytes) else content(request)
        return Response(shown, media_type="text/html", headers=headers)

    return show
