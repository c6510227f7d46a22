"""Connections to Coze, each of which reports to its current user."""

import asyncio
from typing import Protocol, cast


class User(Protocol):
    """The current user of a connection, which receives its bytes and its end."""

    def data_received(self, data: bytes) -> None: ...

    def cut_off(self, exc: Exception | None) -> None: ...


class Owner(Protocol):
    """The owner of idle connections."""

    def keep(self, connection: "Connection") -> None:
        """Takes back a connection that is idle again."""

    def forget(self, connection: "Connection") -> None:
        """Removes a connection that has ended, or is about to."""


class Connection(asyncio.Protocol):
    """A connection of `owner`. Bytes that arrive while it is idle end it, as they could pass for the next answer."""

    transport: asyncio.Transport

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self.user: User | None = None
        self.drained: asyncio.Future[None] | None = None  # awaited before more is written, while the buffer is full

    def give_back(self) -> None:
        """Returns the connection to its owner for another request."""
        self.user = None
        self._owner.keep(self)

    def drop(self) -> None:
        """Aborts the connection. Unsent bytes are discarded, as the other side may never read them."""
        self.user = None
        self._owner.forget(self)
        self.resume_writing()
        # Not within data_received: uvloop's TLS still uses the transport after that.
        asyncio.get_running_loop().call_soon(self.transport.abort)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self.user is None:
            self.drop()
        else:
            self.user.data_received(data)

    def eof_received(self) -> None:
        self._owner.forget(self)
        if self.user is not None:
            self.user.cut_off(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.forget(self)
        if self.user is not None:
            self.user.cut_off(exc)

    def pause_writing(self) -> None:
        self.drained = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        drained, self.drained = self.drained, None
        if drained is not None and not drained.done():  # as it is if the writer was cancelled
            drained.set_result(None)
