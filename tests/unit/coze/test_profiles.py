"""What is picked of a bot of Coze's, and that nothing else is."""

import json
from typing import Any

import pytest

from service.bounds import BOUNDS
from service.coze import wire
from service.coze.profiles import Profile, profile_of

ICON = "https://example.com/bot.png"


def picked(**fields: Any) -> Profile:
    return profile_of(json.dumps(fields).encode())


def test_a_bot_as_coze_describes_it() -> None:
    found = picked(
        bot_id="1",
        name="小助手",
        description="Helps",
        icon_url=ICON,
        prompt_info={"prompt": "secret"},
        onboarding_info={"prologue": "Hi", "suggested_questions": ["Who?", "Why?"], "onboarding_mode": "secret"},
        plugin_info_list=[{"name": "secret"}],
    )
    assert found == Profile("小助手", "Helps", ICON, "Hi", ("Who?", "Why?"))


@pytest.mark.parametrize(
    ("onboarding", "prologue", "questions"),
    [
        ({"prologue": "Hi", "suggested_questions": ["Why?"]}, "Hi", ("Why?",)),
        ({"Prologue": "Hi", "SuggestedQuestions": ["Why?"]}, "Hi", ("Why?",)),
        (
            {"prologue": "", "Prologue": "Hi", "suggested_questions": [], "SuggestedQuestions": ["Why?"]},
            "Hi",
            ("Why?",),
        ),
        ({"prologue": None, "suggested_questions": None}, "", ()),
        ({"prologue": 7, "suggested_questions": ["Why?"]}, "", ("Why?",)),
        ({"prologue": {"text": "Hi"}, "Prologue": "Hi", "suggested_questions": "Why?"}, "Hi", ()),
        ({"prologue": "Hi", "suggested_questions": [None, 7, ["x"], {}, "", "  ", " Why? ", True]}, "Hi", ("Why?",)),
        ({"prologue": "Hi", "suggested_questions": {"0": "Why?"}}, "Hi", ()),
        ({}, "", ()),
    ],
)
def test_how_it_opens(onboarding: Any, prologue: str, questions: tuple[str, ...]) -> None:
    found = picked(name="n", onboarding_info=onboarding)
    assert (found.title, found.prologue, found.suggested_questions) == ("n", prologue, questions)


@pytest.mark.parametrize("odd", [None, 7, "x", [], True, [{"prologue": "Hi"}]])
def test_an_odd_field_spoils_no_other(odd: Any) -> None:
    assert picked(name="n", description=7, icon_url=odd, onboarding_info=odd) == Profile("n")
    assert picked(name=7 if odd == "x" else odd, icon_url=ICON) == Profile("", icon_url=ICON)
    assert picked() == Profile()


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", "//h/a", "", 'https://h/"x'])
def test_a_picture_is_an_address_of_the_web(url: str) -> None:
    assert picked(icon_url=url).icon_url == ""


def test_broken_characters_are_replaced() -> None:
    opening = b'{"prologue":"p\\ud83d","suggested_questions":["q\xff"]}'
    data = b'{"name":"a\xff","description":"x\\ud83d","onboarding_info":%b}' % opening
    assert profile_of(data) == Profile("a\ufffd", "x\ufffd", "", "p\ufffd", ("q\ufffd",))


def test_no_bot_takes_much_memory() -> None:
    most, many = BOUNDS.bot_text_characters, BOUNDS.bot_questions
    long = "x" * 100_000
    found = picked(
        name=long, description=long, onboarding_info={"prologue": long, "suggested_questions": [7, *[long] * 100]}
    )
    assert {len(text) for text in (found.title, found.description, found.prologue)} == {most}
    assert [len(text) for text in found.suggested_questions] == [most] * many


@pytest.mark.parametrize("data", [b"null", b"[]", b'"x"', b"7", b"{", b""])
def test_what_is_no_object_is_no_bot(data: bytes) -> None:
    with pytest.raises(wire.UNDECODABLE):
        profile_of(data)
