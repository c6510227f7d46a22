"""Which id is that of an answer's end, and for how long."""

import time

import pytest

from service.answers.last_event import end_id, fingerprint, is_answered

ASKED = fingerprint(b'{"stream": true}')


def test_an_id_is_known_by_what_was_asked_and_when(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_800_000_000.7
    monkeypatch.setattr(time, "time", lambda: now)
    end = end_id(ASKED)
    assert end == f"end-{1_800_000_000:x}-{ASKED}"
    # Resumable answers have a full stop in their ids.
    assert "." not in end
    assert end_id(ASKED) == end
    for later, known in ((0, True), (599, True), (600, False), (601, False), (-600, True), (-602, False)):
        monkeypatch.setattr(time, "time", lambda: now + later)  # noqa: B023
        assert is_answered(end, ASKED) is known, later
    for moment, known in ((1_800_000_600.0, True), (1_800_000_600.5, False)):
        monkeypatch.setattr(time, "time", lambda: moment)  # noqa: B023
        assert is_answered(end, ASKED) is known


@pytest.mark.parametrize("other", [b"", b'{"stream":true}', b'{"stream": true} '])
def test_another_question_is_not_answered(other: bytes) -> None:
    asked = fingerprint(b'{"stream": true}')
    assert fingerprint(other) != asked
    assert is_answered(end_id(asked), asked)
    assert not is_answered(end_id(asked), fingerprint(other))


@pytest.mark.parametrize(
    "odd", ["", "end", "end--", f"end-{ASKED}", f"end-x-{ASKED}", f"end-{'f' * 16}-{ASKED}", f"END-0-{ASKED}", "a.1"]
)
def test_what_is_no_such_id(odd: str) -> None:
    assert not is_answered(odd, ASKED)
    assert not is_answered(f"{end_id(ASKED)}\n", ASKED)
