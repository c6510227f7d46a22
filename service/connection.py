"""The client's connection beyond ASGI: it tells at once that the client leaves, and takes what is written at once.

ASGI has a task wait for the one and await each part of the other. A stream of many small parts pays for that with every
part, so the server (service/protocol.py) puts a `Connection` into the scope of each request.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from litestar.types import Scope
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from service.errors import ClientLeft

T = TypeVar("T")

_KEY = "connection"


def _nothing() -> None:
    pass


class Connection:
    """One request's. Whoever has set `on_left`, `on_full` or `on_room` is called when the client has gone before its
    answer was complete, when it takes no more of it just now, and when it takes more again.
    """

    __slots__ = ("_cycle", "on_full", "on_left", "on_room")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self.on_left: Callable[[], object] = _nothing
        self.on_full: Callable[[], object] = _nothing
        self.on_room: Callable[[], object] = _nothing
        cycle.scope["state"][_KEY] = self

    @property
    def left(self) -> bool:
        return self._cycle.disconnected

    def watch(self) -> None:
        """Makes sure that the end of the connection is noticed, now that the whole request has been read."""
        # uvicorn stops reading behind a large piece of a body, for as long as nobody asks for more.
        self._cycle.flow.resume_reading()

    @property
    def full(self) -> bool:
        return self._cycle.flow.write_paused

    def write(self, part: bytes) -> None:
        """Sends a part of an answer that has begun and whose length nobody has told. A full connection keeps it."""
        cycle = self._cycle
        if not cycle.disconnected:
            # A chunk of RFC 9112, section 7.1.
            cycle.transport.write(b"%x\r\n%b\r\n" % (len(part), part))


def connection_of(scope: Scope) -> Connection:
    connection: Connection = scope["state"][_KEY]
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
