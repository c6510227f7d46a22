"""Coze's JSON, as far as the service reads it. Lenient, as Coze's documents, samples and servers disagree."""

import json
import re
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct, field

from service.coze.mending import UNDECODABLE as UNDECODABLE  # raised by the decoders here
from service.coze.mending import lenient, parse

# Documented as strings; numbers have been seen.
Id = str | int | None
Code = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None
# Up to the largest exact integer of JavaScript.
Count = Annotated[int, Meta(ge=0, lt=2**53)] | None


class Usage(Struct):
    token_count: Count = None
    output_count: Count = None
    input_count: Count = None


class CodeAndMessage(Struct):
    code: Code = None
    msg: Any = None


class ChatFacts(Struct):
    """The data of conversation.chat.* events and of `error`; a failed chat may also be a bare code and msg."""

    id: Id = None
    conversation_id: Id = None
    status: str | None = None
    last_error: CodeAndMessage | None = None
    usage: Raw = Raw(b"null")
    required_action: Any = None
    code: Code = None

    @property
    def wanted(self) -> list[Any]:
        """Types of the tool calls that Coze waits for.

        `function` is for the caller to run, `reply_message` is a question to the user.
        """
        calls = self.required_action
        for name in ("submit_tool_outputs", "tool_calls"):
            calls = calls.get(name) if isinstance(calls, dict) else None
        return [call.get("type") for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []


class Message(Struct):
    """The data of conversation.message.* events."""

    id: Id = None
    role: str | None = None
    type: str | None = None
    content: str | None = None
    content_type: str | None = None
    reasoning_content: str | None = None


# The content types of text.
TEXT = ("text", "", None)


class Verbose(Struct):
    """The content of a message of type verbose."""

    msg_type: str | None = None


class Detail(Struct):
    logid: str | None = None


class Envelope(Struct):
    """The envelope of every JSON answer."""

    code: Code = None
    msg: Any = None
    data: Raw = Raw(b"null")
    detail: Detail | None = None
    has_more: Any = None
    # Of a chat, from Coze Studio.
    messages: Raw = field(default=Raw(b"null"), name="Messages")


class Token(Struct):
    """The answer of the token endpoint: no envelope, and an `error_code` in words for errors of its own."""

    access_token: str | None = None
    expires_in: Any = None
    error_code: Any = None
    code: int | None = None


class User(Struct):
    user_id: Id = None
    user_name: str | None = None
    nick_name: str | None = None
    avatar_url: str | None = None


class File(Struct):
    """An uploaded file; only Coze Studio gives a `url`."""

    id: Id = None
    url: str | None = None


class Bot(Struct):
    """A published bot, as far as a page may show it. The rest, which is its making, is not read."""

    name: str | None = None
    description: str | None = None
    icon_url: str | None = None
    onboarding_info: Raw = Raw(b"null")


class Onboarding(Struct):
    """How a bot opens. The samples in Coze's documents write these names with capitals."""

    prologue: str | None = None
    suggested_questions: list[Any] | None = None
    capital_prologue: str | None = field(default=None, name="Prologue")
    capital_questions: list[Any] | None = field(default=None, name="SuggestedQuestions")


class Workspace(Struct):
    id: Id = None
    name: str | None = None
    icon_url: str | None = None
    role_type: str | None = None
    workspace_type: str | None = None


class WorkspacePage(Struct):
    """A page of workspaces. Rows stay raw, so that a malformed one cannot spoil the others."""

    total_count: int | None = None
    workspaces: list[Raw] | None = None


class ListedMessage(Struct):
    """A message in the list of a conversation's."""

    id: Id = None
    chat_id: Id = None
    role: str | None = None
    type: str | None = None
    content: str | None = None
    content_type: str | None = None
    reasoning_content: str | None = None
    created_at: Id = None


# strict=False accepts numbers in strings.
decode_envelope = lenient(Envelope)
decode_listed_message = lenient(ListedMessage)
# Rows stay raw, so that a malformed one cannot spoil the others.
decode_rows = msgspec.json.Decoder(list[Raw] | None).decode
decode_bot = lenient(Bot)
decode_chat = lenient(ChatFacts)
decode_file = lenient(File)
decode_message = msgspec.json.Decoder(Message, strict=False).decode
decode_onboarding = lenient(Onboarding)
decode_token = msgspec.json.Decoder(Token, strict=False).decode
decode_usage = lenient(Usage)
decode_user = lenient(User)
decode_verbose = lenient(Verbose)
decode_workspace = lenient(Workspace)
decode_workspace_page = msgspec.json.Decoder(WorkspacePage, strict=False).decode


def web_address(value: str | None) -> str | None:
    """Returns an address that is safe in a page; None for any other, such as `javascript:`."""
    plain = value and value.isprintable() and re.fullmatch(r"(?i)https?://[^\s\"<>\\^`{|}]{1,8000}", value)
    return value if plain else None


def text_id(value: Id) -> str | None:
    """Returns an id as text; None if it is missing or empty."""
    return str(value) if value not in (None, "") else None


def milliseconds(created_at: Id) -> int:
    """Returns a time that Coze gives in seconds, some servers in milliseconds, some as text. 0 for anything else."""
    value = int(created_at) if created_at is not None and re.fullmatch(r"[0-9]{1,15}", str(created_at)) else 0
    return value if value >= 10**11 else value * 1000


# Finds the type in broken JSON. Within a string the quotes would be escaped.
_TYPE = re.compile(rb'"type"\s*:\s*"(\w+)"')


def is_interrupt(verbose: str) -> bool:
    """Whether a message of type verbose says that the bot's workflow waits for input."""
    try:
        return decode_verbose(verbose.encode()).msg_type == "interrupt"
    except UNDECODABLE:
        return False


def decode_odd_message(data: bytes) -> Message:
    """Decodes a message that `decode_message` refuses. Raises UNDECODABLE if text of an answer could be lost.

    Broken characters are kept for `whole_characters`: lone surrogates as they are, bytes that are no UTF-8 as surrogate
    escapes.
    """
    try:
        found = parse(data.decode(errors="surrogateescape"))
        if not isinstance(found, dict):
            raise msgspec.ValidationError("a message that is no object")
    except UNDECODABLE:
        kind = _TYPE.search(data)
        if kind is None or kind[1] == b"answer":
            raise
        return Message(type=kind[1].decode())
    message = Message(**{name: text for name in Message.__struct_fields__ if isinstance(text := found.get(name), str)})
    if isinstance(number := found.get("id"), int):
        message.id = number
    match found.get("content"):
        case int() | float() as number:
            message.content = json.dumps(number)
        case dict() | list() if message.type == "answer" and message.content_type in TEXT:
            raise msgspec.ValidationError("an answer that is no text")
    return message
