"""Where self-hosted Coze Studio's wire differs from the cloud's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from aiohttp import web

from .ask import parts_of
from .canary import CANARY
from .files import studio_file
from .history import Conversation, Json
from .wire import BindError, CozeError, dump, frame
from .world import WORLD

if TYPE_CHECKING:
    from .turn import Turn

STATUS = {"canceled": "cancelled", "requires_action": "required_action"}
NO_SESSION = CozeError(401, "missing session_key in cookie", 401)
# What the cloud says with these codes the Studio has codes of its own for.
CODES = {4001: 103200003, 4002: 103000002, 4006: 103100002, 4104: 103200005, 4300: 104000006, 4301: 104000007}
CODES |= {4000: 103000000, 4101: 103000001, 4302: 104000004}


async def no_session(request: web.Request) -> web.StreamResponse:
    """What a token gets of the endpoints that are for the Studio's web pages."""
    raise NO_SESSION


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


def conversation(found: Conversation, **more: object) -> Json:
    """A conversation as the Studio gives it; which fields there are `more` depends on the endpoint."""
    return {
        "id": found.id,
        "created_at": found.created_at,
        "meta_data": found.meta_data or None,
        "last_section_id": found.section_id,
        "connector_id": found.connector_id,
        **more,
    }


def renamed(found: Conversation) -> Json:
    """The answer to a new name, which never tells meta_data."""
    return {**conversation(found, name=found.name), "meta_data": None}


def asked(request: web.Request, turn: Turn) -> list[Json]:
    """The messages of a request as the Studio keeps them.

    All but the last are of a run of their own that nobody started, and their files are gone; the last one comes with
    its files' addresses, but they are those of the first message that had any. extra_params stand in for meta_data.
    """
    messages, phantom = turn.chat.asked, turn.world.new_id()
    with_files = [message for message in messages if message["content_type"] == "object_string"]
    kept = []
    for message in messages:
        more: Json = {"meta_data": turn.chat.extras["extra_params"] or {}}
        if message is not messages[-1]:
            texts = [str(part.get("text") or "") for part in parts_of(message) if part.get("type") == "text"]
            more |= {"content": "\n".join(texts), "chat_id": phantom}
        elif message["content_type"] == "object_string":
            parts = [_with_address(request, part) for part in parts_of(with_files[0])]
            more["content"] = json.dumps(parts, ensure_ascii=False)
        kept.append(message | more)
    return kept


def _with_address(request: web.Request, part: Json) -> Json:
    upload = request.app[WORLD].upload(str(part.get("file_id")))
    if upload is None:
        return part
    return {**part, "file_url": studio_file(request, upload)["url"], "name": upload.name, "size": upload.bytes}


def message(kept: Json) -> Json:
    """A message as the Studio lists it: an answer tells of its making, and of thoughts even if there are none."""
    made = {}
    if kept["type"] == "answer":
        made = {"meta_data": {"bot_state": json.dumps({"agent_name": CANARY}), "token": "23", "time_cost": "0.5"}}
    return {"reasoning_content": "", "meta_data": {}, **kept, **made}


def message_of_chat(kept: Json) -> Json:
    """The same in the list of a chat, which has a name of its own for messages with files."""
    shown = message(kept)
    return shown | {"content_type": "mix"} if shown["content_type"] == "object_string" else shown


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
