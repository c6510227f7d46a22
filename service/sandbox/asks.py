"""Bots whose workflow asks the user something, and takes the next message of the conversation for the answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

from .faults_http import Play, Row
from .turn import Steps, Turn

QUESTION: Final = "Which city do you want to go to?"
_CALL: Final = {"id": "", "type": "reply_message", "function": None, "require_info": None}
_ACTION: Final = {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": [_CALL]}}


def _asks(end: Callable[[Turn], Steps]) -> Play:
    """Asks and ends the turn with `end`; in the next turn repeats what it was told."""

    def steps(turn: Turn) -> Steps:
        yield from turn.begin()
        if turn.history and turn.history[-1]["content"] == QUESTION:
            yield from turn.answer(f"So you want to go to {turn.question}.")
            yield from turn.finish()
            return
        yield from turn.answer(QUESTION)
        interrupt = {"msg_type": "interrupt", "data": json.dumps(_ACTION), "from_module": None, "from_unit": None}
        # Coze Studio lets out what it needs to go on.
        state = {"meta_data": {"resume_info": "7600000000000000000/1"}} if turn.world.studio else {}
        yield turn.aside("verbose", json.dumps(interrupt), **state)
        yield from end(turn)

    return steps


def _coze_s_end(turn: Turn) -> Steps:
    yield turn.finish_mark(reason=1)
    turn.chat.required_action = _ACTION
    turn.end("requires_action")
    turn.chat.usage = {"token_count": 0, "output_count": 0, "input_count": 0}
    yield turn.chat_event("requires_action")
    yield turn.done()


def _sample_s_end(turn: Turn) -> Steps:
    yield turn.finish_mark(reason=1)
    turn.end("requires_action")
    yield turn.done()


ROWS: Final[tuple[Row, ...]] = (
    ("0701", "asks", "Ends with requires_action of type reply_message, as Coze does.", _asks(_coze_s_end)),
    ("0702", "asks-as-studio", "Ends with chat.completed, as Coze Studio does.", _asks(Turn.finish)),
    ("0703", "asks-as-sample", "Ends with done alone, as in a sample of Coze's documents.", _asks(_sample_s_end)),
)
