"""A server in Coze's place that sends the bytes that a test scripts, over TLS or not."""

import contextlib
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from typing import Self

PLAIN_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
HEAD = PLAIN_HEAD + b"Transfer-Encoding: chunked\r\n"
STARTED = b'event:conversation.chat.created\ndata:{"id":"1","conversation_id":"2","status":"created"}\n\n'
DONE = b'event:conversation.chat.completed\ndata:{"id":"1","conversation_id":"2","status":"completed"}\n\n'

# Parts that are sent one behind the other, with a moment between; an empty one closes the connection. A generator may
# wait between them for what the test wants.
Answer = Iterable[bytes]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def sized(data: bytes, head: bytes = b"HTTP/1.1 200 OK\r\n") -> bytes:
    return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(data), data)


class ScriptedCoze:
    """Answers each request with what `answer` gives for it, and keeps it with the number of its connection.

    With `tls` it is reached at localhost, the name of the tests' certificates.
    """

    def __init__(self, answer: Callable[[bytes], Answer] = lambda _: (b"",), tls: ssl.SSLContext | None = None) -> None:
        self.answer = answer
        self.requests: list[tuple[int, bytes]] = []
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.url = f"https://localhost:{port}" if tls else f"http://127.0.0.1:{port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def numbers(self, start: bytes) -> list[int]:
        """The connections of the requests that begin so."""
        return [number for number, request in self.requests if request.startswith(start)]

    def serve(self, number: int, connection: socket.socket) -> None:
        """Serves a connection, in a thread of its own, until it is closed."""
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_side=True)
        with connection:
            while request := _request(connection):
                self.requests.append((number, request))
                for part in self.answer(request):
                    if part:
                        connection.sendall(part)
                        time.sleep(0.05)
                    else:
                        _close(connection)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            number = 0
            while True:
                connection, _ = self._listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._serve, args=(number, connection), daemon=True).start()
                number += 1

    def _serve(self, number: int, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self.serve(number, connection)


def _request(connection: socket.socket) -> bytes:
    """The head, and the body if it is short: an upload is answered before it has come."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (piece := connection.recv(65536)):
            return b""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    while length and len(body) < int(length[1]) < 100_000:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def _close(connection: socket.socket) -> None:
    """Says over TLS that it closes, and gives the other side a second to say so, too."""
    with connection:
        if isinstance(connection, ssl.SSLSocket):
            connection.settimeout(1)
            with contextlib.suppress(OSError):
                connection.unwrap()
