"""A kept answer as an answer to one request: its events from some place on."""

import asyncio

from litestar.enums import ScopeType
from litestar.types import Receive, Scope, Send

from service.answers.events import PING, STREAM_HEADERS
from service.bounds import BOUNDS
from service.errors import ClientLeft
from service.http.connection import Connection, connection_of, unless_client_leaves
from service.kept.answer import KeptAnswer
from service.observe import metrics


class FollowedStream:
    """An ASGI response: the events of `answer` behind number `after`, as they come, to its end.

    Whoever leaves ends nothing. A slow client falls behind, and holds up nobody. Where another process goes on with the
    answer the connection is lost, for the client to come back.
    """

    def __init__(self, answer: KeptAnswer, after: int, heartbeat: float) -> None:
        self._answer = answer
        self._at = after
        self._heartbeat = heartbeat

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        metrics.OPEN_STREAMS.inc()
        try:
            async with self._answer.followed():
                headers = [*STREAM_HEADERS, (b"answer-id", self._answer.answer_id.encode())]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                if scope["type"] == ScopeType.HTTP and scope["method"] == "HEAD":
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                    return
                connection = connection_of(scope)
                await unless_client_leaves(connection, self._write(connection))
        except ClientLeft:
            pass
        finally:
            metrics.OPEN_STREAMS.dec()

    async def _write(self, connection: Connection) -> None:
        answer = self._answer
        while True:
            # Take no more until the client has read what was written: its place in the list costs no memory.
            while connection.full:
                if not await connection.drained():
                    return
            part = self._next()
            if part:
                connection.write(part)
            elif answer.over:
                connection.end()
                return
            elif answer.left:
                return
            else:
                await answer.news(self._at, self._heartbeat)
                if answer.shown <= self._at and not answer.over and not answer.left:
                    connection.write(PING)
                # So that a burst of small events goes out in few writes.
                await asyncio.sleep(0)

    def _next(self) -> bytes:
        """Takes the events that go into one write."""
        parts, shown, size = self._answer.parts, self._answer.shown, 0
        begin = self._at
        while self._at < shown and size < BOUNDS.write_bytes:
            size += len(parts[self._at])
            self._at += 1
        return b"".join(parts[begin : self._at])
