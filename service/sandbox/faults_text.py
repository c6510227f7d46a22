"""Bots whose answer is good, but for broken characters and for values that are not of their type."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from .faults_http import Row
from .faults_stream import HALF, WHOLE
from .turn import Event, Raw, Step, Steps, Turn
from .wire import frame

# Stands for bytes that JSON cannot hold.
_PLACE: Final = "(here)"
_BAD_UTF8: Final = b"\xff\xfe"
_HIGH_HALF, _LOW_HALF = rb"\ud83d", rb"\ude00"
SMILE: Final = "😀"


def _with(event: Event, raw: bytes) -> Raw:
    """The event's bytes with `raw` in its place."""
    return Raw(frame(event.name, event.data).replace(_PLACE.encode(), raw))


def _cut(pieces: Iterable[bytes], whole: str) -> Any:
    """An answer in deltas that end within characters."""

    def steps(turn: Turn) -> Steps:
        yield from turn.begin()
        for piece in pieces:
            yield _with(turn.delta(_PLACE), piece)
        yield turn.said(whole)
        yield from turn.finish()

    return steps


def _unseen(turn: Turn) -> Steps:
    def asides() -> Iterable[Step]:
        for raw in (_BAD_UTF8, _HIGH_HALF, b"\t"):
            for kind in ("verbose", "knowledge", "function_call", "tool_response"):
                yield _with(turn.aside(kind, _PLACE), raw)
                yield _with(Event("conversation.message.delta", turn.message(_PLACE, kind)), raw)

    yield from turn.begin()
    yield _with(Event("conversation.chat.in_progress", {**turn.chat.detail(), "meta_data": {"x": _PLACE}}), _HIGH_HALF)
    yield from asides()
    yield from turn.words(HALF)
    yield from asides()
    yield from turn.words(WHOLE[len(HALF) :])
    yield turn.said(WHOLE)
    yield from asides()
    yield from turn.finish()


def _odd_values(turn: Turn) -> Steps:
    odd_chat = {"status": {}, "last_error": "", "usage": "none", "required_action": "", "created_at": "now"}
    yield Event("conversation.chat.created", {**turn.chat.detail(), **odd_chat})
    yield Event("conversation.chat.in_progress", {**turn.chat.detail(), **odd_chat, "status": 7})
    for kind in ("verbose", "tool_response", "follow_up"):
        yield Event("conversation.message.completed", {**turn.message(None, kind), "content": {"odd": [1]}})
        yield Event("conversation.message.delta", {**turn.message(None, kind), "content": [1]})
    yield turn.delta("", reasoning_content={"odd": 1})
    yield from turn.words(WHOLE)
    yield Event("conversation.message.completed", {**turn.message(WHOLE), "meta_data": 5, "created_at": {}})
    turn.end("completed")
    yield Event(
        "conversation.chat.completed",
        {**turn.chat.detail(), "last_error": "", "usage": {"token_count": "7", "output_count": -1, "input_count": {}}},
    )
    yield turn.done()


def _late_thoughts(turn: Turn) -> Steps:
    yield from turn.begin()
    yield from turn.words(WHOLE)
    yield turn.said(WHOLE, reasoning_content="I know the answer.")
    yield from turn.finish()


def _two_ids(turn: Turn) -> Steps:
    yield from turn.begin()
    yield from turn.words(WHOLE)
    yield turn.said(WHOLE, id=turn.world.new_id())
    yield from turn.finish()


_FOUR = SMILE.encode()

ROWS: Final[tuple[Row, ...]] = (
    (
        "0801",
        "cut-bytes",
        "Deltas that end within the bytes of a character.",
        _cut((b"Hi " + _FOUR[:1], _FOUR[1:3], _FOUR[3:] + b"!"), f"Hi {SMILE}!"),
    ),
    (
        "0802",
        "cut-pairs",
        "Deltas that end between the escaped halves of a character.",
        _cut((b"Hi " + _HIGH_HALF, _LOW_HALF + b"!"), f"Hi {SMILE}!"),
    ),
    (
        "0803",
        "broken-characters",
        "Deltas with bytes that are no UTF-8, and half a surrogate pair.",
        _cut((b"a\xffb", b"c" + _HIGH_HALF + b"d", b"e" + _HIGH_HALF), "whatever"),
    ),
    ("0804", "broken-unseen", "The same in messages that are no answer.", _unseen),
    ("0805", "odd-values", "Objects where texts are due, texts where objects are, numbers as texts.", _odd_values),
    ("0806", "late-thoughts", "Thoughts (reasoning_content) only in the message that completes.", _late_thoughts),
    ("0807", "two-ids", "The message that completes has another id than its deltas.", _two_ids),
)
