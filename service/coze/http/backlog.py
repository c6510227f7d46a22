"""Backlog of bytes that arrived at once, read in portions so that other connections get their turn of the loop."""

from service.bounds import BOUNDS

_MIN_PART_BYTES = 256  # the least memory that a part takes


def is_too_much(part: bytes) -> bool:
    """Whether `part` is larger than a portion."""
    size = len(part)
    return size > BOUNDS.turn_lines and (size > BOUNDS.turn_bytes or _lines(part, 0, size) > BOUNDS.turn_lines)


def _lines(part: bytes, start: int, end: int) -> int:
    """Estimates the number of lines, up to twice too many if line ends are mixed."""
    return max(part.count(b"\n", start, end), part.count(b"\r", start, end))


class Backlog:
    """Unread bytes in order of arrival. `size` is roughly the memory that they take."""

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
        """Removes and returns the next portion, if possible up to the end of an event."""
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
