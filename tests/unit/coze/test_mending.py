"""Broken JSON, read as far as it goes. What comes of it in a chat is test_translation's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.coze.mending import UNDECODABLE, parse, whole_characters


@pytest.mark.parametrize(
    ("text", "whole", "cut"),
    [
        ("", "", ""),
        ("ab", "ab", ""),
        ("\ud83d\ude00", "😀", ""),
        ("a\ud83d", "a", "\ud83d"),
        ("a\ude00", "a\ufffd", ""),
        ("\ud83d\ud83db", "\ufffd\ufffdb", ""),
        ("\udcf0\udc9f\udc98\udc80", "😀", ""),
        ("a\udcf0\udc9f\udc98", "a", "\udcf0\udc9f\udc98"),
        ("\udcf0\udc9fa", "\ufffda", ""),
        ("\udcff", "\ufffd", ""),
        ("\udcf0\ud83d", "\ufffd", "\ud83d"),
        ("\udced\udca0\udcbd", "\ufffd\ufffd\ufffd", ""),
    ],
)
def test_whole_characters(text: str, whole: str, cut: str) -> None:
    assert whole_characters(text) == (whole, cut)


@given(st.text(st.characters(exclude_categories=()), max_size=20))
def test_whatever_a_text_holds_it_can_be_written(text: str) -> None:
    whole, cut = whole_characters(text)
    whole.encode()
    assert len(cut) <= 3
    # Nothing that is whole is changed.
    if not any("\ud800" <= character <= "\udfff" for character in text):
        assert (whole, cut) == (text, "")


def test_parse() -> None:
    assert parse('{"a": [NaN, -Infinity, 1e999, 1.5], "b": "\\ud83d\t"}') == {
        "a": [None, None, None, 1.5],
        "b": "\ud83d\t",
    }
    for text in ("", "{", "[" * 100_000, "9" * 5000):
        with pytest.raises(UNDECODABLE):
            parse(text)
