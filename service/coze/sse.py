"""Server-sent events by the WHATWG standard: bytes in any chunks to (event name, data) pairs.

https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

import re

from service.bounds import BOUNDS

_BOM = b"\xef\xbb\xbf"
# An event as Coze writes it: a name, one line of data, nothing else. That it begins a line keeps the search linear.
_USUAL = re.compile(rb"(?m)^event:([^ \n].*+)\ndata:([^ \n].*+)\n\n")


class EventTooLarge(Exception):
    """An event, or a line that never ends, has passed BOUNDS.coze_event_bytes."""


class EventParser:
    """Feed it bytes as they come; it gives each event once it is whole.

    An event cut off by the end of the stream is dropped, as the standard has it. `id` and `retry` are for clients that
    reconnect, and are passed over. `blocks` counts the events and comments seen: signs of life.
    """

    __slots__ = ("_after_cr", "_at_start", "_data", "_held", "_name", "_partial", "blocks")

    def __init__(self) -> None:
        self.blocks = 0
        self._at_start = True
        self._after_cr = False
        self._partial: list[bytes] = []  # the pieces of a line whose end has not come
        self._held = 0  # bytes kept for an event that is not whole
        self._name = b""
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> list[tuple[bytes, bytes]]:
        """The events that `chunk` completes, in order. Raises EventTooLarge."""
        if chunk.endswith(b"\n\n") and not (self._held or self._name or self._after_cr) and b"\r" not in chunk:
            # Nearly always: whole events as Coze writes them. Each has three line ends, so all of the chunk was found
            # if no other line end is in it.
            events: list[tuple[bytes, bytes]] = _USUAL.findall(chunk)
            if 3 * len(events) == chunk.count(b"\n") and len(chunk) <= BOUNDS.coze_event_bytes:
                self._at_start = False
                self.blocks += len(events)
                return events
        return self._feed(chunk)

    def _feed(self, chunk: bytes) -> list[tuple[bytes, bytes]]:
        if self._after_cr and chunk:
            # CRLF cut in two: the line has ended with the CR already.
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        if not chunk:
            return []
        if b"\n" not in chunk and b"\r" not in chunk:
            self._keep(chunk)
            return []
        if self._partial:
            self._held -= sum(map(len, self._partial))
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
                    self._held = sum(map(len, self._partial))
                self._name = b""
            elif line.startswith(b"data:"):
                self._hold(len(line))
                data.append(line[6:] if line.startswith(b" ", 5) else line[5:])
            elif line.startswith(b"event:"):
                self._name = line[7:] if line.startswith(b" ", 6) else line[6:]
            else:
                self._other_field(line)
        self.blocks += len(events)
        return events

    def _keep(self, piece: bytes) -> None:
        self._partial.append(piece)
        self._hold(len(piece))

    def _hold(self, size: int) -> None:
        self._held += size
        if self._held > BOUNDS.coze_event_bytes:
            raise EventTooLarge

    def _other_field(self, line: bytes) -> None:
        name = line.partition(b":")[0]
        if name == b"event":  # without a colon, as is the next
            self._name = b""
        elif name == b"data":
            self._hold(len(line))
            self._data.append(b"")
        elif not name:
            self.blocks += 1
