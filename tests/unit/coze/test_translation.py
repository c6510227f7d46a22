"""Coze's events to ours: every text once, whatever the order, the ids and the noise."""

import itertools
import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from generated.models import ChatCompletedEvent, ChatStartedEvent, FollowUpEvent, MessageDeltaEvent, ReasoningDeltaEvent
from service.coze.errors import Asked, coze_failure
from service.coze.translation import ChatEvent, Translation
from service.errors import ServiceError

NOW = "2025-01-01T12:00:00.000Z"
CHAT = {"id": "1", "conversation_id": "2", "bot_id": "3", "status": "in_progress"}
ENDED = {**CHAT, "status": "completed"}
FINISHED = "chat.completed", ENDED
Event = tuple[str, Any]


def translate(*events: Event) -> tuple[Translation, list[ChatEvent]]:
    """Feeds events; their data is JSON already if it is bytes."""
    translation, out = Translation(Asked.BOT), list[ChatEvent]()
    for name, data in events:
        feed(translation, name, data, out)
    assert {event.timestamp for event in out} <= {NOW}
    return translation, out


def feed(translation: Translation, name: str, data: Any, out: list[ChatEvent]) -> None:
    written = data if isinstance(data, bytes) else json.dumps(data).encode()
    translation.feed(
        name.encode() if name == "error" or "done" in name else f"conversation.{name}".encode(), written, out, NOW
    )


def delta(content: Any, **fields: Any) -> Event:
    return "message.delta", {"id": "m", "role": "assistant", "type": "answer", "content": content, **fields}


def message(content: Any, **fields: Any) -> Event:
    return "message.completed", {"id": "m", "role": "assistant", "type": "answer", "content": content, **fields}


def raw(event: Event, content: bytes) -> Event:
    """The event with `content`, which is JSON or tries to be, in place of its content."""
    name, data = event
    return name, json.dumps(data).encode().replace(json.dumps(data["content"]).encode(), content)


def thoughts(events: list[ChatEvent]) -> str:
    return "".join(event.content for event in events if isinstance(event, ReasoningDeltaEvent))


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
        ([delta("a", id=None), delta("b", id=None), message("ab", id=None)], "ab"),
        ([delta("a", id=None), message("a", id=None), delta("b", id=None), message("b", id=None)], "a\n\nb"),
        ([delta("a", id=None), message("a"), delta("b", id=None), message("b", id="n")], "a\n\nb"),
        ([delta("a", id=None), message("a")], "a"),
        ([delta("a", id=""), message("a"), message("a")], "a"),
        ([delta("a"), message("a", id=None)], "a"),
        ([message("a", id=None), message("b", id=None)], "a\n\nb"),
        ([delta("a", id=7), delta("b", id=7), message("ab", id=7)], "ab"),
        ([delta("a", id=7), message("a", id="7")], "a"),
        ([delta("a", id={"odd": 1}), message("a", id=[])], "a"),
        # Where one of the two has no id, the text belongs to the deltas before it, whatever it is.
        ([delta("a", id=None), message("other")], "a"),
        ([delta("a"), message("other", id=None)], "a"),
        ([delta("a", id=None), message("other", id=None)], "a"),
        ([message("other", id=None), delta("a", id=None)], "other\n\na"),
        # The whole text under another id than the deltas: one answer, unless it is another text.
        ([delta("a"), delta("b"), message("ab", id="n")], "ab"),
        ([delta("a"), delta("b"), message("ab", id="n"), message("ab", id="n")], "ab"),
        ([delta("a"), delta("b"), message("ab", id="n"), delta("c", id="o"), message("c", id="p")], "ab\n\nc"),
        ([delta("a"), delta("b", id="n"), message("b", id="o"), message("a", id="p")], "a\n\nb"),
        ([delta("a"), message("b", id="n")], "a\n\nb"),
        ([delta("a"), message("a"), message("a", id="n")], "a\n\na"),
        ([delta("a"), message("", id="n"), delta("b")], "ab"),
        ([delta(""), message("")], ""),
        ([delta(""), message(""), delta("b", id="n")], "b"),
        ([delta("a"), message("noise", id="v", type="verbose"), delta("b")], "ab"),
        ([delta("x", type="function_call"), message("x", type="tool_response", content_type="card")], ""),
        ([delta("x", role="user"), message("x", role="user")], ""),
        ([message('{"card": 1}', content_type="card")], ""),
        ([delta('{"card": 1}', content_type="card"), delta("a", content_type="")], "a"),
        ([message("x", type="knowledge")], ""),
        ([delta(5), delta(True), delta(1.5), message("5true1.5", id="n")], "5true1.5"),
        ([message(5)], "5"),
    ],
)
def test_answers(events: list[Event], answer: str) -> None:
    assert text(translate(*events)[1]) == answer


