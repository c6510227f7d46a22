"""Server-sent events by the WHATWG standard: from bytes in any chunks to (event name, data) pairs.

https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

import re

from service.bounds import BOUNDS

_BOM = b"\xef\xbb\xbf"
# An event as Coze writes it: a name, one line of data, nothing else. The anchor keeps the search linear.
_USUAL = re.compile(rb"(?m)^event:([^ \n].*+)\ndata:([^ \n].*+)\n\n")


class EventTooLarge(Exception):
    """Raised when an event, or a line without end, exceeds BOUNDS.coze_event_bytes."""


class EventParser:
    """Incremental parser, fed with bytes as they arrive.

    An event cut off by the end of the stream is dropped, as the standard wants it. `id` and `retry`, for clients that
    reconnect, are ignored. `blocks` counts the events and comments so far.
    """

    __slots__ = ("_after_cr", "_at_start", "_buffered", "_data", "_name", "_partial", "blocks")

    def __init__(self) -> None:
        self.blocks = 0
        self._at_start = True
        self._after_cr = False
        self._partial: list[bytes] = []  # of a line whose end has not arrived
        self._buffered = 0  # bytes of an incomplete event
        self._name = b""
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> list[tuple[bytes, bytes]]:
        """Returns the events that `chunk` completes, in order. Raises EventTooLarge."""
        if chunk.endswith(b"\n\n") and not (self._buffered or self._name or self._after_cr) and b"\r" not in chunk:
            # The fast path: whole events as Coze writes them. Each has three line ends, so the pattern matched all of
            # the chunk if it has no others.
            events: list[tuple[bytes, bytes]] = _USUAL.findall(chunk)
            if 3 * len(events) == chunk.count(b"\n") and len(chunk) <= BOUNDS.coze_event_bytes:
                self._at_start = False
                self.blocks += len(events)
                return events
        return self._feed(chunk)

    def _feed(self, chunk: bytes) -> list[tuple[bytes, bytes]]:
        if self._after_cr and chunk:
            # A CRLF cut in two: its CR has already ended the line.
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        if not chunk:
            return []
        if b"\n" not in chunk and b"\r" not in chunk:
            self._keep(chunk)
            return []
        if self._partial:
            self._buffered -= sum(map(len, self._partial))
            self._partial.append(chunk)
            chunk = b"".join(self._partial)
            self._partial.clear()
        if self._at_start:
            self._at_start = False
            chunk = chunk.removeprefix(_BOM)

        # For bytes, unlike for str, splitlines knows exactly the standard's three line ends.
        lines = chunk.splitlines()
        if chunk.endswith(b"\r"):
            self._after_cr = True
        elif not chunk.endswith(b"\n"):
            self._keep(lines.pop())

        events: list[tuple[bytes, bytes]] = []
        data = self._data
        for line in lines:
            if not line:
                if data:
                    events.append((self._name or b"message", data[0] if len(data) == 1 else b"\n".join(data)))
                    data.clear()
                    self._buffered = sum(map(len, self._partial))
                self._name = b""
            elif line.startswith(b"data:"):
                self._count_buffered(len(line))
                data.append(line[6:] if line.startswith(b" ", 5) else line[5:])
            elif line.startswith(b"event:"):
                self._name = line[7:] if line.startswith(b" ", 6) else line[6:]
            else:
                self._other_field(line)
        self.blocks += len(events)
        return events

    def _keep(self, piece: bytes) -> None:
        self._partial.append(piece)
        self._count_buffered(len(piece))

    def _count_buffered(self, size: int) -> None:
        self._buffered += size
        if self._buffered > BOUNDS.coze_event_bytes:
            raise EventTooLarge

    def _other_field(self, line: bytes) -> None:
        name = line.partition(b":")[0]
        if name == b"event":  # without a colon, as is the next
            self._name = b""
        elif name == b"data":
            self._count_buffered(len(line))
            self._data.append(b"")
        elif not name:
            self.blocks += 1
