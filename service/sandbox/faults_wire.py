"""Bots whose bytes, not their words, are the trouble: connections, framing, sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from . import studio
from .faults_http import Play, Row
from .faults_stream import HALF, WHOLE, whole
from .turn import Cut, Event, Hang, Open, Pause, Raw, Step, Steps, Turn
from .wire import frame

LATE_SECONDS = 3.0
SILENT_SECONDS = 5.0
LONGEST_PAUSE = 600.0


def _before(*first: Step, then: Play = whole) -> Play:
    """A good chat after these steps."""

    def steps(turn: Turn) -> Steps:
        yield from first
        yield from then(turn)

    return steps


def _midway(*between: Step) -> Play:
    """A good chat with these steps in the middle of its answer."""

    def steps(turn: Turn) -> Steps:
        yield from turn.begin()
        yield from turn.words(HALF)
        yield from between
        yield from turn.words(WHOLE[len(HALF) :])
        yield turn.said(WHOLE)
        yield from turn.finish()

    return steps


def _late(turn: Turn) -> Steps:
    yield Open()
    yield Pause(turn.number("pause", LATE_SECONDS, LONGEST_PAUSE))
    yield from whole(turn)


def _late_headers(turn: Turn) -> Steps:
    yield Pause(turn.number("pause", LATE_SECONDS, LONGEST_PAUSE))
    yield from whole(turn)


def _silence(turn: Turn) -> Steps:
    yield from _midway(Pause(turn.number("pause", SILENT_SECONDS, LONGEST_PAUSE)))(turn)


def _after_start(*steps_: Step) -> Play:
    def steps(turn: Turn) -> Steps:
        yield from turn.begin()
        yield from steps_
        yield from turn.answer(WHOLE)
        yield from turn.finish()

    return steps


def _before_done(*between: Step) -> Play:
    """A good chat where these steps stand in place of the done event."""

    def steps(turn: Turn) -> Steps:
        for step in whole(turn):
            if isinstance(step, Event) and step.name == "done":
                yield from between
            else:
                yield step

    return steps


def _open_end(turn: Turn) -> Steps:
    yield from whole(turn)
    yield Hang()


def _bytewise(turn: Turn) -> Steps:
    for step in whole(turn):
        if isinstance(step, Event):
            for byte in _framed(turn, step):
                yield Raw(bytes((byte,)))
                yield Pause(0)
        else:
            yield step


def _framed(turn: Turn, event: Event) -> bytes:
    return (studio.frame_event if turn.world.studio else frame)(event.name, event.data)


CONNECTION: Final[tuple[Row, ...]] = (
    ("0201", "hang", "Hangs before the headers.", _before(Hang())),
    (
        "0202",
        "hang-after-headers",
        "Hangs after the headers, before the first event.",
        _before(Open(), Hang()),
    ),
    ("0203", "stall", "Stalls in the middle of the answer.", _midway(Hang())),
    ("0204", "drip", "One byte at a time.", _bytewise),
    ("0205", "late", "The first event comes after 3 s, or as the text says: pause=2.", _late),
    ("0206", "silence", "A silence of 5 s midway, or as the text says: pause=2.", _silence),
    ("0207", "late-headers", "The headers come after 3 s, or as the text says: pause=2.", _late_headers),
    ("0208", "reset-first", "The connection is reset before the headers.", _before(Cut("reset"))),
    ("0209", "half-chunk", "The connection closes within a chunk, midway.", _midway(Cut("half"))),
    ("0210", "reset", "The connection is reset (RST) midway.", _midway(Cut("reset"))),
    ("0211", "eof-early", "A clean end of the body before any delta.", _after_start(Cut("eof"))),
    ("0212", "eof-midway", "A clean end of the body midway, without chat.completed.", _midway(Cut("eof"))),
    ("0213", "eof-empty", "An event stream with no event at all.", _before(Open(), Cut("eof"))),
    ("0214", "no-done", "A good chat whose stream ends without done.", _before_done()),
    ("0215", "open-end", "A good chat whose connection stays open after done.", _open_end),
    ("0216", "stall-after-start", "Stalls after in_progress, before any delta.", _after_start(Hang())),
)


def _reframed(change: Callable[[bytes], bytes]) -> Play:
    """A good chat with the bytes of every event changed."""

    def steps(turn: Turn) -> Steps:
        for step in whole(turn):
            yield Raw(change(_framed(turn, step))) if isinstance(step, Event) else step

    return steps


def _two_lines(event: bytes) -> bytes:
    """Breaks the data after its first comma, where JSON allows white space."""
    return event.replace(b",", b",\ndata:", 1)


def _data_first(event: bytes) -> bytes:
    name, data = event.rstrip(b"\n").split(b"\n", 1)
    return data + b"\n" + name + b"\n\n"


def _separators(turn: Turn) -> Steps:
    text = "line\u2028paragraph\u2029next\u0085unit\u001c\u000bend"
    yield from turn.begin()
    yield turn.delta("Raw separators: ")
    yield turn.delta(text)
    yield turn.said("Raw separators: " + text)
    yield from turn.finish()


def _no_final_blank(turn: Turn) -> Steps:
    for step in whole(turn):
        is_done = isinstance(step, Event) and step.name == "done"
        yield Raw(_framed(turn, step).rstrip(b"\n")) if is_done and isinstance(step, Event) else step


FRAMING: Final[tuple[Row, ...]] = (
    ("0501", "separators", "U+2028, U+2029 and U+0085 raw inside a delta.", _separators),
    (
        "0502",
        "comments",
        "Comment lines (: ping) between and inside events.",
        _reframed(lambda e: b": ping\n\n: ping\n" + e),
    ),
    ("0503", "crlf", "Lines end in CR LF.", _reframed(lambda e: e.replace(b"\n", b"\r\n"))),
    ("0504", "cr", "Lines end in CR alone.", _reframed(lambda e: e.replace(b"\n", b"\r"))),
    ("0505", "two-data-lines", "The JSON of each event spans two data lines.", _reframed(_two_lines)),
    (
        "0506",
        "id-retry",
        "id: and retry: fields in every event.",
        _reframed(lambda e: b"id:7\nretry:3000\n" + e),
    ),
    ("0507", "bom", "A byte order mark before the first event.", _before(Raw(b"\xef\xbb\xbf"))),
    (
        "0508",
        "spaces",
        "A space after each colon.",
        _reframed(lambda e: e.replace(b"event:", b"event: ", 1).replace(b"\ndata:", b"\ndata: ", 1)),
    ),
    ("0509", "data-first", "The data line comes before the event line.", _reframed(_data_first)),
    ("0510", "no-content-type", "An event stream without Content-Type.", _before(Open(None))),
    (
        "0511",
        "wrong-content-type",
        "A proper event stream under Content-Type text/html.",
        _before(Open("text/html")),
    ),
    (
        "0512",
        "charset",
        "Content-Type text/event-stream; charset=UTF-8.",
        _before(Open("text/event-stream; charset=UTF-8")),
    ),
    ("0513", "no-final-blank", "The last event lacks the blank line that ends it.", _no_final_blank),
    (
        "0514",
        "no-data",
        "An event line without a data line, midway.",
        _midway(Raw(b"event:conversation.message.delta\n\n")),
    ),
    (
        "0515",
        "bad-json",
        "Data that is no JSON, midway.",
        _midway(Raw(b'event:conversation.message.delta\ndata:{"id":\n\n')),
    ),
    (
        "0516",
        "bad-utf8",
        "Bytes that are no UTF-8, midway.",
        _midway(Raw(b'event:noise\ndata:"\xff\xfe"\n\n')),
    ),
    ("0517", "blank-lines", "Many blank lines between the events.", _reframed(lambda e: b"\n\n\n" + e)),
)


def _huge_delta(turn: Turn) -> Steps:
    text = "0123456789abcdef" * (64 * 1024)
    yield from turn.begin()
    yield turn.delta(text)
    yield turn.said(text)
    yield from turn.finish()


def _endless_line(turn: Turn) -> Steps:
    yield from turn.begin()
    yield Raw(b'event:conversation.message.delta\ndata:{"content":"')
    filling = Raw(b"x" * 64 * 1024)
    for _ in range(16 * 1024):
        yield filling
    yield Cut("half")
    yield from turn.failed(5000, "endless")


def _many(turn: Turn) -> Steps:
    yield from turn.begin()
    yield from (turn.delta(f"{number} ") for number in range(20_000))
    yield turn.said("".join(f"{number} " for number in range(20_000)))
    yield from turn.finish()


def _load(turn: Turn) -> Steps:
    count = int(turn.number("n", 100, 1_000_000))
    pause = turn.number("d", 0.01, 60)
    text = "x" * int(turn.number("size", 8, 1_000_000))
    yield from turn.begin()
    for _ in range(count):
        yield turn.delta(text)
        if pause:
            yield Pause(pause)
    yield turn.said(text * min(count, 10_000_000 // max(len(text), 1)))
    yield from turn.finish()


def _for_ever(turn: Turn) -> Steps:
    yield from turn.begin()
    for number in range(6_000):
        yield turn.delta(f"{number} ")
        yield Pause(0.1)
    yield from turn.failed(5000, "it did end")


SIZES: Final[tuple[Row, ...]] = (
    ("0601", "huge-delta", "One delta of 1 MiB.", _huge_delta),
    ("0602", "endless-line", "A data line of 1 GiB that never ends.", _endless_line),
    ("0603", "many-deltas", "20,000 deltas without a pause.", _many),
    (
        "0604",
        "load",
        "n=100 deltas, d=0.01 seconds after each, size=8 characters each, as the text says.",
        _load,
    ),
    ("0605", "for-ever", "A word every 0.1 s for ten minutes.", _for_ever),
)
