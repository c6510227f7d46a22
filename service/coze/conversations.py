"""Conversations at Coze: their names, their ends, and what was said in them.

Coze knows no end users: whoever holds the token may do all of this with every conversation. The caller has to know
whose a conversation is.
"""

import re
from typing import Any, Literal, NamedTuple

import msgspec

from service.coze import wire
from service.coze.calls import Calls
from service.coze.errors import NO_CONVERSATION, NOT_UNDERSTOOD, Asked
from service.errors import ServiceError

FileType = Literal["image", "file", "audio"]


class SaidFile(NamedTuple):
    """A file or an address in a question. `url` is Coze's own address of it, where it gives one."""

    type: FileType
    file_id: str | None
    name: str | None
    url: str | None


class Said(NamedTuple):
    """A message. `created_at` is in milliseconds since 1970 (UTC); `content` is the text beside any files."""

    message_id: str
    chat_id: str | None
    role: Literal["user", "assistant"]
    content: str
    content_type: str | None
    reasoning_content: str | None
    created_at: int
    files: list[SaidFile]


class Conversations:
    """The conversations behind the token. Every call raises ServiceError; 404 if Coze has no such conversation."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def rename(self, conversation_id: str, name: str) -> None:
        await self._do("PUT", f"/v1/conversations/{_id(conversation_id)}", json={"name": name})

    async def delete(self, conversation_id: str) -> None:
        await self._do("DELETE", f"/v1/conversations/{_id(conversation_id)}")

    async def clear(self, conversation_id: str) -> None:
        """Has the bot forget what was said; the messages stay."""
        await self._do("POST", f"/v1/conversations/{_id(conversation_id)}/clear")

    async def rate(
        self, conversation_id: str, message_id: str, rating: str, reasons: list[str] | None, comment: str | None
    ) -> None:
        """Likes or dislikes (`unlike`) an answer."""
        body = {"feedback_type": rating, "reason_types": reasons, "comment": comment}
        given = {name: value for name, value in body.items() if value}
        await self._do("POST", _feedback(conversation_id, message_id), json=given)

    async def unrate(self, conversation_id: str, message_id: str) -> None:
        await self._do("DELETE", _feedback(conversation_id, message_id))

    async def messages(self, conversation_id: str, limit: int, before: str | None) -> tuple[list[Said], bool]:
        """Returns the newest messages, before the message `before` if there is one, oldest first; and whether there are
        more before them.
        """
        # Newest first, what is `after` a message is older: with every other order the cursors of Coze's servers differ.
        body: dict[str, Any] = {"order": "desc", "limit": limit}
        if before is not None:
            body["after_id"] = before
        envelope = await self._calls.envelope(
            "POST",
            "/v1/conversation/message/list",
            asked=Asked.CONVERSATION,
            repeatable=True,
            params={"conversation_id": _id(conversation_id)},
            json=body,
        )
        try:
            rows = wire.decode_rows(envelope.data) or []
        except wire.UNDECODABLE:
            raise ServiceError(NOT_UNDERSTOOD, cause="messages that are no list") from None
        found = [said for row in reversed(rows) if (said := _said(row)) is not None]
        # Without a message there is no id to ask for more with.
        return found, bool(found) and envelope.has_more is True

    async def _do(self, method: str, path: str, **arguments: Any) -> None:
        await self._calls.envelope(method, path, asked=Asked.CONVERSATION, repeatable=method != "POST", **arguments)


def _id(conversation_id: str) -> str:
    """The id, which the SDK puts into paths as it is. Raises ServiceError (404) if it is none that Coze gives."""
    if not re.fullmatch(r"[0-9]{1,64}", conversation_id):
        raise ServiceError(NO_CONVERSATION)
    return conversation_id


def _feedback(conversation_id: str, message_id: str) -> str:
    return f"/v1/conversations/{_id(conversation_id)}/messages/{_id(message_id)}/feedback"


def _said(row: bytes) -> Said | None:
    """Returns what a row of the list says to a reader; None if that is nothing, or cannot be read."""
    try:
        message = wire.decode_listed_message(row)
    except wire.UNDECODABLE:
        return None
    message_id = wire.text_id(message.id)
    # Types are often empty in Coze's samples; the role is there.
    match message.role:
        case "user" | "assistant" as role:
            said = "question" if role == "user" else "answer"
        case _:
            return None
    if message_id is None or message.type not in (said, "", None):
        return None
    content, files = message.content or "", list[SaidFile]()
    content_type = message.content_type if message.content_type not in wire.TEXT else None
    if content_type == "object_string":
        parts = _parts(content)
        if parts is not None:
            content, files = _text_and_files(parts)
        content_type = None
    return Said(
        message_id,
        wire.text_id(message.chat_id),
        role,
        content,
        content_type,
        message.reasoning_content or None,
        wire.milliseconds(message.created_at),
        files,
    )


def _parts(content: str) -> list[Any] | None:
    """The parts of an object_string; None if it is plain text under that name, as Coze Studio lists context."""
    try:
        parts = msgspec.json.decode(content.encode(errors="replace"))
    except wire.UNDECODABLE:
        return None
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else None


def _text_and_files(parts: list[Any]) -> tuple[str, list[SaidFile]]:
    texts = [text for part in parts if part.get("type") == "text" and isinstance(text := part.get("text"), str)]
    files = []
    for part in parts:
        if part.get("type") in ("image", "file", "audio"):
            file_id, name, url = (
                value if isinstance(value := part.get(key), str) and value else None
                for key in ("file_id", "name", "file_url")
            )
            files.append(SaidFile(part["type"], file_id, name, wire.web_address(url)))
    return "\n".join(texts), files
