"""The conversation endpoints: create, retrieve, list messages."""

from __future__ import annotations

import time

from aiohttp import web

from .ask import read_messages, read_meta_data
from .wire import CozeError, json_object, reply
from .world import WORLD, Conversation, Json, World


def _conversation(conversation: Conversation, studio: bool) -> Json:
    messages = conversation.messages
    return {
        "id": conversation.id,
        "name": conversation.name,
        "created_at": conversation.created_at,
        "updated_at": max([conversation.created_at, *(message["updated_at"] for message in messages[-1:])]),
        "last_section_id": conversation.section_id,
        "creator_d" if studio else "creator_id": "7500000000000000001",
        "connector_id": conversation.connector_id,
        "meta_data": conversation.meta_data or (None if studio else {}),
    }


async def create(request: web.Request) -> web.Response:
    """POST /v1/conversation/create"""
    world = request.app[WORLD]
    body = await json_object(request, empty=True)
    name = body.get("name") or ""
    if not isinstance(name, str) or len(name) > 100:
        raise CozeError(4000, "name takes a string of 100 characters at most.")
    connector_id = body.get("connector_id") or "1024"
    if not isinstance(connector_id, str):
        raise CozeError(4000, "connector_id must be a string.")
    messages = read_messages(body.get("messages"), True, world, most=16)
    conversation = world.new_conversation(name=name, meta_data=read_meta_data(body), connector_id=connector_id)
    now = int(time.time())
    for message in messages:
        kept = {
            **message,
            "id": world.new_id(),
            "conversation_id": conversation.id,
            "bot_id": "",
            "chat_id": "",
        }
        world.keep_in(conversation, {**kept, "created_at": now, "updated_at": now})
    return reply(request, _conversation(conversation, world.studio))


def _find(request: web.Request, world: World) -> Conversation:
    conversation_id = request.query.get("conversation_id")
    if not conversation_id:
        raise CozeError(4000, "conversation_id is required.")
    conversation = world.conversation(conversation_id)
    if conversation is None:
        raise CozeError(4002)
    return conversation


async def retrieve(request: web.Request) -> web.Response:
    """GET /v1/conversation/retrieve"""
    world = request.app[WORLD]
    return reply(request, _conversation(_find(request, world), world.studio))


async def list_messages(request: web.Request) -> web.Response:
    """POST and GET /v1/conversation/message/list: newest first unless order is asc, 50 at most."""
    world = request.app[WORLD]
    conversation = _find(request, world)
    body: Json = {**request.query, **await json_object(request, empty=True)}
    order, limit = body.get("order") or "desc", body.get("limit")
    if limit is None:
        limit = 50
    elif limit == request.query.get("limit") and limit.isdecimal():
        limit = int(limit)
    if order not in ("asc", "desc"):
        raise CozeError(4000, "order must be asc or desc.")
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= 50:
        raise CozeError(4000, "limit takes 1 to 50.")
    messages = [m for m in conversation.messages if body.get("chat_id") in (None, "", m["chat_id"])]
    if order == "desc":
        messages.reverse()
    ids = [message["id"] for message in messages]
    before, after = body.get("before_id"), body.get("after_id")
    # Both are places in the order asked for: a page lies after one, or ends before the other.
    if after in ids:
        messages = messages[ids.index(after) + 1 :]
    elif before in ids:
        messages = messages[: ids.index(before)]
    page = messages[-limit:] if before in ids and after not in ids else messages[:limit]
    beside = {
        "first_id": page[0]["id"] if page else "",
        "last_id": page[-1]["id"] if page else "",
        "has_more": len(page) < len(messages),
    }
    return reply(request, page, beside=beside)
