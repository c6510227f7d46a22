"""The id of a stream's last event, and how a reader is known by it that asks again by itself.

Some SSE readers reconnect whenever a stream ends: they send the request once more, with the id of the last event that
they have seen as `Last-Event-ID`, and stop at a 204. The id holds what was asked and when the answer ended. So it is
known in any worker, and a new question from the same reader, which goes on sending the old id, is asked all the same.
"""

import hashlib
import re
import time

from service.bounds import BOUNDS

# No full stop in it: ids of answers that can be resumed may have one.
_ID = re.compile(r"end-([0-9a-f]{1,15})-([0-9a-f]{32})")


def fingerprint(body: bytes) -> str:
    """Of a request's body: what the same body alone has."""
    return hashlib.blake2b(body, digest_size=16).hexdigest()


def end_id(asked: str) -> str:
    """The id of the last event, now, of the answer to a request with this fingerprint."""
    return f"end-{int(time.time()):x}-{asked}"


def is_answered(last_event_id: str, asked: str) -> bool:
    """Whether the id is that of an answer to a request with this fingerprint, and not an old one."""
    found = _ID.fullmatch(last_event_id)
    return found is not None and found[2] == asked and abs(time.time() - int(found[1], 16)) <= BOUNDS.reconnect_seconds
