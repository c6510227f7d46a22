"""The states of a chat, and the transitions between them.

A chat has three at any time: its state at Coze, its result for the caller, and the state of its reader.

    at Coze    ASKED ──> RUNNING ──> COMPLETED
                 │          └──────> ENDED        by a failure, or by being cancelled
                 └─────────────────> REFUSED      the same before anything else; or COMPLETED at once
    result     OPEN ──> COMPLETED                 Coze has completed it, and the reader has all of it
                  └───> FAILED
    reader     ABSENT ──> LISTENING <──> PAUSED   PAUSED: takes nothing more for now (backpressure)
                  └───────────┴────────────┴────> LEFT
"""

from enum import Enum
from typing import Self


class _State(Enum):
    # Enum's own hash is a function in Python, and every transition looks up two.
    __hash__ = object.__hash__


class AtCoze(_State):
    """The state at Coze. Its properties are attributes of each member, since every delta asks for them."""

    ASKED = "asked", False, False  # Coze has said nothing yet that is not a failure
    RUNNING = "running", True, False
    COMPLETED = "completed", True, True
    ENDED = "ended", True, True
    REFUSED = "refused", False, True

    started: bool  # Coze has said anything that is not a failure
    over: bool  # Coze does no more for the chat

    def __new__(cls, value: str, started: bool, over: bool) -> Self:
        member = object.__new__(cls)
        member._value_, member.started, member.over = value, started, over
        return member


class Result(_State):
    OPEN = "open"
    COMPLETED = "completed"
    FAILED = "failed"


class Reader(_State):
    ABSENT = "absent"
    LISTENING = "listening"
    PAUSED = "paused"
    LEFT = "left"


State = AtCoze | Result | Reader

MAY_FOLLOW: dict[State, frozenset[State]] = {
    AtCoze.ASKED: frozenset({AtCoze.RUNNING, AtCoze.COMPLETED, AtCoze.REFUSED}),
    AtCoze.RUNNING: frozenset({AtCoze.COMPLETED, AtCoze.ENDED}),
    AtCoze.COMPLETED: frozenset(),
    AtCoze.ENDED: frozenset(),
    AtCoze.REFUSED: frozenset(),
    Result.OPEN: frozenset({Result.COMPLETED, Result.FAILED}),
    # What a failure leads to must not hide it, and an answer that a reader has whole fails no more.
    Result.COMPLETED: frozenset(),
    Result.FAILED: frozenset(),
    Reader.ABSENT: frozenset({Reader.LISTENING, Reader.LEFT}),
    Reader.LISTENING: frozenset({Reader.PAUSED, Reader.LEFT}),
    Reader.PAUSED: frozenset({Reader.LISTENING, Reader.LEFT}),
    Reader.LEFT: frozenset(),
}


def follow(state: State, following: State) -> bool:
    """Whether `following` may come after `state`. A change that comes too late to matter may not."""
    return following in MAY_FOLLOW[state]
