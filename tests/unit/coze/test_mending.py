"""Broken JSON, read as far as it goes. What comes of it in a chat is test_translation's."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.coze.mending import UNDECODABLE, lenient, parse, whole_characters


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


@pytest.mark.parametrize("half", [0xD800, 0xDBFF], ids=hex)
def test_every_first_half_waits_for_the_second(half: int) -> None:
    assert whole_characters(f"ab{chr(half)}") == ("ab", chr(half))


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


class Thing(msgspec.Struct):
    text: str | None = None
    number: int | None = None
    other: list[int] | None = msgspec.field(default=None, name="another")


@pytest.mark.parametrize(
    ("data", "thing"),
    [
        (b'{"text": "a", "number": 5, "another": [1]}', Thing("a", 5, [1])),
        (b"{}", Thing()),
        (b'{"text": "a", "number": "5", "another": ["1"]}', Thing("a", 5, [1])),
        # A field that is not what it should be is absent, and takes no other with it.
        (b'{"text": 1, "number": "5", "another": ["1"]}', Thing(None, 5, [1])),
        (b'{"text": "a", "number": "five", "another": [1]}', Thing("a", None, [1])),
        (b'{"text": "a", "number": 5, "another": {}}', Thing("a", 5, None)),
        (b'{"text": [], "strange": {}}', Thing()),
        # A broken character is replaced.
        (b'{"text": "a\xff", "number": 5}', Thing("a\ufffd", 5)),
        (b'{"text": "\xf0\x9f\x98", "number": 5}', Thing("\ufffd", 5)),
        (rb'{"text": "a\ud83d", "number": 5}', Thing("a\ufffd", 5)),
        (rb'{"text": "\ud83d\ude00\ud83d"}', Thing("😀\ufffd")),
        ('{"text": "\t你"}'.encode(), Thing("\t你")),
        (b'{"text": "a", "number": NaN}', Thing("a")),
    ],
)
def test_a_lenient_decoder(data: bytes, thing: Thing) -> None:
    assert lenient(Thing)(data) == lenient(Thing)(msgspec.Raw(data)) == thing


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b'"text"', b'{"text": "a"', b"{" * 100_000])
def test_what_is_no_object_does_not_decode(data: bytes) -> None:
    decode: Any = lenient(Thing)
    with pytest.raises(UNDECODABLE):
        decode(data)
