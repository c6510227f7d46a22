"""Which state of a chat may follow which: every pair, in a picture to be read beside the module's own."""

import itertools

import pytest

from service.coze.chat_state import MAY_FOLLOW, AtCoze, Reader, Result, State, follow

STATES: list[State] = [*AtCoze, *Result, *Reader]
MOVES = {
    "asked > running, completed, refused",
    "running > completed, ended",
    "open > completed, failed",
    "absent > listening, left",
    "listening > paused, left",
    "paused > listening, left",
}


def test_the_table_has_every_state() -> None:
    assert list(MAY_FOLLOW) == STATES


def test_the_moves() -> None:
    found = {
        f"{state.value} > {', '.join(to.value for to in STATES if to in following)}"
        for state, following in MAY_FOLLOW.items()
        if following
    }
    assert found == MOVES


@pytest.mark.parametrize(("state", "to"), list(itertools.product(STATES, STATES)), ids=repr)
def test_no_state_follows_one_of_another_kind_or_itself(state: State, to: State) -> None:
    if type(state) is not type(to) or state is to:
        assert not follow(state, to)


def test_where_coze_does_no_more() -> None:
    assert [state for state in AtCoze if state.over] == [AtCoze.COMPLETED, AtCoze.ENDED, AtCoze.REFUSED]


def test_where_coze_has_made_a_good_start() -> None:
    assert [state for state in AtCoze if state.started] == [AtCoze.RUNNING, AtCoze.COMPLETED, AtCoze.ENDED]
