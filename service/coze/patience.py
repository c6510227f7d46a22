"""Waiting with a deadline, cheaply: what asyncio.timeout does, without its cost for each of very many short waits."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


class Patience:
    """For the task that makes it, which waits again and again. One timer serves all the waits: it is set anew only when
    it has run out, or when a wait is to end sooner than that.
    """

    __slots__ = ("_deadline", "_loop", "_ran_out", "_rings_at", "_task", "_timer", "_waiting")

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._loop = task.get_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = 0.0
        self._deadline = 0.0
        self._waiting = False
        self._ran_out = False

    async def wait(self, awaited: Awaitable[T], deadline: float) -> T:
        """The result of `awaited`. Raises TimeoutError at the loop's time `deadline`, having cancelled it."""
        self._deadline = deadline
        if self._timer is None or deadline < self._rings_at:
            self._set(deadline)
        self._waiting = True
        try:
            return await awaited
        except asyncio.CancelledError:
            # Ours, unless somebody else wants the task cancelled too.
            if self._ran_out and self._task.uncancel() == 0:
                raise TimeoutError from None
            raise
        finally:
            self._waiting = False
            self._ran_out = False

    def end(self) -> None:
        """Ends the wait, if there is one just now, as if its time had run out."""
        if self._waiting:
            self._ran_out = True
            self._task.cancel()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = at
        self._timer = self._loop.call_at(at, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if not self._waiting:
            return
        if self._loop.time() < self._deadline:
            self._set(self._deadline)
        else:
            self.end()
