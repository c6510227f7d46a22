"""A chat's events as server-sent events."""

from collections.abc import Iterator

import msgspec
from msgspec import UNSET

from generated.models import (
    EndEvent,
    ErrorEvent,
    MessageDeltaEvent,
    ReasoningDeltaEvent,
)
from service.bounds import BOUNDS
from service.clock import timestamp
from service.coze import ChatEvent
from service.errors import ServiceError

# No blank line: some readers take that for the end of an event without data.
PING = b": ping\n"
STREAM_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    # no-transform: what compresses a stream holds it back until it ends.
    (b"cache-control", b"no-cache, no-transform"),
    # nginx holds a response back until its buffer is full, unless it is told so.
    (b"x-accel-buffering", b"no"),
]
END = EndEvent()

_encode = msgspec.json.Encoder().encode
# Line readers, such as those of Python's HTTP clients, take these for the ends of lines.
_LINE_ENDS = [(character.encode(), b"\\u%04x" % ord(character)) for character in "\u2028\u2029\u0085"]


def block(event: ChatEvent | ErrorEvent | EndEvent) -> bytes:
    """Encodes a server-sent event."""
    data = _encode(event)
    # `isprintable` rules the line ends out fast. Events without a text are few.
    content = getattr(event, "content", None)
    if content is None or not content.isprintable():
        for character, escaped in _LINE_ENDS:
            data = data.replace(character, escaped)
    return b"data: %b\n\n" % data


def blocks(events: list[ChatEvent]) -> list[bytes]:
    """Encodes events, a delta with a long text as several."""
    written: list[bytes] = []
    for event in events:
        if isinstance(event, (MessageDeltaEvent, ReasoningDeltaEvent)) and len(event.content) > BOUNDS.delta_characters:
            written += map(block, _cut(event))
        else:
            written.append(block(event))
    return written


def failed(failure: ServiceError) -> bytes:
    """Returns the event for a failure in a stream that has begun."""
    code, retry_after = failure.failure.code, failure.retry_after or UNSET
    return block(ErrorEvent(message=failure.message, code=code, retry_after=retry_after, timestamp=timestamp()))


def _cut(event: MessageDeltaEvent | ReasoningDeltaEvent) -> Iterator[ChatEvent]:
    for start in range(0, len(event.content), BOUNDS.delta_characters):
        yield type(event)(content=event.content[start : start + BOUNDS.delta_characters], timestamp=event.timestamp)
