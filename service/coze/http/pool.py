"""The connections to Coze: bounded in number, used by one exchange at a time, kept while idle.

Each is made in a task of its own, for whoever has waited longest. So nobody who leaves cancels a handshake, and what
was made serves the next who asks.
"""

import asyncio
import contextvars
from functools import partial
from typing import NamedTuple

from service.bounds import BOUNDS
from service.coze.errors import BROKE_OFF, TIMED_OUT
from service.coze.http.connection import Connection
from service.coze.http.dialer import Dialer
from service.coze.http.route import Route
from service.errors import Failure, ServiceError

NO_ANSWER = "no answer"  # the cause of the failure if a connection ends before an answer


class _Refusal(NamedTuple):
    """Why there is no connection. Not an exception: that would keep the frames of each task that raises it."""

    failure: Failure
    cause: str | None


# Of one who waits: is told what has come of it.
_Ticket = asyncio.Future[Connection | _Refusal]


def _own_context() -> contextvars.Context:
    """A context for what outlives the request that asks for it, and would hold all of it in its own."""
    return contextvars.Context()


class Pool:
    """At most `limit` connections by one `route`. To be made in the loop; `connect_timeout` is in seconds."""

    def __init__(self, route: Route, *, limit: int, connect_timeout: float) -> None:
        self._dialer = Dialer(route, connect_timeout)
        self._limit = limit
        self._connect_timeout = connect_timeout
        self._loop = asyncio.get_running_loop()
        self._open: set[Connection] = set()  # those that are good for something
        self._idle: dict[Connection, float] = {}  # since when; the newest is the last
        self._expiry: asyncio.TimerHandle | None = None  # while any is idle
        self._making: set[asyncio.Task[Connection]] = set()
        self._waiting: dict[_Ticket, None] = {}  # the oldest is the first
        self._queued: dict[_Ticket, None] = {}  # those of them for which none is being made, as too many are open
        self._closed = False

    async def take(self) -> Connection:
        """The connection that has been idle for the shortest time, else a new one. Raises ServiceError."""
        for _ in range(BOUNDS.coze_attempts):
            connection = self._idle.popitem()[0] if self._idle else await self._wait()
            if connection in self._open:
                return connection
        raise ServiceError(BROKE_OFF, cause=NO_ANSWER)

    def keep(self, connection: Connection) -> None:
        """Takes a good connection that nobody uses: for whoever has waited longest, or for the next to come."""
        if connection in self._open and not self._serve(connection):
            self._idle[connection] = self._loop.time()
            if self._expiry is None:
                self._expiry = self._loop.call_later(BOUNDS.coze_idle_seconds, self._expire, context=_own_context())

    def forget(self, connection: Connection) -> None:
        self._idle.pop(connection, None)
        self._open.discard(connection)
        self._make_enough()

    async def close(self) -> None:
        """Ends all connections, also those that are still being made."""
        self._closed = True
        if self._expiry is not None:
            self._expiry.cancel()
        for connection in tuple(self._open):
            connection.drop()
        self._dialer.close()
        making = tuple(self._making)
        for task in making:
            task.cancel()
        await asyncio.gather(*making, return_exceptions=True)

    def _expire(self) -> None:
        self._expiry = None
        for connection, since in tuple(self._idle.items()):
            ends = since + BOUNDS.coze_idle_seconds
            if ends > self._loop.time():
                self._expiry = self._loop.call_at(ends, self._expire)
                return
            connection.drop()

    async def _wait(self) -> Connection:
        ticket: _Ticket = self._loop.create_future()
        self._waiting[ticket] = self._queued[ticket] = None
        self._make_enough()
        try:
            async with asyncio.timeout(self._connect_timeout):
                found = await ticket
        except BaseException as error:
            self._remove(ticket)
            if ticket.done() and not ticket.cancelled() and isinstance(late := ticket.result(), Connection):
                self.keep(late)
            if isinstance(error, TimeoutError):
                raise ServiceError(TIMED_OUT, cause="no connection in time") from None
            raise
        if isinstance(found, _Refusal):
            raise ServiceError(found.failure, cause=found.cause)
        return found

    def _remove(self, ticket: _Ticket) -> None:
        self._waiting.pop(ticket, None)
        self._queued.pop(ticket, None)

    def _serve(self, connection: Connection) -> bool:
        """Whether somebody waited, who has it now."""
        while self._waiting:
            ticket = next(iter(self._waiting))
            self._remove(ticket)
            if not ticket.done():  # as it is if its owner has just left
                ticket.set_result(connection)
                return True
        return False

    def _make_enough(self) -> None:
        while self._queued and len(self._open) + len(self._making) < self._limit and not self._closed:
            ticket = next(iter(self._queued))
            del self._queued[ticket]
            making = self._loop.create_task(self._dialer.dial(self), context=_own_context())
            self._making.add(making)
            making.add_done_callback(partial(self._made, ticket))

    def _made(self, ticket: _Ticket, making: asyncio.Task[Connection]) -> None:
        """Serves whoever has waited longest. A failure is told to the one for whom it was made, if still waiting."""
        self._making.discard(making)
        if making.cancelled():
            return
        error = making.exception()
        if error is None:
            connection = making.result()
            if not connection.transport.is_closing():
                self._open.add(connection)
            if self._closed:
                connection.drop()
            elif not self._serve(connection):
                self.keep(connection)
        elif ticket in self._waiting and not ticket.done():
            self._remove(ticket)
            known = error if isinstance(error, ServiceError) else ServiceError(BROKE_OFF, cause=type(error).__name__)
            ticket.set_result(_Refusal(known.failure, known.cause))
        self._make_enough()
