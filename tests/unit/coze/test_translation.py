"""Coze's events to ours: every text once, whatever the order, the ids and the noise."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from generated.models import ChatCompletedEvent, FollowUpEvent, MessageDeltaEvent, ReasoningDeltaEvent
from service.coze.translation import ChatEvent, Translation
from service.errors import Asked, ServiceError

NOW = "2025-01-01T12:00:00.000Z"
CHAT = {"id": "1", "conversation_id": "2", "bot_id": "3", "status": "in_progress"}


def translate(*events: tuple[str, Any]) -> tuple[Translation, list[ChatEvent]]:
    translation, out = Translation(Asked.BOT), list[ChatEvent]()
    for name, data in events:
        translation.feed(f"conversation.{name}".encode(), json.dumps(data).encode(), out, NOW)
    return translation, out


def delta(content: str, **fields: Any) -> tuple[str, Any]:
    return "message.delta", {"id": "m", "role": "assistant", "type": "answer", "content": content, **fields}


def message(content: str, **fields: Any) -> tuple[str, Any]:
    return "message.completed", {"id": "m", "role": "assistant", "type": "answer", "content": content, **fields}


def text(events: list[ChatEvent]) -> str:
    return "".join(event.content for event in events if isinstance(event, MessageDeltaEvent))


@pytest.mark.parametrize(
    ("events", "answer"),
    [
        ([delta("a"), delta("b"), message("ab")], "ab"),
        ([message("ab")], "ab"),
        ([message("ab"), message("ab")], "ab"),
        ([delta("a"), message("a"), delta("b", id="n"), message("b", id="n")], "a\n\nb"),
        ([message("a"), message("b", id="n")], "a\n\nb"),
        ([delta("a"), delta("b", id="n"), delta("c"), message("ac"), message("b", id="n")], "a\n\nbc"),
        ([delta("a", id=None), message("a", id=None)], "a"),
        ([delta("a", id=None), message("a", id=None), delta("b", id=None), message("b", id=None)], "a\n\nb"),
        ([delta("a", id=None), message("a")], "a"),
        ([delta("a"), message("a", id=None)], "a"),
        ([message("a", id=None), message("b", id=None)], "a\n\nb"),
        ([delta("a", id=7), message("a", id=7)], "a"),
        ([delta(""), message("")], ""),
        ([delta(""), message(""), delta("b", id="n")], "b"),
        ([delta("a"), message("noise", id="v", type="verbose"), delta("b")], "ab"),
        ([delta("x", type="function_call"), message("x", type="tool_response", content_type="card")], ""),
        ([delta("x", role="user"), message("x", role="user")], ""),
        ([message('{"card": 1}', content_type="card")], ""),
        ([message("x", type="knowledge")], ""),
    ],
)
def test_answers(events: list[tuple[str, Any]], answer: str) -> None:
    assert text(translate(*events)[1]) == answer


@given(st.lists(st.text(min_size=1), min_size=1), st.booleans())
def test_deltas_joined_are_the_answer(pieces: list[str], with_ids: bool) -> None:
    fields = {} if with_ids else {"id": None}
    events = [delta(piece, **fields) for piece in pieces] + [message("".join(pieces), **fields)]
    assert text(translate(*events)[1]) == "".join(pieces)


def test_reasoning_and_content_in_one_delta() -> None:
    _, events = translate(delta("", reasoning_content="hm"), delta("a", reasoning_content="so"))
    assert [(type(event), event.content) for event in events if not isinstance(event, ChatCompletedEvent)] == [
        (ReasoningDeltaEvent, "hm"),
        (ReasoningDeltaEvent, "so"),
        (MessageDeltaEvent, "a"),
    ]


def test_follow_ups_are_no_answer() -> None:
    _, events = translate(
        message("a"), message("more?", id="f", type="follow_up"), message("", id="g", type="follow_up")
    )
    assert text(events) == "a"
    assert [event.content for event in events if isinstance(event, FollowUpEvent)] == ["more?"]


def test_the_end() -> None:
    translation, events = translate(
        ("chat.created", CHAT), ("chat.completed", {**CHAT, "status": "completed", "usage": {"token_count": 3}})
    )
    assert (translation.chat_id, translation.conversation_id) == ("1", "2")
    (end,) = events
    assert isinstance(end, ChatCompletedEvent)
    assert msgspec.to_builtins(end.usage) == {"token_count": 3}
    translation.feed(b"conversation.message.delta", b"whatever comes now", events, NOW)
    assert len(events) == 1


@pytest.mark.parametrize(
    ("name", "data", "status"),
    [
        ("chat.failed", {**CHAT, "last_error": {"code": 4028, "msg": "x"}}, 503),
        ("chat.failed", {**CHAT, "last_error": {"code": "4010", "msg": "x"}}, 400),
        ("chat.failed", {**CHAT, "last_error": {"code": 0, "msg": ""}}, 503),
        ("chat.failed", {"code": 4016, "msg": "x"}, 429),
        ("chat.requires_action", CHAT, 500),
        ("chat.required_action", CHAT, 500),
        ("chat.canceled", CHAT, 503),
        ("chat.cancelled", CHAT, 503),
        ("chat.completed", {**CHAT, "status": "canceled"}, 503),
        ("chat.completed", {}, 503),
        ("chat.completed", [], 503),
        ("message.delta", {"type": "answer", "content": {"odd": 1}}, 503),
        ("message.delta", None, 503),
        ("message.completed", {"type": "answer", "content": 5}, 503),
    ],
)
def test_failures(name: str, data: Any, status: int) -> None:
    with pytest.raises(ServiceError) as caught:
        translate((name, data))
    assert caught.value.status == status


def test_what_is_not_understood_but_does_not_matter() -> None:
    translation, events = translate(
        ("message.completed", {"type": "tool_response", "content": {"odd": 1}}),
        ("audio.delta", {"content": 5}),
        ("something.new", "whatever"),
    )
    assert events == []
    assert not translation.over