@given(st.lists(st.text(min_size=1), min_size=1), st.booleans(), st.sampled_from(["m", "n", None]))
def test_deltas_joined_are_the_answer(pieces: list[str], with_ids: bool, whole: str | None) -> None:
    fields = {} if with_ids else {"id": None}
    events = [delta(piece, **fields) for piece in pieces] + [message("".join(pieces), id=whole)]
    assert text(translate(*events)[1]) == "".join(pieces)


CHARACTERS = ("😀".encode(), "é".encode(), "你".encode())


@pytest.mark.parametrize(
    ("pieces", "answer"),
    [
        *(
            ((b'"a%b"' % whole[:cut], b'"%bb"' % whole[cut:]), f"a{whole.decode()}b")
            for whole in CHARACTERS
            for cut in range(1, len(whole))
        ),
        ((b'"a\\ud83d"', b'"\\ude00b"'), "a😀b"),
        # The second half could also stand for a byte.
        ((b'"a\\uD83D"', b'"\\uDCAFb"'), "a💯b"),
        ((b'"\xf0"', b'"\x9f"', b'"\x98"', b'"\x80"'), "😀"),
        ((b'"\\ud83d"', b'""', b'"\\ude00"'), "😀"),
        ((b'"\xf0\x9f"', b"null", b'"\x98\x80"'), "😀"),
        # What does not go on is replaced, in its place.
        ((b'"a\xf0\x9f"', b'"b"'), "a\ufffdb"),
        ((b'"a\\ud83d"', b'"b"', b'"c"'), "a\ufffdbc"),
        ((b'"a\\ud83d"', b'"\\ud83d\\ude00"'), "a\ufffd😀"),
        ((b'"\\ude00a"', b'"\x80b\xffc"'), "\ufffda\ufffdb\ufffdc"),
        ((b'"a"', b'"b\xe4\xbd"'), "ab\ufffd"),
        ((b'"\\ud83d"',), "\ufffd"),
        ((b'"a\xed\xa0\xbdb"',), "a\ufffd\ufffd\ufffdb"),
        # Neither is a tab in a text JSON.
        ((b'"a\tb\x01"',), "a\tb\x01"),
    ],
)
def test_broken_characters(pieces: tuple[bytes, ...], answer: str) -> None:
    """They are joined over deltas, replaced where nothing fits, and no reason to fail."""
    deltas = [raw(delta("?"), piece) for piece in pieces]
    for end in ([message("")], [], [message("", id=None)]):
        translation, events = translate(("chat.created", CHAT), *deltas, *end, ("chat.completed", ENDED))
        assert text(events) == answer
        assert translation.completed
    whole = b'"%b"' % b"".join(piece[1:-1] for piece in pieces if piece != b"null")
    assert text(translate(raw(message("?"), whole))[1]) == answer
    events = translate(raw(message("?", type="follow_up"), whole))[1]
    assert [event.content for event in events if isinstance(event, FollowUpEvent)] == [answer]


def test_broken_characters_of_thinking_and_of_answers_side_by_side() -> None:
    halves = [
        ("message.delta", b'{"id":"m","type":"answer","content":"\\ud83d","reasoning_content":"\xe4\xbd"}'),
        ("message.delta", b'{"id":"n","type":"answer","content":"\xf0\x9f"}'),
        ("message.delta", b'{"id":"m","type":"answer","content":"\\ude00","reasoning_content":"\xa0"}'),
        ("message.delta", b'{"id":"n","type":"answer","content":"\x98\x81"}'),
    ]
    _, events = translate(*halves)
    assert (text(events), thoughts(events)) == ("😀\n\n😁", "你")
    _, events = translate(*halves[:2], message("😀", id="m"), ("chat.completed", ENDED))
    assert (text(events), thoughts(events)) == ("😀\n\n\ufffd", "\ufffd")


