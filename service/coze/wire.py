"""What Coze sends, as far as the service looks at it. Lenient: Coze's documents, samples and servers disagree."""

from typing import Any

import msgspec
from msgspec import Raw, Struct

# Documented as strings; numbers have been seen.
Id = str | int | None


class Usage(Struct):
    token_count: int | None = None
    output_count: int | None = None
    input_count: int | None = None


class CodeAndMessage(Struct):
    code: int | None = None
    msg: Any = None


class ChatFacts(Struct):
    """The data of the conversation.chat.* events; a failed chat may also be a bare code and msg."""

    id: Id = None
    conversation_id: Id = None
    status: str | None = None
    last_error: CodeAndMessage | None = None
    usage: Usage | None = None
    code: int | None = None
    msg: Any = None


class Message(Struct):
    """The data of the conversation.message.* events."""

    id: Id = None
    role: str | None = None
    type: str | None = None
    content: str | None = None
    content_type: str | None = None
    reasoning_content: str | None = None


class MessageKind(Struct):
    """A message of which only the kind matters."""

    type: str | None = None


class Detail(Struct):
    logid: str | None = None


class Answer(Struct):
    """The envelope of every JSON answer."""

    code: int | None = None
    msg: Any = None
    data: Raw = Raw(b"null")
    detail: Detail | None = None


class Token(Struct):
    """What the token endpoint answers: in no envelope, and with an `error_code` in words where it is its own."""

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


class Workspace(Struct):
    id: Id = None
    name: str | None = None
    icon_url: str | None = None
    role_type: str | None = None
    workspace_type: str | None = None


class WorkspacePage(Struct):
    """Rows stay raw, so that one odd row cannot spoil the others."""

    total_count: int | None = None
    workspaces: list[Raw] | None = None


# strict=False takes a number that comes as a string.
decode_answer = msgspec.json.Decoder(Answer, strict=False).decode
decode_chat = msgspec.json.Decoder(ChatFacts, strict=False).decode
decode_message = msgspec.json.Decoder(Message, strict=False).decode
decode_message_kind = msgspec.json.Decoder(MessageKind, strict=False).decode
decode_error = msgspec.json.Decoder(CodeAndMessage, strict=False).decode
decode_token = msgspec.json.Decoder(Token, strict=False).decode
decode_user = msgspec.json.Decoder(User, strict=False).decode
decode_file = msgspec.json.Decoder(File, strict=False).decode
decode_workspace = msgspec.json.Decoder(Workspace, strict=False).decode
decode_workspace_page = msgspec.json.Decoder(WorkspacePage, strict=False).decode

# What those raise on input that is not what they expect: bad JSON, bad UTF-8, too deep.
UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def text_id(value: Id) -> str | None:
    """An id as text; None if there is none."""
    return str(value) if value not in (None, "") else None
