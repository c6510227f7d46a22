"""Noticing a client that goes away while the service works for it."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from litestar.types import Receive

from service.errors import ClientLeft

T = TypeVar("T")


async def unless_client_leaves(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled, raising ClientLeft, as soon as the client closes its connection.

    The request's body must have been read: what `receive` gives next is then the end of the connection.
    """
    watching = asyncio.current_task()
    assert watching is not None
    # The work has a task of its own: one that wakes up often should not wake up through the whole framework.
    working = asyncio.ensure_future(work)
    waiting, finished = True, False

    def on_finished(_: object) -> None:
        nonlocal finished
        if waiting:
            finished = True
            watching.cancel()

    working.add_done_callback(on_finished)
    try:
        while (await receive())["type"] != "http.disconnect":
            pass
        # Who has the whole answer is told to be gone before the end of the work is told of.
        finished = working.done()
    except asyncio.CancelledError:
        # The end of the work, unless somebody else wants this task cancelled too.
        if not finished or watching.uncancel() > 0:
            raise
    finally:
        waiting = False
        if not working.done():
            working.cancel()
            await asyncio.wait((working,))
    if finished:
        return working.result()
    raise ClientLeft
