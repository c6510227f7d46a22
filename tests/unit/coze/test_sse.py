"""The event stream parser, held against the standard: every line end, every field, every way to cut the bytes."""

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.bounds import BOUNDS
from service.coze.sse import EventParser, EventTooLarge


def parse(*chunks: bytes) -> list[tuple[bytes, bytes]]:
    parser = EventParser()
    return [event for chunk in chunks for event in parser.feed(chunk)]


def by_the_standard(stream: bytes) -> list[tuple[bytes, bytes]]:
    """The standard's own steps, written down plainly: the slow twin that the parser must equal."""
    events, name, data = [], b"", b""
    lines = re.split(rb"\r\n|\r|\n", stream.removeprefix(b"\xef\xbb\xbf"))
    for line in lines[:-1]:  # what follows the last line end is no line yet
        if line == b"":
            if data:
                events.append((name or b"message", data[:-1]))
            name, data = b"", b""
            continue
        field, colon, value = line.partition(b":")
        if colon and not field:
            continue
        if value[:1] == b" ":
            value = value[1:]
        if field == b"event":
            name = value
        elif field == b"data":
            data += value + b"\n"
    return events


CUT: set[tuple[bytes, tuple[int, ...]]] = set()
# What other line splitters take for line ends.
SEPARATORS = "a\u2028b\u2029c\u0085d\x1ce\x0bf".encode()


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"event:a\ndata:1\n\n", [(b"a", b"1")]),
        (b"event: a\ndata: 1\n\n", [(b"a", b"1")]),
        (b"data:  two spaces\n\n", [(b"message", b" two spaces")]),
        (b"event:a\r\ndata:1\r\n\r\n", [(b"a", b"1")]),
        (b"event:a\rdata:1\r\r", [(b"a", b"1")]),
        (b"data:1\nevent:a\n\n", [(b"a", b"1")]),
        (b"data:1\ndata:2\n\n", [(b"message", b"1\n2")]),
        (b"data\n\n", [(b"message", b"")]),
        (b"event:a\nevent\ndata:1\n\n", [(b"message", b"1")]),
        (b"event:a\rdata:1\r\n\ndata:2\n\n", [(b"a", b"1"), (b"message", b"2")]),
        (b"event:a\ndata:1\rdata:2\n\n", [(b"a", b"1\n2")]),
        (b"event:a\rdata:0\ndata:1\n\n", [(b"a", b"0\n1")]),
        (b"event:a\ndata:\n\n", [(b"a", b"")]),
        (b"\n\xef\xbb\xbfdata:1\n\n", []),
        (b"event:a\n\ndata:1\n\n", [(b"message", b"1")]),
        (b": ping\n\ndata:1\n\n", [(b"message", b"1")]),
        (b"data:1\n: ping\ndata:2\n\n", [(b"message", b"1\n2")]),
        (b"id:7\nretry:9\nunknown:x\nnothing\ndata:1\n\n", [(b"message", b"1")]),
        (b"\xef\xbb\xbfdata:1\n\n", [(b"message", b"1")]),
        (b"data:1\n\n\n\n\ndata:2\n\n", [(b"message", b"1"), (b"message", b"2")]),
        (b"data:" + SEPARATORS + b"\n\n", [(b"message", SEPARATORS)]),
        (b"data:1\n\ndata:cut off\n", [(b"message", b"1")]),
        (b"data:1", []),
    ],
)
def test_by_example(stream: bytes, events: list[tuple[bytes, bytes]]) -> None:
    assert parse(stream) == events
    assert parse(*(stream[at : at + 1] for at in range(len(stream)))) == events
    assert by_the_standard(stream) == events


