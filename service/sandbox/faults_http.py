"""Bots that answer with something other than a chat."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .codes import CODES
from .turn import Reply, Steps, Turn
from .wire import dump

Play = Callable[[Turn], Steps]
Row = tuple[str, str, str, Play]  # last four digits, name, what it does, how


def html(title: str) -> bytes:
    return f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>".encode()


def json_error(code: int, status: int = 200, content_type: str = "application/json") -> Play:
    """A bot that only ever gives this error body."""

    def steps(turn: Turn) -> Steps:
        body = {"code": code, "msg": CODES[code], "detail": {"logid": turn.logid}}
        yield Reply(dump(body), status, content_type)

    return steps


def _reply(body: bytes = b"", status: int = 200, content_type: str | None = None, **headers: str) -> Play:
    def steps(turn: Turn) -> Steps:
        yield Reply(body, status, content_type, {name.replace("_", "-"): value for name, value in headers.items()})

    return steps


def _ok_json(turn: Turn) -> Steps:
    detail = {**turn.chat.detail(), "status": "in_progress"}
    yield Reply(dump({"code": 0, "msg": "", "data": detail, "detail": {"logid": turn.logid}}))


JSON = "application/json"
_BUSY = b'{"message":"too many requests"}'

ROWS: Final[tuple[Row, ...]] = (
    ("0101", "401-no-permission", "HTTP 401 with a JSON body of code 4101.", json_error(4101, 401)),
    (
        "0102",
        "500-json",
        "HTTP 500 with JSON that has no code.",
        _reply(b'{"message":"internal error"}', 500, JSON),
    ),
    (
        "0103",
        "502-html",
        "HTTP 502 with a page of HTML, as a gateway gives.",
        _reply(html("502 Bad Gateway"), 502, "text/html"),
    ),
    ("0104", "504-empty", "HTTP 504 with an empty body.", _reply(status=504)),
    ("0105", "200-empty", "HTTP 200 with an empty body and no content type.", _reply()),
    ("0106", "json-code-0", "JSON of code 0, as for a non-stream chat, where a stream is due.", _ok_json),
    (
        "0107",
        "error-as-stream",
        "The JSON of error 4000 under Content-Type text/event-stream.",
        json_error(4000, content_type="text/event-stream"),
    ),
    ("0108", "200-html", "HTTP 200 with a page of HTML.", _reply(html("Welcome"), 200, "text/html")),
    ("0109", "429-retry-after", "HTTP 429 with Retry-After: 7.", _reply(_BUSY, 429, JSON, Retry_After="7")),
    ("0110", "429", "HTTP 429 without Retry-After.", _reply(_BUSY, 429, JSON)),
    ("0111", "code-no-msg", "JSON with a code (4000) and no msg.", _reply(b'{"code":4000}', 200, JSON)),
    (
        "0112",
        "json-truncated",
        "JSON that stops in the middle.",
        _reply(b'{"code":5000,"msg":"Internal ser', 200, JSON),
    ),
    ("0113", "401-invalid", "HTTP 401 with a JSON body of code 4100.", json_error(4100, 401)),
    (
        "0114",
        "403-html",
        "HTTP 403 with HTML, as a firewall gives.",
        _reply(html("403 Forbidden"), 403, "text/html"),
    ),
    (
        "0115",
        "503-retry-after",
        "HTTP 503, text, with Retry-After: 3.",
        _reply(b"unavailable", 503, "text/plain", Retry_After="3"),
    ),
    ("0116", "json-array", "A JSON array where an object is due.", _reply(b"[]", 200, JSON)),
    ("0117", "json-null", "JSON null where an object is due.", _reply(b"null", 200, JSON)),
    (
        "0118",
        "code-negative",
        "JSON with a negative code.",
        _reply(b'{"code":-1,"msg":"negative"}', 200, JSON),
    ),
    ("0119", "redirect", "HTTP 302 to another place.", _reply(status=302, Location="/sandbox/nowhere")),
    ("0120", "token-invalid", "JSON of code 700012006.", json_error(700012006)),
    ("0121", "code-701231", "JSON of code 701231.", json_error(701231)),
    ("0122", "code-unknown", "JSON of a code that no table lists, 799999.", json_error(799999)),
    (
        "0123",
        "code-odd-body",
        "JSON of code 4016 as a text, with broken characters in msg, and a text for detail.",
        _reply(b'{"code":"4016","msg":"\xff \\ud83d","detail":""}', 200, JSON),
    ),
)
