"""How things look on Coze's wire: JSON answers, error answers, server-sent events."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from .codes import CODES
from .world import WORLD

LOGID: Final = web.RequestKey("logid", str)
ACCOUNT: Final = web.RequestKey("account", str)  # whose token the request has


class CozeError(Exception):
    """Ends a request with Coze's error body.

    code: Coze's number, in the body. msg: what it says, by default the table's words.
    status: the HTTP status; Coze sends most of its errors as 200.
    """

    def __init__(self, code: int, msg: str = "", status: int = 200) -> None:
        super().__init__(code)
        self.code = code
        self.msg = msg or CODES.get(code, "")
        self.status = status


class BindError(CozeError):
    """The request is not what the endpoint reads at all: no JSON, or a field missing or of the wrong type."""


def new_logid() -> str:
    return time.strftime("%Y%m%d%H%M%S") + secrets.token_hex(9).upper()


def dump(value: object) -> bytes:
    """Compact JSON in UTF-8, nothing escaped without need; a lone surrogate becomes `?`."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def frame(name: str, data: object) -> bytes:
    """One event as Coze frames it: no space after the colons."""
    return b"event:" + name.encode() + b"\ndata:" + dump(data) + b"\n\n"


def reply(
    request: web.Request,
    data: object = None,
    *,
    code: int = 0,
    msg: str = "",
    status: int = 200,
    beside: Mapping[str, object] | None = None,
) -> web.Response:
    """Coze's JSON envelope. A `data` of None is left out, `beside` goes next to it."""
    body: dict[str, object] = {"code": code, "msg": msg}
    if data is not None:
        body["data"] = data
    if beside:
        body |= beside
    if not request.app[WORLD].studio:
        body["detail"] = {"logid": request[LOGID]}
    return web.Response(body=dump(body), status=status, content_type="application/json")


def failure(request: web.Request, error: CozeError) -> web.Response:
    return reply(request, code=error.code, msg=error.msg, status=error.status)


async def json_object(request: web.Request, *, empty: bool = False) -> dict[str, Any]:
    """The request's JSON object; with `empty` no body at all counts as {}.

    Raises BindError 4000 for anything else.
    """
    raw = await request.read()
    if empty and not raw.strip():
        return {}
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise BindError(4000, "The request body is not valid JSON.") from None
    if not isinstance(body, dict):
        raise BindError(4000, "The request body must be a JSON object.")
    return body


def whole(request: web.Request, name: str, default: int, most: int) -> int:
    """A query parameter that counts from 1. Raises CozeError 4000."""
    text = request.query.get(name) or str(default)
    if not text.isdecimal() or len(text) > 9 or not 1 <= int(text) <= most:
        raise CozeError(4000, f"{name} takes a whole number from 1 to {most}.")
    return int(text)
