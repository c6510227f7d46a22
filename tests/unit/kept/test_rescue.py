"""What is missing of an answer, by Coze's record of it."""

import pytest

from generated.models import (
    ChatCompletedEvent,
    ChatStartedEvent,
    FollowUpEvent,
    MessageDeltaEvent,
    ReasoningDeltaEvent,
)
from service.coze import ChatEvent
from service.kept.answer import Said
from service.kept.rescue import rest

NOW = "2026-01-01T00:00:00.000Z"


def record(*answers: tuple[str, str], follow_ups: tuple[str, ...] = ()) -> list[ChatEvent]:
    """A chat with these answers, each with its thoughts before it."""
    events: list[ChatEvent] = [ChatStartedEvent(conversation_id="1", chat_id="2", timestamp=NOW)]
    for thoughts, answer in answers:
        events.append(ReasoningDeltaEvent(content=thoughts, timestamp=NOW))
        events.append(MessageDeltaEvent(content=answer, timestamp=NOW))
    events += [FollowUpEvent(content=text, timestamp=NOW) for text in follow_ups]
    return [*events, ChatCompletedEvent(conversation_id="1", timestamp=NOW)]


def texts(events: list[ChatEvent] | None) -> list[str]:
    assert events is not None
    return [getattr(event, "content", "") for event in events]


CHAT = (("Let me think. ", "The first."), ("Once more. ", "\n\nThe second."))


@pytest.mark.parametrize(
    ("content", "reasoning", "missing"),
    [
        ("", "", ["Let me think. ", "The first.", "Once more. ", "\n\nThe second."]),
        ("", "Let me", [" think. ", "The first.", "Once more. ", "\n\nThe second."]),
        ("The f", "Let me think. ", ["irst.", "Once more. ", "\n\nThe second."]),
        ("The first.", "Let me think. O", ["nce more. ", "\n\nThe second."]),
        ("The first.\n\nThe", "Let me think. Once more. ", [" second."]),
        ("The first.\n\nThe second.", "Let me think. Once more. ", []),
    ],
)
def test_what_was_begun_is_cut(content: str, reasoning: str, missing: list[str]) -> None:
    said = Said([content], [reasoning])
    assert texts(rest(record(*CHAT), said, begun=True)) == [*missing, ""]


def test_one_whose_ids_nobody_has_seen_begins_with_them() -> None:
    found = rest(record(*CHAT), Said(), begun=False)
    assert found == record(*CHAT)


def test_follow_ups_that_were_there_are_not_repeated() -> None:
    chat = record(("", "Yes."), follow_ups=("Why?", "How?", "When?"))
    assert texts(rest(chat, Said(["Yes."], [], ["Why?"]), begun=True)) == ["How?", "When?", ""]


def test_a_record_without_thoughts() -> None:
    found = rest(record(("", "The first.")), Said(["The"], ["Let me think. "]), begun=True)
    assert texts(found) == [" first.", ""]


def test_thoughts_that_are_others_are_not_mixed() -> None:
    found = rest(record(("Hm. ", "The first.")), Said(["The"], ["Let me think. "]), begun=True)
    assert texts(found) == [" first.", ""]


@pytest.mark.parametrize("content", ["Another", "The first. And more"])
def test_a_record_that_is_another(content: str) -> None:
    assert rest(record(("", "The first.")), Said([content]), begun=True) is None
