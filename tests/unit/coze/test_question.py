"""Which messages Coze is sent for a chat request."""

import json
from typing import Any

import msgspec
import pytest

from generated.models import ChatRequest
from service.coze.question import file_ids, messages_for_coze, words
from service.errors import ServiceError

IMAGE = json.dumps([{"type": "text", "text": "what is this"}, {"type": "image", "file_id": "1"}])


def sent(*messages: tuple[str, str], conversation: str | None = None) -> list[tuple[str, str]]:
    body: dict[str, Any] = {
        "user_id": "u",
        "messages": [{"role": role, "content": content} for role, content in messages],
        "conversation_id": conversation,
    }
    request = msgspec.convert(body, ChatRequest)
    return [(message["role"], message["content"]) for message in messages_for_coze(request)]


def test_one_question() -> None:
    request = msgspec.convert({"user_id": "u", "messages": [{"role": "user", "content": "hi"}]}, ChatRequest)
    assert messages_for_coze(request) == [{"role": "user", "type": "question", "content": "hi", "content_type": "text"}]


def test_a_history_without_a_conversation_goes_whole() -> None:
    history = [("user", "1"), ("assistant", "2"), ("user", "3")]
    assert sent(*history) == history


def test_an_answer_of_the_history_goes_as_one() -> None:
    messages = [
        {"role": "user", "content": "1"},
        {"role": "assistant", "content": "2", "content_type": None},
        {"role": "user", "content": "3"},
    ]
    request = msgspec.convert({"user_id": "u", "messages": messages}, ChatRequest)
    assert messages_for_coze(request)[1] == {
        "role": "assistant",
        "type": "answer",
        "content": "2",
        "content_type": "text",
    }


def test_with_a_conversation_only_what_follows_the_last_answer_goes() -> None:
    assert sent(("user", "1"), ("assistant", "2"), ("user", "3"), conversation="c") == [("user", "3")]
    assert sent(("user", "1"), ("assistant", "2"), ("user", "3"), ("user", "4"), conversation="c") == [
        ("user", "3"),
        ("user", "4"),
    ]
    assert sent(("user", "1"), ("user", "2"), conversation="c") == [("user", "1"), ("user", "2")]


def test_an_empty_conversation_is_none() -> None:
    assert sent(("user", "1"), ("assistant", "2"), ("user", "3"), conversation="") == [
        ("user", "1"),
        ("assistant", "2"),
        ("user", "3"),
    ]


def test_empty_messages_are_left_out_before_anything_is_decided() -> None:
    assert sent(("user", "1"), ("assistant", "")) == [("user", "1")]
    # A turn that failed left an empty answer: it is not the last answer.
    history = (("user", "1"), ("assistant", "2"), ("user", "3"), ("assistant", ""), ("user", "4"))
    assert sent(*history, conversation="c") == [("user", "3"), ("user", "4")]


def test_a_system_message_goes_as_the_user_s_and_never_last() -> None:
    assert sent(("system", "be kind"), ("user", "1")) == [("user", "be kind"), ("user", "1")]
    assert sent(("user", "1"), ("system", "be kind")) == [("user", "be kind"), ("user", "1")]
    assert sent(("user", "1"), ("assistant", "2"), ("system", "be brief"), ("user", "3"), ("system", "be kind")) == [
        ("user", "1"),
        ("assistant", "2"),
        ("user", "be brief"),
        ("user", "be kind"),
        ("user", "3"),
    ]


def test_the_question_is_found_by_place_not_by_text() -> None:
    twice = [("user", "same"), ("user", "s"), ("user", "same")]
    assert sent(("user", "same"), ("system", "s"), ("user", "same")) == twice


@pytest.mark.parametrize(
    "messages",
    [
        [("assistant", "2")],
        [("user", "1"), ("assistant", "2")],
        [("system", "s")],
        [("user", "")],
        [("user", ""), ("system", "s")],
    ],
)
def test_without_a_question_there_is_no_chat(messages: list[tuple[str, str]]) -> None:
    for conversation in (None, "c"):
        with pytest.raises(ServiceError) as caught:
            sent(*messages, conversation=conversation)
        assert (caught.value.status, caught.value.message) == (
            400,
            "The last message must be the user's. Empty and system messages do not count.",
        )


def with_parts(content: str) -> ChatRequest:
    message = {"role": "user", "content": content, "content_type": "object_string"}
    return msgspec.convert({"user_id": "u", "messages": [message]}, ChatRequest)


@pytest.mark.parametrize(
    "content",
    [
        IMAGE,
        '[{"type":"image","file_url":"https://example.com/a.png"}]',
        '[{"type":"file","file_id":"1","file_url":null}]',
        '[{"type":"audio","file_id":"1"},{"type":"text","text":""}]',
    ],
)
def test_object_string_goes_unchanged(content: str) -> None:
    assert messages_for_coze(with_parts(content)) == [
        {"role": "user", "type": "question", "content": content, "content_type": "object_string"}
    ]


