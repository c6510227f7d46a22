"""What makes a request to start a chat a good one: every check that Coze makes before the bot is asked."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from .history import Json
from .wire import BindError, CozeError
from .world import World

TYPES = ("question", "answer", "function_call", "tool_output", "tool_response")
UNSAVED_TYPES = ("function_call", "tool_output", "tool_response")
EXTRAS = ("parameters", "custom_variables", "extra_params")


@dataclass(frozen=True, slots=True)
class Ask:
    """A checked request for a chat."""

    bot_id: str
    user_id: str
    conversation_id: str  # "" where none was named
    messages: list[Json]
    stream: bool
    saved: bool
    meta_data: Json
    extras: Json  # the fields of EXTRAS, None where absent


def read_ask(body: Json, conversation_id: str, world: World) -> Ask:
    """Checks a chat's body. An optional field that is null counts as absent. Raises CozeError."""
    bot_id, user_id = text_field(body, "bot_id"), text_field(body, "user_id")
    stream = flag(body, "stream", world.studio)
    saved = flag(body, "auto_save_history", True) or world.studio  # which saves always
    extras = {name: body.get(name) for name in EXTRAS}
    for name in ("custom_variables", "extra_params"):
        if not is_string_map(extras[name]):
            raise BindError(4000, f"{name} must map strings to strings.")
    if extras["parameters"] is not None and not isinstance(extras["parameters"], dict):
        raise BindError(4000, "parameters field should be an object, not a string")
    meta_data = read_meta_data(body, bounded=not world.studio)
    if world.studio:
        for name, value in (("bot_id", bot_id), ("conversation_id", conversation_id or "0")):
            if not re.fullmatch(r"\d{1,19}", value):
                raise BindError(4000, f"invalid value for {name}: an int64 in a string is expected")
    else:
        _check_for_cloud(body, stream, saved)
    messages = read_messages(body.get("additional_messages"), saved, world)
    return Ask(bot_id, user_id, conversation_id, messages, stream, saved, meta_data, extras)


def _check_for_cloud(body: Json, stream: bool, saved: bool) -> None:
    """Raises CozeError for what the Studio does not look at."""
    if not stream and not saved:
        raise CozeError(4007)
    if any(not re.fullmatch("[A-Za-z_]+", name) for name in body.get("custom_variables") or {}):
        raise CozeError(4000, "The names of custom_variables take letters and underscores only.")
    if not {"latitude", "longitude"}.issuperset(body.get("extra_params") or {}):
        raise CozeError(4000, "extra_params takes latitude and longitude only.")
    status = body.get("publish_status")
    if status not in (None, "published_online", "unpublished_draft"):
        raise CozeError(4000, "publish_status is invalid.")
    if status == "unpublished_draft" and body.get("bot_version"):
        raise CozeError(4000, "bot_version can not be used with an unpublished draft.")


def read_meta_data(body: Json, bounded: bool = True) -> Json:
    """The meta_data of a body, {} where it has none. Raises BindError 4000, or where it is `bounded` CozeError 4003."""
    meta_data = body.get("meta_data")
    if not is_string_map(meta_data):
        raise BindError(4000, "meta_data must map strings to strings.")
    pairs: dict[str, str] = meta_data or {}
    if not bounded:
        return pairs
    if len(pairs) > 16 or any(not (1 <= len(k) <= 64 and 1 <= len(v) <= 512) for k, v in pairs.items()):
        raise CozeError(4003)
    return pairs


def read_messages(raw: object, saved: bool, world: World, most: int = 100) -> list[Json]:
    """Checks messages that someone sends. Raises CozeError 4000 or 4004."""
    if raw is None:
        return []
    if not isinstance(raw, list):
        raise CozeError(4000, "The messages must be an array.")
    if len(raw) > most:
        raise CozeError(4004)
    messages = [_message(message, saved, world) for message in raw]
    if world.studio:
        # The Studio drops what it can not read, and says nothing.
        return [m for m in messages if m["content"] and (m["content_type"] == "text" or _object_string(m) is not None)]
    bare = [_check_parts(message, world) for message in messages]
    for at, is_bare in enumerate(bare):
        if is_bare and not _has_text_neighbour(messages, bare, at):
            raise CozeError(4000, "A message of files alone needs a text message beside it.")
    return messages


