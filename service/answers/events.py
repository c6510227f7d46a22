"""A chat's events as server-sent events."""

from collections.abc import Iterator, Sequence

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
    return data_block(_encode(event), getattr(event, "content", None))


def data_block(data: bytes, text: str | None = None) -> bytes:
    """Makes a server-sent event of JSON, in which nothing but `text`, if that is there, may hold the end of a line."""
    # `isprintable` rules the line ends out fast. Events without a text are few.
    if text is None or not text.isprintable():
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


def pieces(text: str) -> Sequence[str]:
    """Cuts a long text for events of their own."""
    if len(text) <= BOUNDS.delta_characters:
        return (text,)
    return [text[start : start + BOUNDS.delta_characters] for start in range(0, len(text), BOUNDS.delta_characters)]


def _cut(event: MessageDeltaEvent | ReasoningDeltaEvent) -> Iterator[ChatEvent]:
    return (type(event)(content=piece, timestamp=event.timestamp) for piece in pieces(event.content))
