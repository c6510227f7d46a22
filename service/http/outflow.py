"""Backpressure of a client's connection: whether more may be written, and whether the client has stalled."""

import asyncio
import contextlib
import fcntl
import struct
import termios

from service.bounds import BOUNDS


class Outflow:
    """Write side of one connection, which is aborted once the client has stalled. Until then it costs its buffer."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._writable = asyncio.Event()
        self._writable.set()
        self._lost = False
        self._timer: asyncio.TimerHandle | None = None
        self._unread_bytes = 0  # when the client last took enough of them
        self._since = 0.0

    @property
    def full(self) -> bool:
        """Whether the write buffer is above its high-water mark."""
        return not self._writable.is_set()

    async def drained(self) -> bool:
        """Waits until more may be written. Returns False if the connection is lost instead."""
        await self._writable.wait()
        return not self._lost

    def fill(self) -> None:
        """Takes note that the buffer is full, and begins to watch for a stall."""
        self._writable.clear()
        self._watch()

    def empty(self) -> None:
        """Takes note that the buffer has drained, and wakes the writers."""
        self._writable.set()
        if not self._transport.is_closing():
            self._stop_watching()

    def close(self) -> None:
        """Closes the connection once everything is written."""
        self._transport.close()
        if self._transport.get_write_buffer_size():
            self._watch()

    def lose(self) -> None:
        """Takes note that the connection is lost, and wakes the writers."""
        self._lost = True
        self._writable.set()
        self._stop_watching()

    def _untaken(self) -> int:
        """Returns the bytes not yet acknowledged: ours, and the kernel's, which buffers up to some megabytes."""
        in_system = 0
        with contextlib.suppress(OSError):
            taken = fcntl.ioctl(self._transport.get_extra_info("socket"), termios.TIOCOUTQ, bytes(4))
            (in_system,) = struct.unpack("i", taken)
        return self._transport.get_write_buffer_size() + in_system

    def _watch(self) -> None:
        if self._timer is None:
            self._unread_bytes = self._untaken()
            self._since = self._loop.time()
            self._timer = self._loop.call_later(BOUNDS.stalled_check_seconds, self._check_progress)

    def _check_progress(self) -> None:
        waiting, now = self._untaken(), self._loop.time()
        if waiting <= self._unread_bytes - BOUNDS.stalled_bytes:
            self._since = now
        elif now - self._since >= BOUNDS.stalled_seconds:
            self._timer = None
            self._transport.abort()
            return
        else:
            # More may have been written since.
            waiting = max(waiting, self._unread_bytes)
        self._unread_bytes = waiting
        self._timer = self._loop.call_later(BOUNDS.stalled_check_seconds, self._check_progress)

    def _stop_watching(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
