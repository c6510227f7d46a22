"""Bytes that came at once and are read in portions, each of which leaves other connections their turn of the loop."""

from service.bounds import BOUNDS

_MIN_PART_BYTES = 256  # what to keep any part takes at least


def is_too_much(part: bytes) -> bool:
    """Whether `part` is more than a portion."""
    size = len(part)
    return size > BOUNDS.turn_lines and (size > BOUNDS.turn_bytes or _lines(part, 0, size) > BOUNDS.turn_lines)


def _lines(part: bytes, start: int, end: int) -> int:
    """About how many lines there are: where their ends are mixed, up to twice as many."""
    return max(part.count(b"\n", start, end), part.count(b"\r", start, end))


class Backlog:
    """What is still to be read, in the order in which it came. `size` is about what it takes in memory."""

    __slots__ = ("_first", "_others", "_position", "size")

    def __init__(self) -> None:
        self._first = b""
        self._position = 0  # in the first
        self._others: list[bytes] = []
        self.size = 0

    def put(self, part: bytes) -> None:
        self._others.append(part)
        self.size += max(len(part), _MIN_PART_BYTES)

    def portion(self) -> bytes:
        """The next portion, which is no longer kept here."""
        if not self._first:
            self._first, self._others = b"".join(self._others), []
            self.size = len(self._first)
        first, start = self._first, self._position
        end = min(start + BOUNDS.turn_bytes, len(first))
        while (lines := _lines(first, start, end)) > BOUNDS.turn_lines:
            end = start + (end - start) * BOUNDS.turn_lines // lines
        if end < len(first):
            event_ends = first.find(b"\n\n", max(end - 2, start), end + BOUNDS.turn_extra_bytes) + 2
            if event_ends > end and _lines(first, end, event_ends) <= BOUNDS.turn_extra_lines:
                end = event_ends
        self._position = end
        self.size -= end - start
        if end == len(first):
            self._first, self._position = b"", 0
        return first[start:end]

    def clear(self) -> None:
        self._first, self._position, self._others, self.size = b"", 0, [], 0
