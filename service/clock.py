"""The time as the contract writes it."""

import time

_cached: tuple[int, str] = (-1, "")


def timestamp() -> str:
    """Now, in UTC with exactly three digits: `2025-01-01T12:00:00.000Z`."""
    global _cached
    milliseconds = time.time_ns() // 1_000_000
    if milliseconds != _cached[0]:
        seconds, rest = divmod(milliseconds, 1000)
        # Streams ask often within one millisecond; strftime is the dear part.
        _cached = (milliseconds, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:03d}Z")
    return _cached[1]
