"""The time as the contract writes it."""

import time

_second = -1
_text = ""


def timestamp() -> str:
    """Now, in UTC with exactly three digits: `2025-01-01T12:00:00.000Z`."""
    global _second, _text
    second, milliseconds = divmod(time.time_ns() // 1_000_000, 1000)
    if second != _second:
        # A stream asks for every event; all but the milliseconds is the same for a second.
        _second, _text = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
    return f"{_text}.{milliseconds:03d}Z"
