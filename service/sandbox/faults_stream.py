"""Bots whose stream is well framed but fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .codes import CODES
from .faults_http import Play, Row
from .turn import Event, Steps, Turn

HALF = "This is the first half of an answer"
WHOLE = HALF + ", and this is its second half."


def whole(turn: Turn) -> Steps:
    """A plain good chat, for bots that are odd in other ways."""
    yield from turn.begin()
    yield from turn.answer(WHOLE)
    yield from turn.finish()


def _failing(how: Callable[[Turn, int, str], Steps], code: int, msg: str = "", half: bool = False) -> Play:
    """Fails `how` with the code: at once after the start, or after half an answer."""

    def steps(turn: Turn) -> Steps:
        yield from turn.begin()
        if half:
            yield from turn.words(HALF)
        yield from how(turn, code, msg or CODES[code])

    return steps


def _error_first(code: int) -> Play:
    def steps(turn: Turn) -> Steps:
        yield from turn.error(code, CODES[code])

    return steps


def _failed_first(turn: Turn) -> Steps:
    yield from turn.failed(4013, CODES[4013])


def _bare(turn: Turn, code: int, msg: str) -> Steps:
    turn.end("failed", code, msg)
    yield Event("conversation.chat.failed", {"code": code, "msg": msg})
    yield turn.done()


def _unexplained(turn: Turn, code: int, msg: str) -> Steps:
    turn.end("failed", code, msg)
    event = turn.chat_event("failed")
    yield Event(event.name, {**turn.chat.detail(), "last_error": None})
    yield turn.done()


def _null_code(turn: Turn, code: int, msg: str) -> Steps:
    turn.end("failed", code, msg)
    yield Event("conversation.chat.failed", {**turn.chat.detail(), "last_error": {"code": None, "msg": msg}})
    yield turn.done()


def _requires_function(turn: Turn) -> Steps:
    yield from turn.begin()
    function = {"name": "local_weather", "arguments": '{"city":"Beijing"}'}
    call = {"id": turn.world.new_id(), "type": "function", "function": function}
    turn.chat.required_action = {
        "type": "submit_tool_outputs",
        "submit_tool_outputs": {"tool_calls": [call]},
    }
    turn.end("requires_action")
    yield turn.chat_event("requires_action")
    yield turn.done()


def _completed_failed(turn: Turn, code: int, msg: str) -> Steps:
    turn.end("failed", code, msg)
    yield Event("conversation.chat.completed", turn.chat.detail())
    yield turn.done()


def _canceled(turn: Turn) -> Steps:
    yield from turn.begin()
    yield from turn.words(HALF)
    turn.end("canceled")
    yield turn.chat_event("canceled")
    yield turn.done()


FAILURES: Final[tuple[Row, ...]] = (
    ("0301", "error-first-4016", "event:error 4016 is all the stream has.", _error_first(4016)),
    ("0302", "error-first-4028", "event:error 4028 is all the stream has.", _error_first(4028)),
    ("0303", "error-first-4000", "event:error 4000 is all the stream has.", _error_first(4000)),
    ("0304", "error-first-4101", "event:error 4101 is all the stream has.", _error_first(4101)),
    ("0305", "error-first-4200", "event:error 4200 is all the stream has.", _error_first(4200)),
    ("0306", "error-first-5000", "event:error 5000 is all the stream has.", _error_first(5000)),
    ("0307", "error-first-unknown", "event:error of a code that no table lists.", _error_first(799999)),
    (
        "0311",
        "error-midway-5000",
        "event:error 5000 after half an answer.",
        _failing(Turn.error, 5000, half=True),
    ),
    (
        "0312",
        "error-midway-4028",
        "event:error 4028 after half an answer.",
        _failing(Turn.error, 4028, half=True),
    ),
    ("0313", "error-after-start", "event:error 4013 after in_progress.", _failing(Turn.error, 4013)),
    (
        "0321",
        "failed-5000",
        "chat.failed with last_error 5000, after in_progress.",
        _failing(Turn.failed, 5000, "event interval error"),
    ),
    (
        "0322",
        "failed-midway-4028",
        "chat.failed, last_error 4028, after half an answer.",
        _failing(Turn.failed, 4028, half=True),
    ),
    (
        "0323",
        "failed-bare",
        "chat.failed whose data is only {code: 701231, msg}, after in_progress.",
        _failing(_bare, 701231),
    ),
    (
        "0324",
        "failed-bare-midway",
        "The same after half an answer, with code 5000.",
        _failing(_bare, 5000, half=True),
    ),
    ("0325", "failed-unexplained", "chat.failed with last_error null.", _failing(_unexplained, 5000)),
    ("0326", "failed-null-code", "chat.failed with last_error.code null.", _failing(_null_code, 5000)),
    ("0327", "failed-first", "chat.failed (4013) is the first event.", _failed_first),
    (
        "0328",
        "failed-4028",
        "chat.failed, last_error 4028, right after in_progress.",
        _failing(Turn.failed, 4028),
    ),
    (
        "0329",
        "failed-as-completed",
        "chat.completed whose status is failed, last_error 4028, after half an answer.",
        _failing(_completed_failed, 4028, half=True),
    ),
    ("0331", "requires-function", "The chat wants the client to run a function.", _requires_function),
    ("0341", "canceled-event", "An event conversation.chat.canceled after half an answer.", _canceled),
)
