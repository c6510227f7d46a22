"""What a client takes of what is written for it: whether there is room for more, and whether it has stalled."""

import asyncio
import contextlib
import fcntl
import struct
import termios

from service.bounds import BOUNDS


class Outflow:
    """That of one connection. A client that has stalled loses it: until then it costs what is buffered."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Event()
        self._room.set()
        self._lost = False
        self._timer: asyncio.TimerHandle | None = None
        self._waiting = 0  # bytes, when the client last took enough of them
        self._since = 0.0

    @property
    def full(self) -> bool:
        """Whether no more is taken just now."""
        return not self._room.is_set()

    async def room(self) -> bool:
        """Waits until more is taken. False if the client is gone instead."""
        await self._room.wait()
        return not self._lost

    def fill(self) -> None:
        self._room.clear()
        self._watch()

    def empty(self) -> None:
        self._room.set()
        if not self._transport.is_closing():
            self._stop()

    def close(self) -> None:
        """Closes the connection once the client has taken everything."""
        self._transport.close()
        if self._transport.get_write_buffer_size():
            self._watch()

    def lose(self) -> None:
        """The connection is gone."""
        self._lost = True
        self._room.set()
        self._stop()

    def _untaken(self) -> int:
        """Bytes that wait for the client here and in the system, which takes up to some megabytes at once."""
        in_system = 0
        with contextlib.suppress(OSError):
            taken = fcntl.ioctl(self._transport.get_extra_info("socket"), termios.TIOCOUTQ, bytes(4))
            (in_system,) = struct.unpack("i", taken)
        return self._transport.get_write_buffer_size() + in_system

    def _watch(self) -> None:
        if self._timer is None:
            self._waiting = self._untaken()
            self._since = self._loop.time()
            self._timer = self._loop.call_later(BOUNDS.stalled_check_seconds, self._look)

    def _look(self) -> None:
        waiting, now = self._untaken(), self._loop.time()
        if waiting <= self._waiting - BOUNDS.stalled_bytes:
            self._since = now
        elif now - self._since >= BOUNDS.stalled_seconds:
            self._timer = None
            self._transport.abort()
            return
        else:
            # More may have been written since.
            waiting = max(waiting, self._waiting)
        self._waiting = waiting
        self._timer = self._loop.call_later(BOUNDS.stalled_check_seconds, self._look)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
