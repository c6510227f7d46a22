"""Halves of surrogate pairs in JSON are U+FFFD, and nothing else changes."""

import json

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from service.surrogates import without_halves

PIECES = ["\\ud83d", "\\uDE00", "\\uD83D\\ude00", "\\\\", "ud83d", "\\n", '\\"', "a", "文", "\ufffd", "😀"]


# An escaped backslash and what looks like half an escape behind it.
@example(["\\\\", "ud83d"])
@given(st.lists(st.sampled_from(PIECES), max_size=12))
def test_halves_are_replaced_and_nothing_else_is(pieces: list[str]) -> None:
    document = f'["{"".join(pieces)}"]'
    # Python's own JSON takes halves as they are.
    whole = json.loads(document)[0].encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    assert msgspec.json.decode(without_halves(document)) == [whole]


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_has_none_stays_as_it_is(text: str) -> None:
    for document in (text, json.dumps(text), json.dumps(text, ensure_ascii=False)):
        assert without_halves(document) == document
