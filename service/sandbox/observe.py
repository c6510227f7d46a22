"""The sandbox's own endpoints: look at what it saw, turn its dials, start afresh. They ask for no token.

The dials of POST /sandbox/settings, each optional:

- delta_seconds: the pause between words, seconds
- workspaces: how many there are; odd_workspace: one more, with nulls and missing fields
- upload_types: "listed" (as Coze) or "any" file ending
- fail: path to fault, for any of Coze's paths, as {"/v1/users/me": {"status": 401, "code": 4101, "msg": "…"}}
  or {"…": {"kind": "html502" | "hang" | "close" | "empty" | "not_json"}},
  {"…": {"kind": "body", "body": any JSON}} or, for what is only slow, {"…": {"kind": "slow", "seconds": 2}};
  with "times": n only the next n requests. The path may be that of one request, or method and path as in
  "requests" of the state: "PUT /v1/conversations/{id}". The faults given replace those before; {} ends them.
- bots: bot id to fields that change what is told about it; null takes one away
- sample_messages: lists messages as the samples of Coze's documents: times as texts, types empty, no chat_id and
  no bot_id in a question
- oauth_public_key: in PEM, of the service app whose signatures are checked; "" checks none
- oauth_most_seconds: how long a token lives at most; oauth_delay_seconds: how long one is waited for
- oauth_expires_in: what the answer says of a token's end, any JSON at all; "right" for the truth
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from aiohttp import web

from . import oauth
from .bots import BOTS
from .codes import CODES
from .faults_http import html
from .history import Json
from .play import HANG_SECONDS, cut
from .wire import CozeError, dump, json_object, reply
from .world import WORLD

KINDS = ("html502", "hang", "close", "empty", "not_json", "body", "slow")
MOST_ADDED = 2_000


def _json(value: object) -> web.Response:
    return web.Response(body=dump(value), content_type="application/json")


async def state(request: web.Request) -> web.Response:
    """GET /sandbox/state, with ?chats=N&conversations=N only the newest of each."""
    most = {"chats": 2_000, "conversations": 200}
    asked = {name: request.query.get(name, "") for name in most}
    wanted = {name: int(text) if text.isdecimal() else most[name] for name, text in asked.items()}
    return _json(request.app[WORLD].report(**wanted))


async def reset(request: web.Request) -> web.Response:
    """POST /sandbox/reset: forgets all, ends what runs, puts the dials back."""
    request.app[WORLD].clear()
    return _json({})


async def bots(request: web.Request) -> web.Response:
    """GET /sandbox/bots"""
    return _json([{"id": b.id, "name": b.name, "group": b.group, "what": b.what} for b in BOTS.values()])


async def add_messages(request: web.Request) -> web.Response:
    """POST /sandbox/conversations/{id}/messages: puts messages at a conversation's end.

    {"turns": n} for n questions and answers, a second apart, which end now; or {"messages": [{…}]}, each with the
    fields that a list is to show, whatever they are. Answers with their ids, HTTP 400 for what it does not know.
    """
    world = request.app[WORLD]
    found = world.conversation(request.match_info["id"])
    body = await json_object(request)
    turns, given = body.get("turns", 0), body.get("messages", [])
    good = _is_number(turns, MOST_ADDED) and isinstance(turns, int)
    if found is None or not good or not (isinstance(given, list) and all(isinstance(one, dict) for one in given)):
        raise CozeError(4000, "needs a conversation that exists, and turns or messages", 400)
    ids = {"conversation_id": found.id, "bot_id": found.bot_id, "section_id": found.section_id}
    now_ms, added = time.time_ns() // 1_000_000, []

    def add(fields: Json, at_ms: int) -> None:
        spoken = {"type": "question", "content_type": "text", "content": "", "meta_data": {}, "chat_id": ""}
        times = {"created_at": at_ms // 1_000, "updated_at": at_ms // 1_000}
        message = {"id": world.new_id(), **ids, "role": "user", **spoken, **times, **fields}
        world.keep_in(found, message, at_ms)
        added.append(message["id"])

    for turn in range(1, turns + 1):
        at_ms, chat_id = now_ms - (turns - turn + 1) * 1_000, world.new_id()
        add({"content": f"Question {turn}", "chat_id": chat_id}, at_ms)
        answer = {"role": "assistant", "type": "answer", "content": f"Answer {turn}", "chat_id": chat_id}
        add(answer, at_ms + 500)
    for at, fields in enumerate(given):
        seconds = fields.get("created_at")
        add(fields, seconds * 1_000 if isinstance(seconds, int) else now_ms + at)
    return _json({"messages": added})


async def settings(request: web.Request) -> web.Response:
    """POST /sandbox/settings: answers with the dials as they are then, HTTP 400 for one it does not know."""
    dials = request.app[WORLD].dials
    try:
        body = await json_object(request)
        for name, value in body.items():
            if name not in CHECKS or not CHECKS[name](value):
                raise CozeError(4000, f"{name} is no such dial, or does not take this value")
    except CozeError as error:
        error.status = 400
        raise
    for name, value in body.items():
        setattr(dials, name, value)
    return _json(request.app[WORLD].report()["settings"])


def _is_number(value: Any, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most


def _is_faults(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(fault, dict)
        and (fault.get("kind") in KINDS or "kind" not in fault)
        and isinstance(fault.get("code", 0), int)
        and isinstance(fault.get("msg", ""), str)
        and fault.get("status", 200) in range(200, 600)
        and isinstance(fault.get("times", 1), int)
        and _is_number(fault.get("seconds", 0), 600)
        for fault in value.values()
    )


CHECKS: dict[str, Any] = {
    "delta_seconds": lambda value: _is_number(value, 60),
    "workspaces": lambda value: _is_number(value, 10_000) and isinstance(value, int),
    "odd_workspace": lambda value: isinstance(value, bool),
    "upload_types": lambda value: value in ("listed", "any"),
    "fail": _is_faults,
    "bots": lambda value: isinstance(value, dict) and all(isinstance(fields, dict) for fields in value.values()),
    "sample_messages": lambda value: isinstance(value, bool),
    "oauth_public_key": oauth.key_is_good,
    "oauth_most_seconds": lambda value: _is_number(value, oauth.MOST_SECONDS),
    "oauth_expires_in": lambda value: True,
    "oauth_delay_seconds": lambda value: _is_number(value, 60),
}


async def fail(request: web.Request, fault: Json) -> web.StreamResponse | None:
    """What a path answers while it is told to fail; None where it is only slow."""
    await asyncio.sleep(fault.get("seconds", 0))
    match fault.get("kind"):
        case "html502":
            return web.Response(body=html("502 Bad Gateway"), status=502, content_type="text/html")
        case "empty":
            return web.Response(status=fault.get("status", 200))
        case "not_json":
            return web.Response(body=b"it works!", status=fault.get("status", 200), content_type="text/plain")
        case "body":
            body = dump(fault.get("body"))
            return web.Response(body=body, status=fault.get("status", 200), content_type="application/json")
        case "slow":
            return None
        case "hang":
            await asyncio.sleep(HANG_SECONDS)
        case "close":
            pass
        case _:
            code = fault.get("code", 5000)
            return reply(request, code=code, msg=fault.get("msg", CODES.get(code, "")), status=fault.get("status", 200))
    if request.transport is not None:
        await cut(request.transport, "reset")
    return web.Response()
