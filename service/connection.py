"""The client's connection beyond ASGI: it tells at once that the client leaves, and takes what is written at once.

ASGI has a task wait for the one and await each part of the other. A stream of many small parts pays for that with every
part, so the server (service/protocol.py) puts a `Connection` into the scope of each request.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from litestar.types import Scope
from uvicorn.protocols.http.flow_control import FlowControl

from service.errors import ClientLeft

T = TypeVar("T")

CONNECTION = "connection"  # its place in the state of a scope


def _nothing() -> None:
    pass


class Connection:
    """One request's. Whoever has set `on_left`, `on_full` or `on_room` is called when the client has gone before its
    answer was complete, when it takes no more of it just now, and when it takes more again.
    """

    __slots__ = ("_flow", "_transport", "left", "on_full", "on_left", "on_room")

    def __init__(self, transport: asyncio.Transport, flow: FlowControl) -> None:
        self._transport = transport
        self._flow = flow
        self.left = False
        self.on_left: Callable[[], object] = _nothing
        self.on_full: Callable[[], object] = _nothing
        self.on_room: Callable[[], object] = _nothing

    @property
    def full(self) -> bool:
        return self._flow.write_paused

    def write(self, part: bytes) -> None:
        """Sends a part of an answer that has begun and whose length nobody has told. A full connection keeps it."""
        if not self.left:
            # A chunk of RFC 9112, section 7.1.
            self._transport.write(b"%x\r\n%b\r\n" % (len(part), part))

    def watch(self) -> None:
        """Makes sure that the end of the connection is noticed, now that the whole request has been read."""
        # uvicorn stops reading behind a large piece of a body, for as long as nobody asks for more.
        self._flow.resume_reading()

    def lose(self) -> None:
        """For the server: the client has gone."""
        self.left = True
        self.on_left()


def connection_of(scope: Scope) -> Connection:
    connection: Connection = scope["state"][CONNECTION]
    return connection


async def unless_client_leaves(connection: Connection, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled, raising ClientLeft, as soon as the client closes its connection."""
    if connection.left:
        work.close()
        raise ClientLeft
    task = asyncio.current_task()
    assert task is not None
    others = task.cancelling()
    left = False

    def on_left() -> None:
        nonlocal left
        left = True
        task.cancel()

    connection.on_left = on_left
    connection.watch()
    try:
        result = await work
        if not left:
            return result
    except asyncio.CancelledError:
        # Ours, unless somebody else wants the task cancelled too.
        if not left or task.cancelling() > others + 1:
            raise
    finally:
        connection.on_left = _nothing
        if left:
            task.uncancel()
    raise ClientLeft
