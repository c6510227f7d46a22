"""The messages of a conversation: to list, to look at one, to say what one thinks of it."""

from __future__ import annotations

from aiohttp import web

from . import studio
from .conversations import find
from .history import Conversation, Json, Kept
from .wire import BindError, CozeError, json_object, reply
from .world import KEPT_CONVERSATIONS, WORLD, World

MOST = 50  # on a page of the cloud
POSITIONS = ("before_id", "after_id")


async def list_messages(request: web.Request) -> web.Response:
    """POST and GET /v1/conversation/message/list: newest first."""
    world = request.app[WORLD]
    conversation = find(request, request.query.get("conversation_id", ""), foreign=4101)
    body: Json = {**request.query, **await json_object(request, empty=True)}
    if world.studio:
        return _studio_page(request, conversation, body)
    order, limit = body.get("order") or "desc", body.get("limit")
    if limit is None:
        limit = MOST
    elif limit == request.query.get("limit") and limit.isdecimal():
        limit = int(limit)
    if order not in ("asc", "desc"):
        raise CozeError(4000, "order must be asc or desc.")
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MOST:
        raise CozeError(4000, f"limit takes 1 to {MOST}.")
    messages = [kept.message for kept in conversation.spoken()]
    chat_id = body.get("chat_id")
    if chat_id:  # gives the answers alone
        messages = [m for m in messages if m["chat_id"] == chat_id and m["role"] == "assistant"]
    if order == "desc":
        messages.reverse()
    page, has_more = _page(messages, limit, *(str(body.get(name) or "") for name in POSITIONS))
    # Both are named as if the newest came first, whatever the order: in ascending order they lead nowhere.
    first, last = (page[:1], page[-1:]) if order == "desc" else (page[-1:], page[:1])
    beside = {
        "first_id": first[0]["id"] if first else "",
        "last_id": last[0]["id"] if last else "",
        "has_more": has_more,
    }
    shown = [_as_in_samples(message) for message in page] if world.dials.sample_messages else page
    return reply(request, shown, beside=beside)


def _page(messages: list[Json], limit: int, before: str, after: str) -> tuple[list[Json], bool]:
    """A page, and whether there is more. Both are places in the order asked for: a page lies after one, or ends
    before the other. What is no place here is let be.
    """
    ids = [message["id"] for message in messages]
    if after in ids:
        messages = messages[ids.index(after) + 1 :]
    elif before in ids:
        messages = messages[: ids.index(before)]
        return messages[-limit:], len(messages) > limit
    return messages[:limit], len(messages) > limit


def _as_in_samples(message: Json) -> Json:
    """A message as samples of Coze's documents show it: a question there may belong to no chat and no bot."""
    times = {name: str(message[name]) for name in ("created_at", "updated_at")}
    return {**message, "type": "", **times, **({"chat_id": "", "bot_id": ""} if message["role"] == "user" else {})}


def _studio_page(request: web.Request, conversation: Conversation, body: Json) -> web.Response:
    """The Studio's paging, which goes by time; `order` means nothing to it."""
    limit = body.get("limit", 50)
    if not isinstance(limit, int) or isinstance(limit, bool):
        raise BindError(4000, "invalid value for limit: an int64 is expected")
    rows = sorted(conversation.spoken(), key=lambda kept: kept.at_ms)[::-1]
    if body.get("chat_id"):
        rows = [kept for kept in rows if kept.message["chat_id"] == body["chat_id"]]
    before, after = (str(body.get(name) or "0") for name in POSITIONS)
    if before != "0":
        at_ms = _any_message(request.app[WORLD], conversation, before).at_ms
        rows = [kept for kept in reversed(rows) if kept.at_ms > at_ms]
    elif after != "0":
        at_ms = _any_message(request.app[WORLD], conversation, after).at_ms
        rows = [kept for kept in rows if kept.at_ms < at_ms]
    page = [studio.message(kept.message) for kept in rows[:limit]]
    beside = {
        "first_id": page[0]["id"] if page else "0",
        "last_id": page[-1]["id"] if page else "0",
        "has_more": len(rows) > limit,
    }
    return reply(request, page or None, beside=beside)


def _any_message(world: World, conversation: Conversation, message_id: str) -> Kept:
    """A message of this conversation, else of any: the Studio's positions are not tied to one."""
    for found in (conversation, *world.conversations.newest(KEPT_CONVERSATIONS)):
        if kept := found.find(message_id):
            return kept
    raise CozeError(500, "record not found", 500)


async def retrieve(request: web.Request) -> web.Response:
    """GET /v1/conversation/message/retrieve"""
    conversation = find(request, request.query.get("conversation_id", ""))
    return reply(request, _find(conversation, request.query.get("message_id", "")))


def _find(conversation: Conversation, message_id: str) -> Json:
    if not message_id:
        raise CozeError(4000, "message_id is required.")
    kept = conversation.find(message_id)
    if kept is None:
        raise CozeError(4005)
    return kept.message


def _answer(request: web.Request) -> tuple[Conversation, str]:
    """The message that a feedback's path names: only an answer in text can have one."""
    conversation = find(request, request.match_info["id"])
    message = _find(conversation, request.match_info["message_id"])
    if (message["type"], message["content_type"]) != ("answer", "text"):
        raise CozeError(4005)
    return conversation, message["id"]


async def give_feedback(request: web.Request) -> web.Response:
    """POST /v1/conversations/{id}/messages/{message_id}/feedback: the last one counts."""
    conversation, message_id = _answer(request)
    body = await json_object(request)
    reasons, comment = body.get("reason_types"), body.get("comment")
    if body.get("feedback_type") not in ("like", "unlike"):
        raise CozeError(4000, "feedback_type must be like or unlike.")
    if reasons is not None:
        if not isinstance(reasons, list) or not all(isinstance(reason, str) for reason in reasons):
            raise CozeError(4000, "reason_types must be an array of strings.")
        if len(reasons) > 10 or any(len(reason) > 30 for reason in reasons):
            raise CozeError(4000, "reason_types takes 10 reasons of 30 characters at most.")
    if comment is not None and (not isinstance(comment, str) or len(comment) > 250):
        raise CozeError(4000, "comment takes a string of 250 characters at most.")
    given = {"feedback_type": body["feedback_type"], "reason_types": reasons, "comment": comment}
    conversation.feedback[message_id] = {name: value for name, value in given.items() if value is not None}
    return reply(request)


async def take_back_feedback(request: web.Request) -> web.Response:
    """DELETE /v1/conversations/{id}/messages/{message_id}/feedback, also where there is none."""
    conversation, message_id = _answer(request)
    conversation.feedback.pop(message_id, None)
    return reply(request)
