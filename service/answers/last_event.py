"""The id of a stream's last event, by which a reader that reconnects by itself is recognised.

Some SSE readers reconnect whenever a stream ends: they repeat the request with the id of the last event as
`Last-Event-ID`, and stop at a 204. The id holds a fingerprint of the request and when the answer ended. So any worker
recognises it, and a new question of the same reader, which keeps sending the old id, still reaches the bot.
"""

import hashlib
import re
import time

from service.bounds import BOUNDS

# Without a full stop, which is reserved for ids of answers that can be resumed.
_ID = re.compile(r"end-([0-9a-f]{1,15})-([0-9a-f]{32})")


def fingerprint(body: bytes) -> str:
    """Returns a digest of a request's body."""
    return hashlib.blake2b(body, digest_size=16).hexdigest()


def end_id(asked: str) -> str:
    """Makes the id of a last event sent now, for a request with the fingerprint `asked`."""
    return f"end-{int(time.time()):x}-{asked}"


def is_answered(last_event_id: str, asked: str) -> bool:
    """Whether the id belongs to a recent answer to a request with the fingerprint `asked`."""
    found = _ID.fullmatch(last_event_id)
    return found is not None and found[2] == asked and abs(time.time() - int(found[1], 16)) <= BOUNDS.reconnect_seconds
