"""What comes at once, in portions: all of it, in order, and never much in one."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.bounds import BOUNDS
from service.coze.http.backlog import Backlog, is_too_much

EVENT = b"event:a\ndata:1\n\n"


def portions(*parts: bytes) -> list[bytes]:
    kept = Backlog()
    for part in parts:
        kept.put(part)
    found = []
    while kept.size:
        found.append(kept.portion())
        assert found[-1]
    return found


@pytest.mark.parametrize(
    "line",
    [
        *(b"\n", b"\r", b"\r\n", b": ping\n", b": ping\r\n", b"data:1\r\n", EVENT, b"1\r\n\n\r\n"),
        pytest.param(b"x" * 1000 + b"\n", id="long"),
    ],
)
def test_no_portion_has_many_lines(line: bytes) -> None:
    stream = line * (400_000 // len(line))
    assert is_too_much(stream)
    found = portions(stream)
    assert b"".join(found) == stream
    assert max(len(portion.splitlines()) for portion in found) <= 1500 + 10
    assert max(map(len, found)) <= 128 * 1024
    # Nor so few that it takes for ever.
    assert len(found) <= len(stream.splitlines()) / 1000 + 10


def test_whole_events_stay_whole() -> None:
    stream = EVENT * 10_000
    assert all(portion.startswith(b"event:") and portion.endswith(b"\n\n") for portion in portions(stream))
    # One of 100,000 bytes as well, but none of a million.
    long = b"event:a\ndata:" + b"x" * 100_000 + b"\n\n"
    assert portions(EVENT + long + EVENT)[0] == EVENT + long
    assert max(map(len, portions(long * 10 + b"x" * 1_000_000))) <= 128 * 1024


@pytest.mark.parametrize("beyond", [0, 1, 2, 100])
def test_a_portion_ends_with_the_event_that_is_cut(beyond: int) -> None:
    """It may end some bytes beyond the bound."""
    lines = b"data:1\n" * 100
    event = lines + b"data:" + b"x" * (BOUNDS.turn_bytes + beyond - len(lines) - 7) + b"\n\n"
    assert len(event) == BOUNDS.turn_bytes + beyond
    assert portions(event + EVENT * 100)[0] == event


def test_an_event_that_has_just_ended_is_not_the_one_that_is_cut() -> None:
    event = b"data:" + b"x" * (BOUNDS.turn_bytes - 8) + b"\n\n"
    assert portions(event + EVENT * 2)[0] == event + EVENT


def test_few_lines_are_taken_for_the_sake_of_an_event() -> None:
    event = b"data:" + b"x" * BOUNDS.turn_bytes + b"\ndata:1" * (BOUNDS.turn_extra_lines - 2) + b"\n\n"
    assert portions(event + EVENT)[0] == event
    one_more = event[:-1] + b"data:1\n\n"
    assert len(portions(one_more + EVENT)[0]) == BOUNDS.turn_bytes


@pytest.mark.parametrize(
    "stream",
    [b"\n" * 50_000 + b"x" * 50_000, b"x" * 50_000 + b"\n" * 50_000, b": ping\n" * 10_000 + b"\n\n"],
    ids=["at first", "in the end", "before a blank line"],
)
def test_where_lines_are_dense(stream: bytes) -> None:
    found = portions(stream)
    assert b"".join(found) == stream
    assert max(portion.count(b"\n") for portion in found) <= 1500 + 10


@pytest.mark.parametrize(
    ("part", "times", "too_much"),
    [
        (b"", 1, False),
        (b"\n", 1500, False),
        (b"\n", 1501, True),
        (b"\r", 1501, True),
        (b"x", 65536, False),
        (b"x", 65537, True),
        (EVENT, 500, False),
        (EVENT, 501, True),
    ],
)
def test_is_too_much(part: bytes, times: int, too_much: bool) -> None:
    assert is_too_much(part * times) is too_much


pieces = st.sampled_from([b"\n", b"\r", b"\r\n", b"\n\n", b"x", EVENT, b"x" * 30])


@given(st.lists(st.lists(pieces, max_size=30).map(b"".join), max_size=8), st.integers(1, 5), st.data())
def test_all_of_it_comes_in_order(parts: list[bytes], lines: int, data: st.DataObject) -> None:
    """Also what is put there between two portions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BOUNDS, "turn_lines", lines)
        patch.setattr(BOUNDS, "turn_bytes", 40)
        patch.setattr(BOUNDS, "turn_extra_bytes", 20)
        kept, found = Backlog(), b""
        for part in filter(None, parts):
            kept.put(part)
            for _ in range(data.draw(st.integers(0, 2))):
                found += kept.portion() if kept.size else b""
        while kept.size:
            portion = kept.portion()
            assert 0 < len(portion) <= 62
            found += portion
    assert found == b"".join(parts)


def test_size_is_what_is_kept() -> None:
    kept = Backlog()
    for part in itertools.repeat(b"x" * 1000, 3):
        kept.put(part)
    assert kept.size == 3000
    kept.put(b"x")
    assert kept.size > 3200  # small ones take more than their length
    kept.portion()
    assert kept.size == 0
    kept.put(EVENT * 1000)
    kept.portion()
    kept.clear()
    assert kept.size == 0
    kept.put(EVENT)
    assert kept.portion() == EVENT
    assert portions(b"a", b"b") == [b"ab"]
