"""The time in the contract's format."""

import time

_second = -1
_text = ""


def timestamp() -> str:
    """Returns the time in UTC with exactly three decimals: `2025-01-01T12:00:00.000Z`."""
    global _second, _text
    second, milliseconds = divmod(time.time_ns() // 1_000_000, 1000)
    if second != _second:
        # Called for every event of a stream: only the milliseconds change within a second.
        _second, _text = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
    return f"{_text}.{milliseconds:03d}Z"


def timestamp_of(milliseconds: int) -> str:
    """Returns a time that is given in milliseconds since 1970 (UTC) in the same format."""
    second, rest = divmod(milliseconds, 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(second))}.{rest:03d}Z"
