"""The pool of connections to Coze: bounded, each used by one exchange at a time, kept while idle.

Each connection is dialled in a task of its own and goes to the request that has waited longest. So a request that is
cancelled cancels no handshake, and the connection serves the next one.
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

NO_ANSWER = "no answer"  # the cause of a failure where a connection ended before the answer


class _Refusal(NamedTuple):
    """The reason why there is no connection. Not an exception, which would keep the frames of each task in memory."""

    failure: Failure
    cause: str | None


# A place in the queue for a connection.
_Ticket = asyncio.Future[Connection | _Refusal]


def _own_context() -> contextvars.Context:
    """Makes a context for callbacks that outlive a request, whose own context would keep the request in memory."""
    return contextvars.Context()


class Pool:
    """A pool of at most `limit` connections by one `route`. `connect_timeout` is in seconds. Make it in the loop."""

    def __init__(self, route: Route, *, limit: int, connect_timeout: float) -> None:
        self._dialer = Dialer(route, connect_timeout)
        self._limit = limit
        self._connect_timeout = connect_timeout
        self._loop = asyncio.get_running_loop()
        self._open: set[Connection] = set()  # usable: idle or in use
        self._idle: dict[Connection, float] = {}  # since when; the newest is the last
        self._expiry: asyncio.TimerHandle | None = None  # while any is idle
        self._dialling: set[asyncio.Task[Connection]] = set()
        self._waiting: dict[_Ticket, None] = {}  # the oldest is the first
        self._queued: dict[_Ticket, None] = {}  # those of them for which nothing is being dialled, at the limit
        self._closed = False

    async def take(self) -> Connection:
        """Takes the connection that was used last, else a new one. Raises ServiceError."""
        for _ in range(BOUNDS.coze_attempts):
            connection = self._idle.popitem()[0] if self._idle else await self._wait()
            if connection in self._open:
                return connection
        raise ServiceError(BROKE_OFF, cause=NO_ANSWER)

    def keep(self, connection: Connection) -> None:
        """Takes back a usable connection, for the request that has waited longest or for the next one."""
        if connection in self._open and not self._serve(connection):
            self._idle[connection] = self._loop.time()
            if self._expiry is None:
                self._expiry = self._loop.call_later(BOUNDS.coze_idle_seconds, self._expire, context=_own_context())

    def forget(self, connection: Connection) -> None:
        """Removes a connection that has ended, and dials another if a request waits."""
        self._idle.pop(connection, None)
        self._open.discard(connection)
        self._dial_enough()

    async def close(self) -> None:
        """Closes all connections, and those still being dialled."""
        self._closed = True
        if self._expiry is not None:
            self._expiry.cancel()
        for connection in tuple(self._open):
            connection.drop()
        self._dialer.close()
        dialling = tuple(self._dialling)
        for task in dialling:
            task.cancel()
        await asyncio.gather(*dialling, return_exceptions=True)

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
        self._dial_enough()
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
        """Gives the connection to the request that has waited longest. Returns whether there was one."""
        while self._waiting:
            ticket = next(iter(self._waiting))
            self._remove(ticket)
            if not ticket.done():  # as it is if its owner has just left
                ticket.set_result(connection)
                return True
        return False

    def _dial_enough(self) -> None:
        while self._queued and len(self._open) + len(self._dialling) < self._limit and not self._closed:
            ticket = next(iter(self._queued))
            del self._queued[ticket]
            dialling = self._loop.create_task(self._dialer.dial(self), context=_own_context())
            self._dialling.add(dialling)
            dialling.add_done_callback(partial(self._dialled, ticket))

    def _dialled(self, ticket: _Ticket, dialling: asyncio.Task[Connection]) -> None:
        """Serves the request that has waited longest. A failure goes to the one it was dialled for, if still there."""
        self._dialling.discard(dialling)
        if dialling.cancelled():
            return
        error = dialling.exception()
        if error is None:
            connection = dialling.result()
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
        self._dial_enough()
