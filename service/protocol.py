"""HTTP/1.1 as uvicorn speaks it, with what it leaves open: bounds on a request's head, and the envelope for what is
no request at all.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.errors import envelope
from service.request_log import new_request_id

# The request line and all headers. Browsers and proxies stay below 16 KiB.
_MAX_HEAD_BYTES = 64 * 1024
# How long a client may take for them.
_HEAD_SECONDS = 30.0


class Protocol(HttpToolsProtocol):
    """One connection. A head that is too long or too slow, or that is none, ends it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = True
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(_HEAD_SECONDS, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._in_head or self.transport.is_closing():
            return
        self._head_bytes += len(data)
        if self._head_bytes > _MAX_HEAD_BYTES:
            self.send_400_response("The request's headers are too large.")
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(_HEAD_SECONDS, self._too_slow)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_head = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        body = envelope("", msg)
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
            b"access-control-allow-origin: *\r\nx-request-id: %b\r\nconnection: close\r\n\r\n%b"
            % (len(body), new_request_id().encode(), body)
        )
        self.transport.close()

    def _too_slow(self) -> None:
        self._head_timer = None
        if self._head_bytes:
            self.send_400_response("The request's headers did not arrive in time.")
        else:
            self.transport.close()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
