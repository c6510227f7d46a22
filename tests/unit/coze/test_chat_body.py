"""The body of an answer to a chat: events, or the error that stands in place of events."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from generated.models import MessageDeltaEvent
from service.bounds import BOUNDS
from service.coze.chat_body import ChatBody
from service.coze.errors import BROKE_OFF, NOT_UNDERSTOOD, Asked, coze_failure
from service.coze.http import Answer
from service.coze.translation import ChatEvent, Translation
from service.errors import ServiceError

EVENTS = "text/event-stream; charset=utf-8"
DELTA = b'event:conversation.message.delta\ndata:{"type":"answer","content":"a"}\n\n'


def body(status: int = 200, kind: str | None = EVENTS, asked: Asked = Asked.BOT, **headers: str) -> ChatBody:
    if kind is not None:
        headers["content-type"] = kind
    return ChatBody(Answer(status, headers), asked, Translation(asked))


def fed(found: ChatBody, *chunks: bytes) -> tuple[list[bool], list[ChatEvent]]:
    events: list[ChatEvent] = []
    return [found.feed(chunk, events) for chunk in chunks], events


def facts(error: ServiceError) -> tuple[Any, ...]:
    return error.failure, error.code, error.cause


@pytest.mark.parametrize("kind", [EVENTS, "Text/Event-Stream ", "", None])
def test_events_and_signs_of_life(kind: str | None) -> None:
    signs, events = fed(body(kind=kind), DELTA[:20], DELTA[20:], b": ping\n\n", b"\n", DELTA + DELTA)
    assert signs == [False, True, True, False, True]
    assert [type(event) for event in events] == [MessageDeltaEvent] * 3
    assert all(event.timestamp.endswith("Z") for event in events)


@pytest.mark.parametrize(
    ("begun", "chunks", "expected"),
    [
        (lambda: body(), [DELTA], (BROKE_OFF, None, "the stream ended early")),
        (lambda: body(), [], (BROKE_OFF, None, "the stream ended early")),
        (lambda: body(), [DELTA, b'{"code":4015}'], (BROKE_OFF, None, "the stream ended early")),
        (lambda: body(), [b"hello"], (BROKE_OFF, None, "the stream ended early")),
        (
            lambda: body(),
            [b' \r\n{"code"', b":4015}"],
            (coze_failure(Asked.BOT, code=4015), 4015, "JSON in place of events"),
        ),
        (
            lambda: body(kind="Application/JSON ;x"),
            [b'{"code"', b":4015}"],
            (coze_failure(Asked.BOT, code=4015), 4015, "HTTP 200, application/json"),
        ),
        (
            lambda: body(asked=Asked.DEFAULT_BOT),
            [b'{"code":4015}'],
            (coze_failure(Asked.DEFAULT_BOT, code=4015), 4015, "JSON in place of events"),
        ),
        (lambda: body(kind="text/html"), [b"<html>"], (NOT_UNDERSTOOD, None, "HTTP 200, text/html")),
        (lambda: body(kind="text/html"), [b'{"code":0}'], (NOT_UNDERSTOOD, None, "HTTP 200, text/html")),
        (lambda: body(), [b"{"], (NOT_UNDERSTOOD, None, "JSON in place of events")),
        (
            lambda: body(502, "text/html"),
            [b"<html>"],
            (coze_failure(Asked.BOT, status=502), None, "HTTP 502, text/html"),
        ),
        (
            lambda: body(429, None),
            [],
            (coze_failure(Asked.BOT, status=429), None, "HTTP 429, no content type"),
        ),
        # The kind of a stream does not make one of an answer that is an error by its status.
        (
            lambda: body(400),
            [b'{"code":4006}'],
            (coze_failure(Asked.BOT, code=4006, status=400), 4006, "HTTP 400, text/event-stream"),
        ),
    ],
)
def test_a_body_that_ends_before_the_chat(
    begun: Callable[[], ChatBody], chunks: list[bytes], expected: tuple[Any, ...]
) -> None:
    found = begun()
    signs, events = fed(found, *chunks)
    assert len(events) == signs.count(True)
    assert facts(found.error()) == expected


def test_coze_says_when_to_ask_again() -> None:
    assert body(429, "application/json", Asked.BOT, **{"retry-after": "7"}).error().retry_after == 7


def test_what_is_no_stream_is_kept_up_to_a_bound() -> None:
    """And ends the chat beyond, if its kind says that no events follow."""
    most = BOUNDS.coze_no_stream_bytes
    text = json.dumps({"code": 4015, "msg": "x" * (most - 25)}).encode()
    assert len(text) == most
    found = body(kind="application/json")
    assert fed(found, text[:1], text[1:])[0] == [False, False]
    assert found.error().code == 4015
    with pytest.raises(ServiceError) as caught:
        found.feed(b" ", [])
    assert caught.value.code == 4015
    # Events may come yet.
    stream = body()
    assert fed(stream, text, b" ", b"more")[0] == [False] * 3
    assert facts(stream.error()) == (BROKE_OFF, None, "the stream ended early")
    assert fed(stream, b"\n\n" + DELTA)[0] == [True]


def test_an_event_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BOUNDS, "coze_event_bytes", 100)
    with pytest.raises(ServiceError) as caught:
        fed(body(), b"data:" + b"x" * 200)
    assert facts(caught.value) == (NOT_UNDERSTOOD, None, "an event without end")