@given(st.text(min_size=1), st.lists(st.integers(0, 100)), st.booleans())
def test_a_text_cut_anywhere_between_its_bytes_or_halves_comes_whole(
    answer: str, cuts: list[int], escaped: bool
) -> None:
    pieces = re.findall(rb"(?s)\\u.{4}|\\.|.", json.dumps(answer, ensure_ascii=escaped)[1:-1].encode())
    edges = [0, *sorted(min(cut, len(pieces)) for cut in cuts), len(pieces)]
    deltas = [raw(delta("?"), b'"%b"' % b"".join(pieces[start:end])) for start, end in itertools.pairwise(edges)]
    assert text(translate(*deltas, message(answer, id="n"))[1]) == answer


NOBODY_SEES = [
    raw(message("?", type="verbose"), b'"x \\ud83d"'),
    raw(message("?", type="tool_response"), b'"\xff\xfe"'),
    raw(message("?", type="function_call"), b'{"odd": [1, NaN]}'),
    raw(message("?", type="verbose"), b'{"odd": tru'),
    raw(delta("?", type="verbose"), b'{"odd": 1}'),
    raw(delta("?", type="tool_output"), b'"\xff"'),
    raw(delta("?", type="hologram"), b"[broken"),
    raw(delta("?", content_type="card"), b'{"card": 1}'),
    raw(message("?", type="follow_up"), b'{"odd": 1}'),
    raw(message("?", type="follow_up"), b"[broken"),
    delta("", reasoning_content={"odd": 1}),
    message("hi", reasoning_content=["odd"]),
    delta(None, role={"odd": 1}),
    message({"odd": 1}, role="user"),
    # The caller has the text of these already.
    message({"odd": 1}),
    message({"odd": 1}, id="n"),
    raw(message("?"), b"[broken"),
    ("chat.in_progress", b"no JSON"),
    ("chat.in_progress", {**CHAT, "status": {"odd": 1}, "usage": "odd", "last_error": ""}),
    ("chat.created", {**CHAT, "last_error": [], "required_action": "", "msg": {}, "code": "none"}),
    ("audio.delta", {"content": 5}),
    ("something.new", b"whatever"),
]


@pytest.mark.parametrize("event", NOBODY_SEES)
def test_what_nobody_sees_need_not_be_understood(event: Event) -> None:
    translation, events = translate(("chat.created", CHAT), delta("hi"), event, ("chat.completed", ENDED))
    assert text(events) == "hi"
    assert [type(event) for event in events] == [ChatStartedEvent, MessageDeltaEvent, ChatCompletedEvent]
    assert translation.completed


def test_an_answer_goes_on_behind_what_nobody_sees() -> None:
    _, events = translate(delta("a"), *NOBODY_SEES[:14], delta("b"), message("ab"))
    assert text(events) == "ab"


ODD: list[Any] = ["", "odd", [], [1], 7, None, {}, {"token_count": {}}]


@pytest.mark.parametrize(
    ("usage", "told"),
    [
        (
            {"token_count": 3, "output_count": 2, "input_count": 1},
            {"token_count": 3, "output_count": 2, "input_count": 1},
        ),
        ({"token_count": "3", "output_count": 2.0}, {"token_count": 3, "output_count": 2}),
        ({"token_count": "many", "output_count": None, "input_count": 1}, {"input_count": 1}),
        ({"token_count": -1, "output_count": 10**30, "input_count": 0}, {"input_count": 0}),
        *((odd, None) for odd in ODD),
    ],
    ids=str,
)
def test_usage(usage: Any, told: dict[str, int] | None) -> None:
    _, (end,) = translate(("chat.completed", {**ENDED, "usage": usage}))
    assert isinstance(end, ChatCompletedEvent)
    assert end.usage is UNSET if told is None else msgspec.to_builtins(end.usage) == told


def test_reasoning_and_content_in_one_delta() -> None:
    _, events = translate(delta("", reasoning_content="hm"), delta("a", reasoning_content="so"))
    assert [
        (type(event), event.content) for event in events if isinstance(event, MessageDeltaEvent | ReasoningDeltaEvent)
    ] == [
        (ReasoningDeltaEvent, "hm"),
        (ReasoningDeltaEvent, "so"),
        (MessageDeltaEvent, "a"),
    ]


