"""Plays a bot's steps: to the client while it is there, to the end in any case."""

from __future__ import annotations

import asyncio
import socket
import struct

from aiohttp import web

from . import studio
from .turn import Cut, Event, Hang, Open, Pause, Raw, Reply, Step, Steps, Turn
from .wire import LOGID, dump, frame
from .world import WORLD, Chat

BATCH = 64 * 1024  # bytes that may leave in one write when there is no pause between words
HANG_SECONDS = 600.0
# Set on a request whose answer must have no Content-Type; aiohttp would put one.
NO_CONTENT_TYPE = web.RequestKey("no_content_type", bool)


class Stream:
    """The client's side of a streamed chat. `ended` is set when the client has all that it will get."""

    def __init__(self, request: web.Request, chat: Chat) -> None:
        self._request = request
        self._chat = chat
        self._studio = request.app[WORLD].studio
        self._batch = 1 if request.app[WORLD].dials.delta_seconds else BATCH
        self._buffer = bytearray()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.response: web.StreamResponse | None = None

    async def take(self, step: Step) -> None:
        if self.ended.done():
            return
        match step:
            case Event(name, data):
                self._buffer += studio.frame_event(name, data) if self._studio else frame(name, data)
            case Raw(data):
                self._buffer += data
            case Open(content_type):
                await self._open(content_type)
            case Reply():
                self.response = plain(self._request, step)
                self._end()
            case Cut(how):
                await self._cut(how)
        if len(self._buffer) >= self._batch:
            await self.flush()
            await asyncio.sleep(0)  # let others have the loop

    async def flush(self) -> None:
        if not self._buffer or self.ended.done():
            return
        response = self.response or await self._open("text/event-stream")
        data, self._buffer = bytes(self._buffer), bytearray()
        try:
            await response.write(data)
        except ConnectionError:
            self.lost()

    async def close(self) -> None:
        await self.flush()
        self._end()

    async def _open(self, content_type: str | None) -> web.StreamResponse:
        self.response = response = web.StreamResponse()
        if content_type is None:
            self._request[NO_CONTENT_TYPE] = True
        else:
            response.headers["Content-Type"] = content_type
        if self._studio:
            response.headers["X-Accel-Buffering"] = "no"
        try:
            writer = await response.prepare(self._request)
            if writer is not None:
                writer.send_headers()
        except ConnectionError:
            self.lost()
        return response

    async def _cut(self, how: str) -> None:
        await self.flush()
        if how == "eof":
            if self.response is None:
                await self._open("text/event-stream")
        elif self._request.transport is not None:
            await cut(self._request.transport, how)
        self._end()

    def lost(self) -> None:
        """The client has closed the connection."""
        if not self.ended.done():
            self._chat.left()
            self._end()

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


class Poll:
    """The client's side of a chat that it will poll: all it gets at once is the first step, or a Chat."""

    def __init__(self, request: web.Request, chat: Chat) -> None:
        self._request = request
        self._chat = chat
        self.answer: asyncio.Future[web.StreamResponse] = asyncio.get_running_loop().create_future()

    async def take(self, step: Step) -> None:
        if self.answer.done():
            return
        if isinstance(step, Reply):
            self.answer.set_result(plain(self._request, step))
        elif isinstance(step, Cut) and step.how == "reset":
            if self._request.transport is not None:
                await cut(self._request.transport, step.how)
            self.answer.set_result(web.Response())
        elif not isinstance(step, Pause | Hang):
            world = self._request.app[WORLD]
            detail = self._chat.detail()
            # The Studio answers with "created"; of the cloud we know that SDKs need "in_progress" to poll.
            detail["status"] = "created" if world.studio else "in_progress"
            body = {"code": 0, "msg": "", "data": studio.chat(detail) if world.studio else detail}
            if not world.studio:
                body["detail"] = {"logid": self._request[LOGID]}
            self.answer.set_result(web.Response(body=dump(body), content_type="application/json"))

    async def flush(self) -> None:
        pass

    async def close(self) -> None:
        await self.take(Open())


def plain(request: web.Request, step: Reply) -> web.Response:
    response = web.Response(body=step.body, status=step.status, headers=step.headers)
    if step.content_type:
        response.headers["Content-Type"] = step.content_type
    else:
        request[NO_CONTENT_TYPE] = True
    return response


async def cut(transport: asyncio.Transport, how: str) -> None:
    """Ends a connection as no proper server does."""
    if how == "half":
        # Announces more bytes than come, past aiohttp, which would never leave a chunk unfinished.
        transport.write(b'1000\r\nevent:conversation.message.delta\ndata:{"id":"')
        transport.close()
        return
    await asyncio.sleep(0.05)  # what was written arrives first
    linger = struct.pack("ii", 1, 0)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    transport.abort()


async def run(turn: Turn, steps: Steps, client: Stream | Poll) -> None:
    """Plays the steps at their pace, whether or not the client stays."""
    chat = turn.chat
    try:
        for step in steps:
            if chat.pointless.is_set():
                return
            match step:
                case Pause(seconds):
                    await client.flush()
                    await _wait(chat, seconds)
                case Hang():
                    await client.flush()
                    await _wait(chat, HANG_SECONDS)
                    await client.take(Cut("reset"))
                    return
                case Reply():
                    chat.status = "refused"
                    turn.world.forget_turn(chat)
                    await client.take(step)
                case _:
                    await client.take(step)
    finally:
        chat.end("failed")  # unless the steps gave it an end
        turn.world.release(chat)
    await client.close()


async def _wait(chat: Chat, seconds: float) -> None:
    if seconds < 1:
        await asyncio.sleep(seconds)
        return
    try:
        async with asyncio.timeout(seconds):
            await chat.pointless.wait()
    except TimeoutError:
        pass