@pytest.mark.parametrize(
    "chunks",
    [
        (b"event:x\n", b"event:a\ndata:1\n\n", b"data:2\n\n"),
        (b"data:0\n", b"event:a\ndata:1\n\n"),
        (b"event:x", b"event:a\ndata:1\n\n"),
        (b"event:x\r", b"event:a\ndata:1\n\n", b"\ndata:2\n\n"),
        (b"event:x\r", b"\nevent:a\ndata:1\n\n"),
        (b"event:a\r", b"data:1\n", b"\n", b"data:2\n\n"),
        (b"event:a\ndata:1\n\n", b"\xef\xbb\xbfdata:2\n\n"),
        (b"\xef\xbb\xbfevent:a\ndata:1\n\n", b"event:b\ndata:2\n\n"),
    ],
)
def test_an_event_as_coze_writes_it_after_what_it_does_not_write(chunks: tuple[bytes, ...]) -> None:
    assert parse(*chunks) == by_the_standard(b"".join(chunks))


pieces = st.sampled_from(
    [b"data", b"event", b"id", b":", b" ", b"\n", b"\r", b"\r\n", b"\n\n", b"x", b"\xef\xbb\xbf", SEPARATORS, b"\xff"]
)
# As Coze writes them, and next to that.
usual = st.sampled_from([b"event:a\ndata:1\n\n", b"event:b\ndata:{}\n\n"])
odd = st.sampled_from(
    [
        b"event: a\ndata: 1\n\n",
        b"event:\ndata:1\n\n",
        b"event:a\ndata:\n\n",
        b"data:1\n\n",
        b"event:a\n",
        b"data:1\n",
        b"\n",
    ]
)
streams = (
    st.lists(pieces, max_size=40).map(b"".join)
    | st.lists(usual | usual | odd | pieces, max_size=10).map(b"".join)
    | st.binary(max_size=60)
)


@settings(max_examples=2000, deadline=None)
@given(stream=streams, cuts=st.lists(st.integers(0, 200), max_size=20))
def test_any_stream_cut_anyhow_gives_what_the_standard_says(stream: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    chunks = [stream[start:end] for start, end in itertools.pairwise(edges)]
    assert parse(*chunks) == by_the_standard(stream)
    CUT.add((stream, tuple(edges)))


def test_how_many_were_cut(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(CUT) > 100
    with capsys.disabled():
        print(f"\n{len(CUT)} different streams and ways to cut them")


def test_an_event_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BOUNDS, "coze_event_bytes", 100)
    parser = EventParser()
    for _ in range(10):
        parser.feed(b"0123456789")
    with pytest.raises(EventTooLarge):
        parser.feed(b"0")
    whole = b"event:a\ndata:" + b"0" * 100 + b"\n\n"
    for lines in (b"data:0123456789\n" * 10, b"data\n" * 100, whole):
        with pytest.raises(EventTooLarge):
            EventParser().feed(lines)


def test_an_event_of_many_lines_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """And counts once, also where each of its lines comes in two parts."""
    monkeypatch.setattr(BOUNDS, "coze_event_bytes", 100)
    parser = EventParser()
    for _ in range(10):
        parser.feed(b"data:")
        parser.feed(b"01234\n")
    with pytest.raises(EventTooLarge):
        parser.feed(b"d")


def test_many_events_in_turn_are_not_one_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BOUNDS, "coze_event_bytes", 100)
    parser = EventParser()
    assert len(parser.feed(b"data:0123456789\n\n" * 1000)) == 1000
    for _ in range(1000):
        parser.feed(b"data:0123456789\n\nda")
        parser.feed(b"ta:0123456789\n\n")


def test_comments_and_events_are_signs_of_life() -> None:
    parser = EventParser()
    parser.feed(b"da")
    assert parser.blocks == 0
    parser.feed(b"ta:1\n")
    assert parser.blocks == 0
    parser.feed(b"\n")
    assert parser.blocks == 1
    parser.feed(b": ping\n")
    assert parser.blocks == 2
    parser.feed(b"event:a\ndata:1\n\n" * 3)
    assert parser.blocks == 5