@pytest.mark.parametrize(
    ("events", "thinking", "answer"),
    [
        ([message("a", reasoning_content="hm")], "hm", "a"),
        ([delta("a"), message("a", reasoning_content="hm")], "hm", "a"),
        ([delta("", reasoning_content="hm"), message("a", reasoning_content="hm")], "hm", "a"),
        ([delta("", reasoning_content="hm"), delta("a"), message("a", reasoning_content="hm")], "hm", "a"),
        ([delta("", reasoning_content="hm"), message("a", reasoning_content="hm", id="n")], "hm", "a"),
        ([delta("a", reasoning_content="hm"), message("a", reasoning_content="hm", id="n")], "hm", "a"),
        ([delta("", reasoning_content="1"), message("b", reasoning_content="2", id="n"), delta("a")], "12", "b\n\na"),
        ([message("a", reasoning_content="hm"), message("a", reasoning_content="hm")], "hm", "a"),
        ([message("a", reasoning_content="1"), message("b", reasoning_content="2", id="n")], "12", "a\n\nb"),
        ([delta("", reasoning_content="hm"), message("a", id="n")], "hm", "a"),
        ([raw(delta("?", reasoning_content="h\u00e9"), b'"\xf0\x9f"'), message("😀")], "h\u00e9", "😀"),
        ([message("a", type="verbose", reasoning_content="hm")], "", ""),
        ([message('{"card": 1}', content_type="card", reasoning_content="hm")], "hm", ""),
    ],
)
def test_thinking_comes_once(events: list[Event], thinking: str, answer: str) -> None:
    _, told = translate(*events)
    assert (thoughts(told), text(told)) == (thinking, answer)


def test_follow_ups_are_no_answer() -> None:
    _, events = translate(
        message("a"), message("more?", id="f", type="follow_up"), message("", id="g", type="follow_up")
    )
    assert text(events) == "a"
    assert [event.content for event in events if isinstance(event, FollowUpEvent)] == ["more?"]


INTERRUPT = message('{"msg_type":"interrupt","data":"{}"}', id="v", type="verbose")
FINISH = message('{"msg_type":"generate_answer_finish","data":"{}"}', id="w", type="verbose")
DONE = ("done", "[DONE]")


