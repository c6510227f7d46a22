"""The conversation endpoints: create, retrieve, list, rename, delete, clear."""

from __future__ import annotations

import re
import time
from typing import Any

from aiohttp import web

from . import studio
from .ask import read_messages, read_meta_data
from .bots import BOTS
from .history import Conversation, Json
from .wire import ACCOUNT, BindError, CozeError, json_object, reply, whole
from .world import KEPT_CONVERSATIONS, WORLD

API, CHAT_SDK = "1024", "999"  # the connectors whose conversations can be listed
LONGEST_NAME = 100


def find(request: web.Request, conversation_id: str, foreign: int = 4002) -> Conversation:
    """A conversation of the token's account. Raises CozeError 4002 for another.

    foreign: the code that the Studio has for what belongs to somebody else, where it tells.
    """
    world = request.app[WORLD]
    if not conversation_id:
        raise BindError(4000, "conversation_id is required.")
    if world.studio and not re.fullmatch(r"\d{1,19}", conversation_id):
        if "id" in request.match_info:  # such a path is none of its open API
            raise studio.NO_SESSION
        raise BindError(4000, "invalid value for conversation_id: an int64 in a string is expected")
    found = world.conversation(conversation_id)
    if found is None:
        raise CozeError(4002)
    if found.owner != request[ACCOUNT]:
        raise CozeError(foreign if world.studio else 4002)
    return found


def _shown(conversation: Conversation) -> Json:
    return {
        "id": conversation.id,
        "name": conversation.name,
        "created_at": conversation.created_at,
        "updated_at": conversation.updated_at,
        "last_section_id": conversation.section_id,
        "creator_id": conversation.owner,
        "connector_id": conversation.connector_id,
        "meta_data": conversation.meta_data,
    }


def _name(body: Json) -> str:
    name = body.get("name")
    if name is not None and (not isinstance(name, str) or len(name) > LONGEST_NAME):
        raise CozeError(4000, f"name takes a string of {LONGEST_NAME} characters at most.")
    return name or ""


async def create(request: web.Request) -> web.Response:
    """POST /v1/conversation/create"""
    world = request.app[WORLD]
    body = await json_object(request, empty=True)
    for name in ("bot_id", "connector_id", "user_id"):
        if not isinstance(body.get(name) or "", str):
            raise CozeError(4000, f"{name} must be a string.")
    bot_id, connector_id = body.get("bot_id") or "", body.get("connector_id") or API
    fields: dict[str, Any] = {"bot_id": bot_id, "meta_data": read_meta_data(body, bounded=not world.studio)}
    if world.studio:  # it lets a name and messages be
        fields |= {"connector_id": CHAT_SDK if connector_id == CHAT_SDK else API, "user_id": body.get("user_id") or ""}
        made = world.new_conversation(request[ACCOUNT], **fields)
        return reply(request, studio.conversation(made, user_id=made.user_id))
    name, messages = _name(body), read_messages(body.get("messages"), True, world, most=16)
    if bot_id and bot_id not in BOTS:
        raise CozeError(5000)
    made = world.new_conversation(request[ACCOUNT], name=name, connector_id=connector_id, **fields)
    now = int(time.time())
    for message in messages:
        ids = {"id": world.new_id(), "conversation_id": made.id, "bot_id": "", "chat_id": ""}
        times = {"section_id": made.section_id, "created_at": now, "updated_at": now}
        world.keep_in(made, {**ids, **message, **times})
    return reply(request, _shown(made))


async def retrieve(request: web.Request) -> web.Response:
    """GET /v1/conversation/retrieve"""
    found = find(request, request.query.get("conversation_id", ""))
    if not request.app[WORLD].studio:
        return reply(request, _shown(found))
    shown = studio.conversation(found, name=found.name, creator_d=found.owner)
    return reply(request, beside={"ConversationData": shown})


async def list_conversations(request: web.Request) -> web.Response:
    """GET /v1/conversations: those of one bot, of everybody behind the token's account."""
    world, query = request.app[WORLD], request.query
    bot_id, connector_id = query.get("bot_id"), query.get("connector_id") or API
    if not bot_id:
        raise CozeError(4000, "bot_id is required.")
    rows = [
        found
        for found in reversed(world.conversations.newest(KEPT_CONVERSATIONS))
        if (found.owner, found.bot_id) == (request[ACCOUNT], bot_id) and not found.deleted
    ]
    if world.studio:
        return _studio_list(request, rows)
    order = query.get("sort_order") or "DESC"
    if order not in ("ASC", "DESC"):
        raise CozeError(4000, "sort_order must be ASC or DESC.")
    if connector_id not in (API, CHAT_SDK):
        raise CozeError(4000, f"connector_id must be {API} or {CHAT_SDK}.")
    number, size = whole(request, "page_num", 1, 1_000_000), whole(request, "page_size", 50, 50)
    rows = [found for found in rows if found.connector_id == connector_id]
    if order == "ASC":
        rows.reverse()
    page = rows[(number - 1) * size : number * size]
    data = {"conversations": [_shown(found) for found in page], "has_more": len(rows) > number * size}
    return reply(request, data)


def _studio_list(request: web.Request, rows: list[Conversation]) -> web.Response:
    """The Studio's page. Without a size it is all rows but the last, and says that there are more."""
    query = request.query
    user_id, number, size = query.get("user_id"), query.get("page_num") or "1", query.get("page_size") or "0"
    if not (number.isdecimal() and size.isdecimal()):
        raise BindError(4000, "invalid value for page_num or page_size: an int64 is expected")
    channel = CHAT_SDK if query.get("connector_id") == CHAT_SDK else API
    rows = [found for found in rows if found.connector_id == channel and user_id in (None, "", found.user_id)]
    if query.get("sort_order", "").lower() == "asc":
        rows.reverse()
    if int(size):
        start = max(int(number) - 1, 0) * int(size)
        page, has_more = rows[start : start + int(size)], len(rows) > start + int(size)
    else:
        page, has_more = rows[:-1], bool(rows)
    shown = [studio.conversation(found, name=found.name, user_id=found.user_id) for found in page]
    return reply(request, {"conversations": shown or None, "has_more": has_more})


async def rename(request: web.Request) -> web.Response:
    """PUT /v1/conversations/{id}: only the cloud needs a name."""
    is_studio = request.app[WORLD].studio
    found = find(request, request.match_info["id"], foreign=4101)
    body = await json_object(request, empty=is_studio)
    name = body.get("name") if is_studio else _name(body)
    if not is_studio and not name:
        raise CozeError(4000, "name is required.")
    if isinstance(name, str) and name:
        found.name, found.updated_at = name, int(time.time())
    return reply(request, studio.renamed(found) if is_studio else _shown(found))


async def delete(request: web.Request) -> web.Response:
    """DELETE /v1/conversations/{id}: gone for good; on the Studio only no longer listed."""
    world = request.app[WORLD]
    found = find(request, request.match_info["id"])
    found.deleted = True
    if not world.studio:
        world.conversations.drop(found.id)
    return reply(request)


async def clear(request: web.Request) -> web.Response:
    """POST /v1/conversations/{id}/clear: a new section; the messages stay to be listed."""
    found = find(request, request.match_info["id"])
    found.section_id = request.app[WORLD].new_id()
    return reply(request, {"id": found.section_id, "conversation_id": found.id})