DEEP = '[{"type":"text","text":"a","odd":' + "[" * 100_000
NEEDS_PARTS = "With content_type object_string, content must be a JSON array of text, image, file and audio parts: "
NEEDS_FILE = "An image, file or audio part of an object_string message needs a file_id or a file_url."


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("hello", NEEDS_PARTS + "it is not valid JSON"),
        ("{}", NEEDS_PARTS + "Expected `array`, got `object`"),
        ("[]", NEEDS_PARTS + "Expected `array` of length >= 1"),
        ("null", NEEDS_PARTS + "Expected `array`, got `null`"),
        ('"text"', NEEDS_PARTS + "Expected `array`, got `str`"),
        ("[1]", NEEDS_PARTS + "Expected `object`, got `int` - at `$[0]`"),
        ('[{"type":"video","file_id":"1"}]', NEEDS_PARTS + "Invalid value 'video' - at `$[0].type`"),
        ('[{"text":"no type"}]', NEEDS_PARTS + "Object missing required field `type` - at `$[0]`"),
        ('[{"type":"text"}]', NEEDS_PARTS + "Object missing required field `text` - at `$[0]`"),
        ('[{"type":"text","text":5}]', NEEDS_PARTS + "Expected `str`, got `int` - at `$[0].text`"),
        ('[{"type":"image"}]', NEEDS_FILE),
        ('[{"type":"image","file_id":""}]', NEEDS_FILE),
        ('[{"type":"text","text":"a"},{"type":"audio","file_url":""}]', NEEDS_FILE),
        ('[{"type":"file","file_id":7}]', NEEDS_PARTS + "Expected `str | null`, got `int` - at `$[0].file_id`"),
        ("[" * 100_000, NEEDS_PARTS + "Expected `object`, got `array` - at `$[0]`"),
        ("[", NEEDS_PARTS + "it is not valid JSON"),
        (DEEP, NEEDS_PARTS + "it is not valid JSON"),
    ],
)
def test_object_string_that_is_none(content: str, message: str) -> None:
    with pytest.raises(ServiceError) as caught:
        messages_for_coze(with_parts(content))
    assert (caught.value.status, caught.value.message) == (400, message)


def request_of(*messages: dict[str, Any]) -> ChatRequest:
    return msgspec.convert({"user_id": "u", "messages": messages}, ChatRequest)


def parts(*given: dict[str, Any], role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": json.dumps(given), "content_type": "object_string"}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def test_the_files_that_are_named() -> None:
    assert file_ids(
        request_of(
            parts({"type": "image", "file_id": "1"}, text("and"), {"type": "file", "file_id": "2"}),
            {"role": "user", "content": json.dumps([{"type": "image", "file_id": "no part"}])},
            {"role": "user", "content": "[broken", "content_type": "object_string"},
            {"role": "user", "content": DEEP, "content_type": "object_string"},
            {"role": "user", "content": "", "content_type": "object_string"},
            parts({"type": "audio", "file_url": "https://a/b"}, {"type": "audio", "file_id": "3"}, role="assistant"),
            # Half an emoji, which is mended before Coze gets it, hides no file from who asks whose it is.
            parts(text("\ud83d"), {"type": "image", "file_id": "4"}),
        )
    ) == ["1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([{"role": "user", "content": "one"}, {"role": "user", "content": "two"}], "two"),
        ([{"role": "user", "content": "one"}, {"role": "user", "content": ""}], "one"),
        ([{"role": "user", "content": "one"}, {"role": "system", "content": "two"}], "one"),
        ([{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}], "one"),
        ([{"role": "assistant", "content": "one"}], ""),
        ([parts(text("What"), {"type": "image", "file_id": "1"}, text("is it?"))], "What is it?"),
        ([parts(text("half \ud83d"))], "half \ufffd"),
        ([parts(text("one")), {"role": "user", "content": "[two]", "content_type": "text"}], "[two]"),
        ([parts({"type": "image", "file_id": "1"})], ""),
        ([{"role": "user", "content": "[broken", "content_type": "object_string"}], ""),
    ],
)
def test_the_words_of_the_question(messages: list[dict[str, Any]], expected: str) -> None:
    assert words(request_of(*messages)) == expected


@pytest.mark.parametrize("name", ["FILE_ID", "File_Id", "TYPE", "Text", "FILE_URL"])
def test_a_name_that_coze_would_read_as_another_is_refused(name: str) -> None:
    parts = [{"type": "image", "file_url": "https://example.com/a.png", name: "1"}]
    content = {"role": "user", "content": json.dumps(parts), "content_type": "object_string"}
    request = msgspec.convert({"user_id": "u", "messages": [content]}, ChatRequest)
    with pytest.raises(ServiceError, match="misspelt"):
        messages_for_coze(request)