def _message(raw: Any, saved: bool, world: World) -> Json:
    if not isinstance(raw, dict):
        raise CozeError(4000, "A message must be an object.")
    role, kind = raw.get("role"), raw.get("type") or "question"
    content, content_type = raw.get("content"), raw.get("content_type") or "text"
    if role not in ("user", "assistant"):
        raise CozeError(4000, "A message's role must be user or assistant.")
    if raw.get("type") is None and role == "assistant":
        kind = "answer"
    if kind not in TYPES or (world.studio and kind in UNSAVED_TYPES):
        raise CozeError(4000, "A message's type is invalid.")
    if kind == "question" and role != "user":
        raise CozeError(4000, "Only a user's message can be a question.")
    if kind in UNSAVED_TYPES and saved:
        raise CozeError(4000, f"A message of type {kind} needs auto_save_history false.")
    if content_type not in ("text", "object_string"):
        raise CozeError(4000, "A message's content_type must be text or object_string.")
    if not isinstance(content, str):
        raise CozeError(4000, "A message's content must be a string.")
    return {
        "role": role,
        "type": kind,
        "content": content,
        "content_type": content_type,
        "meta_data": read_meta_data(raw),
    }


def parts_of(message: Json) -> list[Json]:
    """The parts of a message; all that is no readable object_string is one text part."""
    parts = _object_string(message)
    return [{"type": "text", "text": message["content"]}] if parts is None else parts


def _object_string(message: Json) -> list[Json] | None:
    """The parts of an object_string; None where it is none, or no JSON array of objects."""
    if message["content_type"] != "object_string":
        return None
    try:
        parts = json.loads(message["content"])
    except (ValueError, RecursionError):
        return None
    return parts if isinstance(parts, list) and all(isinstance(part, dict) for part in parts) else None


def _check_parts(message: Json, world: World) -> bool:
    """Checks an object_string; says whether it is made of files or images without a text."""
    if message["content_type"] == "text":
        return False
    if not (parts := _object_string(message)):
        raise CozeError(4000, "The content of an object_string must be a JSON array of objects.")
    kinds = [part.get("type") for part in parts]
    if any(kind not in ("text", "file", "image", "audio") for kind in kinds):
        raise CozeError(4000, "A part's type must be text, file, image or audio.")
    if kinds.count("text") > 1:
        raise CozeError(4000, "An object_string takes one text part at most.")
    if set(kinds) == {"text"}:
        raise CozeError(4000, "An object_string needs a file or an image; send text alone as content_type text.")
    for part in parts:
        if part["type"] == "text":
            if not isinstance(part.get("text"), str):
                raise CozeError(4000, "A text part needs a text.")
            continue
        file_id, file_url = part.get("file_id"), part.get("file_url")
        if not (isinstance(file_id, str) and file_id) and not (isinstance(file_url, str) and file_url):
            raise CozeError(4000, f"A part of type {part['type']} needs a file_id or a file_url.")
        if file_id and world.upload(str(file_id)) is None:
            raise CozeError(4000, "A file_id is not that of one of your files.")
    return "text" not in kinds and "audio" not in kinds  # a spoken question is a question


def _has_text_neighbour(messages: list[Json], bare: list[bool], at: int) -> bool:
    """Whether a text message stands next to the message, or next to the row of such messages it is in."""
    before, after = at, at
    while before >= 0 and bare[before]:
        before -= 1
    while after < len(messages) and bare[after]:
        after += 1
    beside = messages[before : before + 1 if before >= 0 else 0] + messages[after : after + 1]
    return any(message["content_type"] == "text" and message["content"] for message in beside)


def text_field(body: Json, name: str) -> str:
    """A required string. Raises BindError."""
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise BindError(4000, f"The field {name} is required and must be a string.")
    return value


def flag(body: Json, name: str, default: bool) -> bool:
    """An optional boolean. Raises BindError."""
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise BindError(4000, f"The field {name} must be true or false.")
    return value


def is_string_map(value: object) -> bool:
    return value is None or (
        isinstance(value, dict) and all(isinstance(k, str) and isinstance(v, str) for k, v in value.items())
    )
