"""The messages of a chat request as Coze wants them: which, in which order, in which roles."""

import contextlib
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from generated.models import (
    AudioPart,
    ChatCompletionMessage,
    ChatMessage,
    ChatRequest,
    FilePart,
    ImagePart,
    ObjectString,
    TextPart,
)
from service.errors import BAD_REQUEST, ServiceError
from service.surrogates import without_halves

M = TypeVar("M", ChatMessage, ChatCompletionMessage)

_decode_object_string = msgspec.json.Decoder(ObjectString).decode
_decode_names = msgspec.json.Decoder(list[dict[str, Raw]]).decode
_NAMES = {"type", *(name for kind in (TextPart, ImagePart, FilePart, AudioPart) for name in kind.__struct_fields__)}


def messages_for_coze(request: ChatRequest) -> list[dict[str, Any]]:
    """Returns Coze's `additional_messages`, the question last. Raises ServiceError (400) if there is no question.

    Empty messages are dropped. Coze refuses the system role, so a system message becomes a user message, never the last
    one. In a conversation Coze has the earlier turns, and only messages after the last assistant message are sent.
    """
    messages = [message for message in request.messages if message.content]
    turns = [message for message in messages if message.role != "system"]
    if not turns or turns[-1].role != "user":
        raise ServiceError(BAD_REQUEST, "The last message must be the user's. Empty and system messages do not count.")
    for message in messages:
        if message.content_type == "object_string":
            # JSON within JSON: its escapes have not been decoded yet.
            message.content = without_halves(message.content)
            _check_parts(message.content)

    if request.conversation_id:
        messages = since_last_answer(messages)
    question = messages.pop(max(at for at, message in enumerate(messages) if message.role == "user"))
    return [_for_coze(message) for message in (*messages, question)]


def since_last_answer(messages: list[M]) -> list[M]:
    """Returns the messages after the last assistant message: Coze has those before in the conversation."""
    answered = max((at for at, message in enumerate(messages) if message.role == "assistant"), default=-1)
    return messages[answered + 1 :]


def _check_parts(content: str) -> None:
    try:
        parts = _decode_object_string(content)
    except (msgspec.DecodeError, RecursionError) as error:
        reason = str(error) if isinstance(error, msgspec.ValidationError) else "it is not valid JSON"
        raise ServiceError(
            BAD_REQUEST,
            "With content_type object_string, content must be a JSON array of text, image, file and audio parts: "
            + reason,
        ) from None
    for part in parts:
        if not isinstance(part, TextPart) and not part.file_id and not part.file_url:
            raise ServiceError(
                BAD_REQUEST, "An image, file or audio part of an object_string message needs a file_id or a file_url."
            )
    for names in _decode_names(content):
        # Coze's servers read JSON as Go does, where `FILE_ID` is `file_id`: a file whose owner nobody would check.
        for name in names:
            if name not in _NAMES and name.casefold() in _NAMES:
                raise ServiceError(BAD_REQUEST, f"A part of an object_string message has `{name.casefold()}` misspelt.")


def _for_coze(message: ChatMessage) -> dict[str, Any]:
    answer = message.role == "assistant"
    return {
        "role": "assistant" if answer else "user",
        "type": "answer" if answer else "question",
        "content": message.content,
        "content_type": message.content_type or "text",
    }


def file_ids(request: ChatRequest) -> list[str]:
    """Returns the ids of the files that the messages name. Content that is not valid names none."""
    return [part.file_id for part in _parts(request.messages) if not isinstance(part, TextPart) and part.file_id]


def words(request: ChatRequest) -> str:
    """Returns the text of the user's question."""
    question = [message for message in request.messages if message.role == "user" and message.content][-1:]
    if question and question[0].content_type != "object_string":
        return question[0].content
    return " ".join(part.text for part in _parts(question) if isinstance(part, TextPart))


def _parts(messages: list[ChatMessage]) -> Iterator[TextPart | ImagePart | FilePart | AudioPart]:
    for message in messages:
        if message.content_type == "object_string" and message.content:
            # Mended and read as what goes to Coze, where a file that was missed here would be read.
            with contextlib.suppress(msgspec.MsgspecError, RecursionError):
                yield from _decode_object_string(without_halves(message.content))
