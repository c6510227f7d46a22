"""Where self-hosted Coze Studio's wire differs from the cloud's."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from .wire import BindError, CozeError, dump, frame
from .world import Json

STATUS = {"canceled": "cancelled", "requires_action": "required_action"}
NO_SESSION = CozeError(401, "missing session_key in cookie", 401)
# What the cloud says with these codes the Studio has codes of its own for.
CODES = {4001: 103200003, 4002: 103000002, 4006: 103100002, 4104: 103200005, 4300: 104000006, 4301: 104000007}
CODES |= {4000: 103000000, 4101: 103000001, 4302: 104000004}


def event(name: str, data: Any) -> tuple[str, Any]:
    """A cloud event in the Studio's words; data of None is an empty data line."""
    if name == "done":
        return "conversation.stream.done", None
    if name == "conversation.chat.requires_action":
        name = "conversation.chat.required_action"
    if name == "conversation.chat.canceled":
        name = "conversation.chat.cancelled"
    return name, chat(data) if name.startswith("conversation.chat.") else data


def frame_event(name: str, data: Any) -> bytes:
    name, data = event(name, data)
    return b"event:" + name.encode() + b"\ndata:\n\n" if data is None else frame(name, data)


def chat(detail: Json) -> Json:
    """A Chat as the Studio gives it: its words for the status, and never an error or meta_data."""
    detail = {key: value for key, value in detail.items() if key not in ("last_error", "meta_data")}
    if "status" in detail:
        detail["status"] = STATUS.get(detail["status"], detail["status"])
    return detail


def refusal(error: CozeError, streaming: bool) -> web.Response:
    """Why a chat does not start: HTTP 400, or an error event once the request itself was understood."""
    if streaming:
        body = frame_event("error", {"code": 103100001, "msg": error.msg}) + frame_event("done", None)
        return web.Response(body=body, content_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
    return web.Response(body=dump({"code": 400, "msg": error.msg}), status=400, content_type="application/json")


def translated(error: CozeError) -> CozeError:
    """The same failure in the Studio's code."""
    if isinstance(error, BindError):
        return CozeError(400, error.msg, 400)
    return CozeError(CODES.get(error.code, error.code), error.msg, error.status)


def unreadable(error: CozeError) -> web.Response:
    """How retrieving fails: in plain text."""
    return web.Response(text=error.msg, status=500)
