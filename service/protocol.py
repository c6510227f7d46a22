"""HTTP/1.1 as uvicorn speaks it, with what it leaves open: bounds on heads that do not come and answers that are not
taken, and the envelope for what is no request at all.
"""

import asyncio
import re
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.connection import CONNECTION, Connection
from service.errors import envelope
from service.request_log import new_request_id

# The request line and all headers. Browsers and proxies stay below 16 KiB.
_MAX_HEAD_BYTES = 64 * 1024
# How long a client may take for them.
_HEAD_SECONDS = 30.0
# How many requests may wait behind one before nothing more is read.
_MAX_WAITING_REQUESTS = 4
# How long a client may take nothing of an answer while more of it waits. Until then it costs a few buffers.
_STALLED_SECONDS = 120.0
# How long a connection stays open at a stop, for a request that is on its way to it: a proxy sends those at any time.
_PARTING_SECONDS = 0.5
# A wish to go on in another protocol, which a server may ignore (RFC 9110, section 7.8).
_UPGRADE = re.compile(rb"\r\nupgrade:[^\r\n]*(?=\r\n)", re.IGNORECASE)


class Protocol(HttpToolsProtocol):
    """One connection. A head that is too long or too slow, or that is none, ends it; so does a client that stalls."""

    # What a page may read of the answer to no request at all, whose origin nobody knows.
    cors = b"access-control-allow-origin: *\r\n"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._between_requests = True
        self._in_head = True
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._running: RequestResponseCycle | None = None
        self._connection: Connection | None = None
        self._deaf = False
        self._parting = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        self._stop_stall_timer()
        if self._running is not None and not self._running.response_complete:
            # With a second request waiting behind it, uvicorn would tell only that one.
            self._running.disconnected = True
            self._running.message_event.set()
            if self._connection is not None:
                self._connection.lose()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        was_in_head = self._in_head
        super().data_received(_without_upgrade(data) if self._between_requests else data)
        if was_in_head and self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_HEAD_BYTES:
                self.send_400_response("The request's headers are too large.")
        if self._is_idle():
            # What came may begin no request, and uvicorn waits no more now.
            self._start_head_timer()

    def on_message_begin(self) -> None:
        self._between_requests = False
        self._in_head = True
        self._head_bytes = 0
        self._stop_head_timer()
        super().on_message_begin()

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        if self.pipeline and self.flow.read_paused and self._running is not None:
            # So much behind a request that still runs is not kept. To read no more would hide that the client leaves:
            # what comes is thrown away instead, and the answer that is being made is the connection's last.
            self.pipeline.clear()
            self._running.keep_alive = False
            self._deaf = True
            self.flow.resume_reading()

    def on_message_complete(self) -> None:
        self._between_requests = True
        super().on_message_complete()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_head_timer()
        super().on_headers_complete()
        if self.pipeline and len(self.pipeline) <= _MAX_WAITING_REQUESTS:
            # uvicorn reads no more until the answer before is out, and would not notice that the client leaves.
            self.flow.resume_reading()
        if self.parser.should_upgrade():
            # The parser is done with the request; what still comes would be taken for another one.
            self._deaf = True
            self.cycle.keep_alive = False
        if self._parting:
            self.cycle.keep_alive = False

    def shutdown(self) -> None:
        self._parting = True
        # An answer that has begun cannot say any more that it is the last; if one more request comes, that one's will.
        self.timeout_keep_alive = _PARTING_SECONDS  # type: ignore[assignment] # it takes any number
        if not self._is_idle() and not self.cycle.response_started:
            self.cycle.keep_alive = False
        self.loop.call_later(_PARTING_SECONDS, self._end_if_idle)

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _end_if_idle(self) -> None:
        if self._is_idle():
            self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall_timer = self.loop.call_later(_STALLED_SECONDS, self.transport.abort)
        if self._connection is not None:
            self._connection.on_full()

    def resume_writing(self) -> None:
        self._stop_stall_timer()
        super().resume_writing()
        if self._connection is not None:
            self._connection.on_room()

    def send_400_response(self, msg: str) -> None:
        if self.transport.is_closing():
            return
        running = self._running
        if (
            running is not None
            and not running.response_complete
            and (running.response_started or not running.more_body)
        ):
            # The client waits for this answer, or has a part of it: it is the next thing to be written, or nothing is.
            self.transport.close()
            return
        body = envelope("", msg)
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
            b"%bx-request-id: %b\r\nconnection: close\r\n\r\n%b"
            % (len(body), self.cors, new_request_id().encode(), body)
        )
        self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        self._connection = cycle.scope["state"][CONNECTION] = Connection(self.transport, self.flow)
        super()._start_asgi_task(cycle, app)

    def _too_slow(self) -> None:
        self._head_timer = None
        if not self._between_requests:
            self.send_400_response("The request's headers did not arrive in time.")
        else:
            self.transport.close()

    def _start_head_timer(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(_HEAD_SECONDS, self._too_slow)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_stall_timer(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None


def _without_upgrade(data: bytes) -> bytes:
    """The first bytes of a request without the header by which the parser would take no body."""
    end = data.find(b"\r\n\r\n")
    head = data if end < 0 else data[: end + 2]
    return _UPGRADE.sub(b"", head) + data[len(head) :] if b"upgrade" in head.lower() else data


class NarrowedProtocol(Protocol):
    """The same where not every website may call."""

    cors = b""
