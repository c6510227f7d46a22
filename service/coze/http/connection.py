"""A connection to Coze, and what happens on it, told to whoever uses it just now."""

import asyncio
from typing import Protocol, cast


class User(Protocol):
    """Uses a connection, and is told what happens on it."""

    def data_received(self, data: bytes) -> None: ...

    def cut_off(self, exc: Exception | None) -> None: ...


class Owner(Protocol):
    """Has the connections that nobody uses."""

    def keep(self, connection: "Connection") -> None:
        """Takes one that nobody uses any more."""

    def forget(self, connection: "Connection") -> None:
        """Counts no more on one that has ended, or is about to."""


class Connection(asyncio.Protocol):
    """One of `owner`'s. What comes between two uses would be taken for the next answer, so it ends it."""

    transport: asyncio.Transport

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self.user: User | None = None
        self.drained: asyncio.Future[None] | None = None  # to be awaited before more is written: the other side is slow

    def give_back(self) -> None:
        """Ends its use; another request may follow on it."""
        self.user = None
        self._owner.keep(self)

    def drop(self) -> None:
        """Ends it. What is still to be sent is thrown away: the other side may never take it."""
        self.user = None
        self._owner.forget(self)
        self.resume_writing()
        # Not within data_received: uvloop's TLS goes on with the transport behind that.
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
