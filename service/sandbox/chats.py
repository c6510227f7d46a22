"""The chat endpoints: start, retrieve, list its messages, cancel."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from aiohttp import web

from . import studio
from .ask import Ask, read_ask, text_field
from .bots import BOTS
from .codes import CODES
from .history import Conversation
from .play import Poll, Stream, run
from .turn import Steps, Turn
from .wire import ACCOUNT, LOGID, BindError, CozeError, dump, frame, json_object, reply
from .world import RUNNING, WORLD, Chat, World


async def start(request: web.Request) -> web.StreamResponse:
    """POST /v3/chat"""
    world = request.app[WORLD]
    try:
        body = await json_object(request)
        ask = read_ask(body, request.query.get("conversation_id", ""), world)
        conversation = _conversation(world, ask, request[ACCOUNT])
    except CozeError as error:
        if not world.studio:
            raise
        # A BindError needs no look at `stream`, nor may there be a body to look at.
        return studio.refusal(error, not isinstance(error, BindError) and body.get("stream") is not False)
    if conversation.running is not None:
        if not ask.stream:
            raise CozeError(4016)
        busy = frame("error", {"code": 4016, "msg": CODES[4016]}) + frame("done", "[DONE]")
        return web.Response(body=busy, content_type="text/event-stream")
    turn = _new_turn(world, ask, conversation, request[LOGID])
    _keep_question(request, turn)
    steps = BOTS[ask.bot_id].steps(turn)
    return await (_streamed if ask.stream else _polled)(request, turn, steps)


def _conversation(world: World, ask: Ask, account: str) -> Conversation:
    if ask.bot_id not in BOTS:
        raise CozeError(4006)
    found = world.conversation(ask.conversation_id)
    if found is not None and found.owner != account:
        raise CozeError(4101, "user not match") if world.studio else CozeError(4002)
    if found is None and ask.conversation_id and not world.studio:  # the Studio just makes a new one
        raise CozeError(4002)
    spoken = [*(found.context() if found else ()), *ask.messages]
    if not any(message["role"] == "user" for message in spoken):
        raise CozeError(4000, "additional_messages must hold a user's message when the conversation has none.")
    found = found or world.new_conversation(account, bot_id=ask.bot_id, user_id=ask.user_id)
    if not found.name and not world.studio:
        found.name = next((m["content"][:100] for m in ask.messages if m["role"] == "user"), "")
    return found


def _new_turn(world: World, ask: Ask, conversation: Conversation, logid: str) -> Turn:
    chat = Chat(
        id=world.new_id(),
        conversation=conversation,
        section_id=conversation.section_id,
        bot_id=ask.bot_id,
        user_id=ask.user_id,
        streaming=ask.stream,
        saved=ask.saved,
        asked=ask.messages,
        meta_data=ask.meta_data,
        extras=ask.extras,
        created_at=int(time.time()),
        started=time.monotonic(),
        cancel_holds=not world.studio,
    )
    turn = Turn(world, chat, ask, logid)
    world.chats.put(chat.id, chat, 1_000 + sum(len(message["content"]) for message in ask.messages))
    if not world.studio:
        conversation.running = chat
    return turn


def _keep_question(request: web.Request, turn: Turn) -> None:
    """Puts what was asked into the conversation."""
    world, chat = turn.world, turn.chat
    messages = studio.asked(request, turn) if world.studio else chat.asked
    for message in messages:
        ids = {"id": world.new_id(), "conversation_id": chat.conversation.id, "bot_id": chat.bot_id}
        times = {"created_at": chat.created_at, "updated_at": chat.created_at}
        world.keep(chat, {**ids, "chat_id": chat.id, "section_id": chat.section_id, **message, **times})


async def _streamed(request: web.Request, turn: Turn, steps: Steps) -> web.StreamResponse:
    world = turn.world
    stream = Stream(request, turn.chat)
    _play(world, run(turn, steps, stream), stream.ended)
    world.streams += 1
    try:
        await asyncio.shield(stream.ended)
    except asyncio.CancelledError:  # aiohttp says so when the connection is lost
        stream.lost()
        raise
    finally:
        world.streams -= 1
    return stream.response or web.Response()


async def _polled(request: web.Request, turn: Turn, steps: Steps) -> web.StreamResponse:
    poll = Poll(request, turn.chat)
    _play(turn.world, run(turn, steps, poll), poll.answer)
    return await asyncio.shield(poll.answer)


def _play(world: World, playing: Coroutine[Any, Any, None], told: asyncio.Future[Any]) -> None:
    """Runs it apart from its request, to outlive its client; a run that breaks ends the request too."""

    def ended(task: asyncio.Task[None]) -> None:
        world.runs.discard(task)
        if not told.done():
            error = None if task.cancelled() else task.exception()
            if error:
                told.set_exception(error)
            else:
                told.cancel()

    task = asyncio.create_task(playing)
    world.runs.add(task)
    task.add_done_callback(ended)


def _find(request: web.Request, conversation_id: str, chat_id: str) -> Chat:
    if not conversation_id or not chat_id:
        raise CozeError(4000, "conversation_id and chat_id are required.")
    world = request.app[WORLD]
    conversation, chat = world.conversation(conversation_id), world.chats.get(chat_id)
    if conversation is None or conversation.owner != request[ACCOUNT]:
        raise CozeError(4001)
    if chat is None or chat.status == "refused":
        raise CozeError(4001)
    return chat


def _find_to_read(request: web.Request) -> Chat:
    """The chat that a query names. The Studio does not look whether it belongs to the conversation named."""
    conversation_id = request.query.get("conversation_id", "")
    chat = _find(request, conversation_id, request.query.get("chat_id", ""))
    if not chat.saved or (chat.conversation.id != conversation_id and not request.app[WORLD].studio):
        raise CozeError(4001)
    return chat


async def retrieve(request: web.Request) -> web.Response:
    """GET and POST /v3/chat/retrieve"""
    if not request.app[WORLD].studio:
        return reply(request, _find_to_read(request).detail())
    try:
        return reply(request, studio.chat(_find_to_read(request).detail()))
    except CozeError as error:
        return studio.unreadable(error)


async def list_messages(request: web.Request) -> web.Response:
    """GET /v3/chat/message/list"""
    try:
        chat = _find_to_read(request)
    except CozeError as error:
        if request.app[WORLD].studio:
            return studio.unreadable(error)
        raise
    if request.app[WORLD].studio:
        return reply(request, beside={"Messages": [studio.message_of_chat(message) for message in chat.messages]})
    # Coze does not promise the order in which things were said, and lists verbose ones first.
    messages = sorted(chat.messages, key=lambda message: message["type"] != "verbose")
    return reply(request, None if chat.status == "failed" else messages)


async def cancel(request: web.Request) -> web.Response:
    """POST /v3/chat/cancel: flips the state and frees the conversation; an open stream runs on."""
    world = request.app[WORLD]
    body = await json_object(request)
    conversation_id = text_field(body, "conversation_id")
    chat = _find(request, conversation_id, text_field(body, "chat_id"))
    if chat.conversation.id != conversation_id:
        raise CozeError(4001)
    chat.cancel_calls += 1
    if chat.status not in (*RUNNING, "canceled"):
        raise CozeError(4104)
    chat.cancel()
    if not world.studio:
        chat.conversation.canceled.add(chat.id)
    world.release(chat)
    if world.studio:
        answer = {"ChatV3ChatDetail": studio.chat(chat.detail())}
        return web.Response(body=dump(answer), content_type="application/json")
    return reply(request, chat.detail())
