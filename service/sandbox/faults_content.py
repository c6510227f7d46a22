"""Bots that answer well, but say rare things."""

from __future__ import annotations

import base64
import json
from typing import Final

from .faults_http import Row
from .faults_stream import HALF, WHOLE, whole
from .turn import Event, Pause, Raw, Steps, Turn
from .wire import frame


def _unknown_events(turn: Turn) -> Steps:
    yield from turn.begin()
    yield Event("conversation.chat.warming_up", turn.chat.detail())
    yield Event("weather.changed", {"sky": "blue"})
    yield from turn.words(HALF)
    yield Event("message", "no object at all")
    yield from turn.words(WHOLE[len(HALF) :])
    yield turn.said(WHOLE)
    yield from turn.finish()


def _unknown_types(turn: Turn) -> Steps:
    yield from turn.begin()
    yield turn.aside("thought_of_the_day", "This is not the answer.")
    yield Event("conversation.message.delta", turn.message("Nor is this. ", "hologram", "hologram"))
    yield turn.aside("answer_card", '{"card":"not text"}', content_type="card")
    yield from turn.answer(WHOLE)
    yield from turn.finish()


def _unknown_statuses(turn: Turn) -> Steps:
    yield Event("conversation.chat.created", {**turn.chat.detail(), "status": "queued"})
    yield Event("conversation.chat.in_progress", {**turn.chat.detail(), "status": "cancelled"})
    yield from turn.answer(WHOLE)
    yield from turn.finish()


def _tools(turn: Turn) -> Steps:
    yield from turn.begin()
    yield turn.aside("knowledge", "[knowledge] a paragraph that the bot has read")
    yield turn.aside("verbose", json.dumps({"msg_type": "knowledge_recall", "data": '{"chunks":[]}'}))
    call = {
        "name": "weather-now",
        "arguments": {"city": "Beijing"},
        "plugin_id": 7400000000000000001,
        "api_id": 7,
    }
    yield turn.aside("function_call", json.dumps(call))
    yield turn.aside("tool_response", '{"template_id":1,"card":"sunny"}', content_type="card")
    yield turn.aside("tool_output", "sunny, 21 degrees")
    yield from turn.answer(WHOLE)
    yield from turn.finish(("And tomorrow?",))


def _reasoning(turn: Turn) -> Steps:
    thoughts = ("The user asks something. ", "让我想一想。", "I know the answer.")
    yield from turn.begin()
    for thought in thoughts:
        yield turn.delta("", reasoning_content=thought)
        yield Pause(turn.delta_seconds)
    yield from turn.words(WHOLE)
    yield turn.said(WHOLE, "".join(thoughts))
    yield from turn.finish()


def _audio(turn: Turn) -> Steps:
    yield from turn.begin()
    yield from turn.answer(WHOLE)
    turn.end("completed")
    yield turn.chat_event("completed")
    for _ in range(3):
        silence = base64.b64encode(bytes(480)).decode()  # 10 ms of 24 kHz 16-bit mono
        yield Event("conversation.audio.delta", turn.message(silence, content_type="audio"))
    yield turn.done()


def _no_deltas(turn: Turn) -> Steps:
    yield from turn.begin()
    yield turn.said(WHOLE)
    yield from turn.finish()


def _two_answers(turn: Turn) -> Steps:
    yield from turn.begin()
    yield from turn.answer("The first answer.")
    yield from turn.answer("The second answer.")
    yield from turn.finish()


def _empty_answer(turn: Turn) -> Steps:
    yield from turn.begin()
    yield turn.said("")
    yield from turn.finish()


def _int_ids(turn: Turn) -> Steps:
    for step in whole(turn):
        if isinstance(step, Event) and isinstance(step.data, dict):
            ids = {key: int(value) for key, value in step.data.items() if key == "id" or key.endswith("_id")}
            step = Event(step.name, {**step.data, **ids})
        yield step


def _null_content(turn: Turn) -> Steps:
    yield from turn.begin()
    yield turn.delta(None)
    yield from turn.answer(WHOLE)
    yield Event("conversation.message.completed", turn.message(None, "follow_up"))
    yield from turn.finish()


def _odd_chat(turn: Turn) -> Steps:
    for step in whole(turn):
        if isinstance(step, Event) and step.name.startswith("conversation.chat."):
            action = {"type": "", "submit_tool_outputs": {"tool_calls": []}}
            odd = {
                "required_action": action,
                "completed_at": turn.chat.created_at,
                "usage": None,
                "last_error": None,
            }
            step = Event(step.name, {**turn.chat.detail(), **odd})
        yield step


def _done_object(turn: Turn) -> Steps:
    for step in whole(turn):
        is_done = isinstance(step, Event) and step.name == "done"
        yield Raw(frame("done", {"debug_url": "https://www.coze.cn/work_flow"})) if is_done else step


def _extra_fields(turn: Turn) -> Steps:
    for step in whole(turn):
        if isinstance(step, Event) and isinstance(step.data, dict):
            step = Event(step.name, {"new_field": {"deep": [1, None]}, **step.data, "zzz": 1.5})
        yield step


CONTENT: Final[tuple[Row, ...]] = (
    ("0401", "unknown-events", "Events that nobody knows, between the known ones.", _unknown_events),
    ("0402", "unknown-types", "Messages of unknown types, as delta and completed.", _unknown_types),
    ("0403", "unknown-statuses", "Chats in statuses that nobody knows.", _unknown_statuses),
    (
        "0404",
        "tools",
        "knowledge, verbose, function_call, tool_response and tool_output before the answer.",
        _tools,
    ),
    ("0405", "reasoning", "Thoughts (reasoning_content with empty content) before the answer.", _reasoning),
    ("0406", "audio", "Audio deltas after chat.completed.", _audio),
    ("0407", "no-deltas", "The answer comes only as message.completed.", _no_deltas),
    ("0408", "two-answers", "Two answers in one chat.", _two_answers),
    ("0409", "empty-answer", "An answer of no characters.", _empty_answer),
    ("0410", "int-ids", "Numbers where ids should be strings.", _int_ids),
    ("0411", "null-content", "content null in a delta and in a follow_up.", _null_content),
    ("0412", "odd-chat", "Chats with an empty required_action, null usage, null last_error.", _odd_chat),
    ("0413", "done-object", "done carries an object in place of [DONE].", _done_object),
    ("0414", "extra-fields", "Every object has fields that nobody knows.", _extra_fields),
)
