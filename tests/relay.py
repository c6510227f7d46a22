"""A network between clients and a server that loses connections."""

import contextlib
import socket
import socketserver
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

ANSWERED = (b"POST /api/v1/chat ", b"GET /api/v1/answers/")
AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER with which a close is a reset


class Relay(socketserver.ThreadingTCPServer):
    """Passes bytes on between its clients and the server at `address`, and cuts connections on which an answer comes.

    `plan` is called for each request for an answer. It says after how many bytes its connection is cut; None is never.
    """

    daemon_threads = True

    def __init__(self, address: tuple[str, int], plan: Callable[[], int | None]) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.address, self.plan, self.cuts = address, plan, 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self._thread = threading.Thread(target=self.serve_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Connection(socketserver.BaseRequestHandler):
    server: Relay
    left: int | None = None  # bytes until the cut

    def handle(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError), socket.create_connection(self.server.address, timeout=60) as service:
            service.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._pass_on, args=(service,), daemon=True).start()
            while part := service.recv(65536):
                left = self.left
                if left is None or len(part) < left:
                    self.left = None if left is None else left - len(part)
                    self.request.sendall(part)
                    continue
                # A head is whole or not there. Chromium takes one that is cut for a whole one, other than over TLS.
                self.request.sendall(part[: left if left > part.find(b"\r\n\r\n") + 4 else 0])
                self.server.cuts += 1
                self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
                return
            self.request.shutdown(socket.SHUT_RDWR)

    def _pass_on(self, service: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while part := self.request.recv(65536):
                if part.startswith(ANSWERED):
                    self.left = self.server.plan()
                service.sendall(part)
            service.shutdown(socket.SHUT_WR)