def action(*types: Any) -> dict[str, Any]:
    calls = [{"id": "", "type": kind, "function": None, "require_info": None} for kind in types]
    wanted = {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": calls}}
    return {**CHAT, "status": "requires_action", "required_action": wanted}


@pytest.mark.parametrize(
    "end",
    [
        [("chat.requires_action", action("reply_message"))],
        [INTERRUPT, FINISH, ("chat.requires_action", action("reply_message")), DONE],
        [("chat.required_action", action("reply_message", "reply_message"))],
        [("chat.completed", action("reply_message"))],
        # Whatever is wanted, it is no tool, and the bot has said something that can be answered.
        [("chat.requires_action", CHAT)],
        [
            (
                "chat.requires_action",
                {**CHAT, "required_action": {"submit_tool_outputs": {"tool_calls": ["odd", {"type": {}}]}}},
            )
        ],
        [("chat.requires_action", b"broken")],
        [("chat.completed", {**CHAT, "status": "required_action"})],
        # As Coze Studio has it, and as in Coze's own sample.
        [INTERRUPT, FINISH, ("chat.completed", ENDED), ("conversation.stream.done", b"")],
        [INTERRUPT, FINISH, DONE],
        [INTERRUPT, FINISH, ("conversation.stream.done", b"")],
    ],
)
def test_a_question_to_the_user_ends_a_good_turn(end: list[Event]) -> None:
    translation, events = translate(("chat.created", CHAT), delta("Where"), delta(" to?"), message("Where to?"), *end)
    assert text(events) == "Where to?"
    assert isinstance(events[-1], ChatCompletedEvent)
    assert events[-1].conversation_id == "2"
    assert {event.timestamp for event in events} == {NOW}
    assert translation.over
    assert translation.completed


def test_a_question_that_is_no_text() -> None:
    translation, _ = translate(("chat.created", CHAT), ("chat.requires_action", action("reply_message")))
    assert translation.completed


def test_the_end() -> None:
    translation, events = translate(
        ("chat.created", CHAT), ("chat.completed", {**CHAT, "status": "completed", "usage": {"token_count": 3}})
    )
    assert (translation.chat_id, translation.conversation_id) == ("1", "2")
    start, end = events
    assert start == ChatStartedEvent(conversation_id="2", chat_id="1", timestamp=NOW)
    assert isinstance(end, ChatCompletedEvent)
    assert (end.conversation_id, end.chat_id, end.message_id, end.timestamp) == ("2", "1", UNSET, NOW)
    assert msgspec.to_builtins(end.usage) == {"token_count": 3}
    translation.feed(b"conversation.message.delta", b"whatever comes now", events, NOW)
    assert len(events) == 2


def test_the_ids_are_told_once_and_first() -> None:
    early = {"id": "1", "status": "created"}
    _, events = translate(("chat.created", early), ("chat.in_progress", CHAT), ("chat.in_progress", CHAT), delta("a"))
    assert [type(event) for event in events] == [ChatStartedEvent, MessageDeltaEvent]


def test_the_end_names_the_last_answer() -> None:
    _, events = translate(
        delta("a"), message("a"), message("b", id="n"), message("x", id="o", type="verbose"), FINISHED
    )
    assert isinstance(events[-1], ChatCompletedEvent)
    assert events[-1].message_id == "n"


def test_a_whole_answer_that_is_broken_still_ends_its_deltas() -> None:
    _, events = translate(delta("a"), raw(message("?", id="odd"), b"[broken"), message("a", id="n"), FINISHED)
    assert text(events) == "a\n\na", "the second answer is another one"
    _, events = translate(delta("a"), raw(message("?"), b"[broken"), FINISHED)
    assert isinstance(events[-1], ChatCompletedEvent)
    assert events[-1].message_id == "m"


def test_reasoning_comes_once_though_the_answer_that_repeats_it_has_another_id() -> None:
    pieces = [delta("", reasoning_content=piece) for piece in ("let ", "me ", "see")]
    _, events = translate(*pieces, message("hi", reasoning_content="let me see", id="n"), FINISHED)
    assert (thoughts(events), text(events)) == ("let me see", "hi")


def test_broken_characters_leave_the_reasoning() -> None:
    _, events = translate(raw(message("?", reasoning_content="why"), b'"\xff"'), FINISHED)
    assert (thoughts(events), text(events)) == ("why", "\ufffd")


@pytest.mark.parametrize(
    ("before", "name", "data", "status", "over"),
    [
        ([], "chat.failed", {**CHAT, "last_error": {"code": 4028, "msg": "x"}}, 503, True),
        ([], "chat.failed", {**CHAT, "last_error": {"code": "4010", "msg": "x"}}, 400, True),
        ([], "chat.failed", {**CHAT, "last_error": {"code": 0, "msg": ""}}, 503, True),
        ([], "chat.failed", {**CHAT, "last_error": {"code": 4016.0, "msg": {"odd": 1}}}, 429, True),
        ([], "chat.failed", b'{"last_error":{"code":4016,"msg":"\xff\\ud83d"}}', 429, True),
        ([], "chat.failed", {"code": 4016, "last_error": ""}, 429, True),
        ([], "chat.failed", {"code": 4016, "msg": "x"}, 429, True),
        ([], "chat.failed", b"no JSON", 503, True),
        ([], "chat.completed", {**CHAT, "status": "failed", "last_error": {"code": 4016, "msg": "x"}}, 429, True),
        ([], "chat.completed", {**CHAT, "status": "failed", "last_error": ""}, 503, True),
        ([], "chat.requires_action", CHAT, 500, True),
        ([], "chat.required_action", CHAT, 500, True),
        ([delta("a")], "chat.requires_action", action("function"), 500, True),
        ([delta("a")], "chat.requires_action", action("reply_message", "function"), 500, True),
        ([delta("a")], "chat.completed", action("function"), 500, True),
        ([], "chat.completed", {**CHAT, "status": "required_action"}, 500, True),
        ([], "chat.requires_action", action("unknown"), 500, True),
        ([], "chat.requires_action", {**action("reply_message"), "conversation_id": None}, 503, True),
        ([], "chat.canceled", CHAT, 503, True),
        ([], "chat.cancelled", CHAT, 503, True),
        ([], "chat.completed", {**CHAT, "status": "canceled"}, 503, True),
        ([], "chat.completed", {**CHAT, "status": "cancelled"}, 503, True),
        ([], "chat.completed", {}, 503, True),
        ([], "chat.completed", [], 503, True),
        ([], "error", {"code": "4016", "msg": "x"}, 429, False),
        ([], "error", b'{"code":4016,"msg":"\xff"}', 429, False),
        ([], "error", "a bare text", 503, False),
        ([], "error", b"no JSON", 503, False),
        ([], "message.delta", {"type": "answer", "content": {"odd": 1}}, 503, False),
        ([], "message.delta", {"type": "answer", "content": ["odd"], "content_type": "text"}, 503, False),
        ([], "message.delta", b'{"type":"answer","content":"cut', 503, False),
        ([], "message.delta", None, 503, False),
        ([], "message.delta", b"[" * 100_000, 503, False),
        ([], "message.completed", {"type": "answer", "content": {"odd": 1}}, 503, False),
        ([delta("", reasoning_content="hm")], "message.completed", b'{"type":"answer","content":"cut', 503, False),
        ([delta("a"), message("a")], "message.completed", b'{"type":"answer","content":"cut', 503, False),
        ([delta("a")], "done", "[DONE]", 503, False),
        ([delta("a"), FINISH], "done", "[DONE]", 503, False),
        ([INTERRUPT], "done", "[DONE]", 503, False),
        ([delta("a"), message("interrupt", type="verbose")], "conversation.stream.done", b"", 503, False),
        ([delta("a"), message('["interrupt"]', type="verbose")], "done", b"", 503, False),
    ],
)
def test_failures(before: list[Event], name: str, data: Any, status: int, over: bool) -> None:
    translation, events = translate(*before)
    started, said = translation.started, list(events)
    with pytest.raises(ServiceError) as caught:
        feed(translation, name, data, events)
    assert caught.value.status == status
    assert (translation.over, translation.completed, translation.started) == (over, False, started)
    assert events == said


def test_the_code_of_a_failure_is_for_the_log() -> None:
    for data in (
        {"code": 4016},
        {"code": 1, "last_error": {"code": "4016"}},
        {"code": 4016, "last_error": {"code": 0}},
    ):
        with pytest.raises(ServiceError) as caught:
            translate(("chat.failed", data))
        assert caught.value.code == 4016


@pytest.mark.parametrize(
    ("event", "cause"),
    [
        (("done", "[DONE]"), "done without completed"),
        (("chat.completed", {}), "a completed chat without a conversation"),
        (("message.completed", b"[broken"), "a message that does not decode"),
        (("message.delta", b"[broken"), "a delta that does not decode"),
    ],
)
def test_the_log_says_what_was_not_understood(event: Event, cause: str) -> None:
    with pytest.raises(ServiceError) as caught:
        translate(event)
    assert caught.value.cause == cause


@pytest.mark.parametrize("event", ["chat.failed", "error", "chat.completed"])
@pytest.mark.parametrize("asked", Asked)
def test_whose_fault_a_failure_is_depends_on_what_was_asked(event: str, asked: Asked) -> None:
    translation = Translation(asked)
    with pytest.raises(ServiceError) as caught:
        feed(translation, event, {**CHAT, "status": "failed", "last_error": {"code": 4015}}, [])
    assert caught.value.failure == coze_failure(asked, code=4015)


@pytest.mark.parametrize(
    ("event", "started", "ids"),
    [
        (("chat.created", CHAT), True, ("1", "2")),
        (("chat.in_progress", CHAT), True, ("1", "2")),
        (("chat.created", {"id": 1, "conversation_id": 2}), True, ("1", "2")),
        (("chat.created", {"id": "", "conversation_id": None}), True, (None, None)),
        (("chat.created", b'{"id":"1","conversation_id":"2","msg":"\xff"}'), True, ("1", "2")),
        (("chat.created", b"no JSON"), True, (None, None)),
        (delta("a"), True, (None, None)),
        (delta("a", type="verbose"), True, (None, None)),
        (raw(delta("?", type="verbose"), b"broken"), True, (None, None)),
        (message("a"), True, (None, None)),
        (message("a", type="knowledge"), True, (None, None)),
        (("audio.delta", {}), False, (None, None)),
        (("something.new", CHAT), False, (None, None)),
        (("chat.completed", ENDED), True, ("1", "2")),
    ],
)
def test_what_is_a_good_start_and_what_names_the_chat(
    event: Event, started: bool, ids: tuple[str | None, str | None]
) -> None:
    translation, _ = translate(event)
    assert translation.started is started
    assert (translation.chat_id, translation.conversation_id) == ids
    assert translation.over is translation.completed is (event[0] == "chat.completed")


@pytest.mark.parametrize("name", ["chat.failed", "chat.completed", "chat.requires_action"])
def test_an_end_names_the_chat_too(name: str) -> None:
    translation, out = Translation(Asked.BOT), list[ChatEvent]()
    with pytest.raises(ServiceError):
        feed(translation, name, {**CHAT, "status": "failed"}, out)
    assert (translation.chat_id, translation.conversation_id) == ("1", "2")


def test_a_name_stays_though_later_events_have_none() -> None:
    translation, events = translate(("chat.created", CHAT), ("chat.in_progress", {}), ("chat.completed", b"{}"))
    assert (translation.chat_id, translation.conversation_id) == ("1", "2")
    assert isinstance(events[-1], ChatCompletedEvent)
