"""One turn of a bot: the steps it can take, and the events it says them with."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .ask import Ask, parts_of
from .history import Json
from .world import Chat, World

# Two Chinese characters, or a word with the space after it: what a model's token looks like to a reader.
_CJK = r"\u2e80-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff00-\uffef"
_WORD = re.compile(rf"[{_CJK}]{{1,2}}|[^\s{_CJK}]{{1,24}}[^\S\n]?|\s+")
_TOKEN = re.compile(rf"[{_CJK}]|[^\s{_CJK}]{{1,5}}")


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer in place of the chat, only as the first step. content_type None: no such header."""

    body: bytes = b""
    status: int = 200
    content_type: str | None = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Open:
    """The stream's headers leave now, ahead of the first event."""

    content_type: str | None = "text/event-stream"


@dataclass(frozen=True, slots=True)
class Event:
    name: str
    data: object


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes that leave as they are."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float


@dataclass(frozen=True, slots=True)
class Hang:
    """Nothing more for ten minutes, or until nobody is left to see it."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection ends here, the chat goes on unseen.

    eof: a clean end of the body. half: in the middle of a chunk. reset: as a socket dies (RST).
    """

    how: Literal["eof", "half", "reset"]


Step = Reply | Open | Event | Raw | Pause | Hang | Cut
Steps = Iterator[Step]


def count_tokens(text: str) -> int:
    """Roughly a model's count: a Chinese character is one token, a word one for each five letters."""
    return sum(1 for _ in _TOKEN.finditer(text))


class Turn:
    """What a bot knows when it is asked, and its way to say things. Saying them changes the chat too."""

    def __init__(self, world: World, chat: Chat, ask: Ask, logid: str) -> None:
        self.world = world
        self.chat = chat
        self.logid = logid
        self.delta_seconds = world.dials.delta_seconds
        messages = chat.conversation.context() + ask.messages
        last = max((at for at, message in enumerate(messages) if message["role"] == "user"), default=-1)
        # A file may come in a message of its own, beside its text: all of them are the question.
        first = last
        while first > 0 and messages[first - 1]["role"] == "user" and _is_files(messages[first - 1 : first + 1]):
            first -= 1
        self.history = messages[: max(first, 0)]
        self.parts: list[Json] = [part for message in messages[max(first, 0) :] for part in parts_of(message)]
        self.question = "\n".join(str(part.get("text") or "") for part in self.parts if part.get("type") == "text")
        self._read = sum(count_tokens(message["content"]) + 4 for message in messages)
        self._said = 0
        self._message_id = world.new_id()

    def number(self, name: str, default: float, most: float) -> float:
        """A number that the question sets, as in `pause=2`."""
        found = re.search(rf"(?<!\w){name}=(\d+(?:\.\d+)?)", self.question)
        return min(float(found[1]), most) if found else default

    def message(self, content: str | None, kind: str = "answer", content_type: str = "text", **more: Any) -> Json:
        """A Message object of this chat."""
        return {
            "id": self._message_id if kind == "answer" else self.world.new_id(),
            "conversation_id": self.chat.conversation.id,
            "bot_id": self.chat.bot_id,
            "role": "assistant",
            "type": kind,
            "content": content,
            "content_type": content_type,
            "chat_id": self.chat.id,
            "section_id": self.chat.section_id,
            **more,
        }

    def chat_event(self, name: str) -> Event:
        return Event(f"conversation.chat.{name}", self.chat.detail())

    def begin(self) -> Steps:
        yield self.chat_event("created")
        if self.chat.status == "created":
            self.chat.status = "in_progress"
        yield self.chat_event("in_progress")

    def delta(self, text: str | None, **more: Any) -> Event:
        return Event("conversation.message.delta", self.message(text, **more))

    def words(self, text: str) -> Steps:
        return self.pieces(found[0] for found in _WORD.finditer(text))

    def pieces(self, texts: Iterable[str]) -> Steps:
        for text in texts:
            yield self.delta(text)
            if self.delta_seconds:
                yield Pause(self.delta_seconds)

    def said(self, text: str, thoughts: str = "", **more: Any) -> Event:
        """The answer is whole; the next one gets an id of its own.

        thoughts: what the deltas told of them, for who lists the message later; its event is without.
        """
        event = self.completed(self.message(text, **more), **({"reasoning_content": thoughts} if thoughts else {}))
        self._said += count_tokens(text)
        self._message_id = self.world.new_id()
        return event

    def aside(self, kind: str, content: str, **more: Any) -> Event:
        """A message that is no answer: verbose, follow_up, function_call and the like."""
        return self.completed(self.message(content, kind, **more))

    def completed(self, message: Json, **kept: Any) -> Event:
        """A whole message; `kept` are fields that only lists show."""
        message = {**message, "created_at": int(time.time()), "updated_at": int(time.time())}
        self.world.keep(self.chat, message | kept)
        return Event("conversation.message.completed", message)

    def answer(self, text: str) -> Steps:
        yield from self.words(text)
        yield self.said(text)

    def finish_mark(self, reason: int = 0) -> Event:
        """The message that says that all answers are there, or with the reason 1 that somebody has to go on."""
        return self.aside(
            "verbose",
            f'{{"msg_type":"generate_answer_finish","data":"{{\\"finish_reason\\":{reason},\\"FinData\\":\\"\\"}}",'
            '"from_module":null,"from_unit":null}',
        )

    def finish(self, follow_ups: tuple[str, ...] = ()) -> Steps:
        """The end of a chat that went well."""
        yield self.finish_mark()
        for follow_up in follow_ups:
            yield self.aside("follow_up", follow_up)
        self.end("completed")
        yield self.chat_event("completed")
        yield self.done()

    def end(self, status: str, code: int = 0, msg: str = "") -> None:
        """The chat's state becomes final and its conversation free; no event says so yet."""
        self.chat.usage = {
            "token_count": self._read + self._said,
            "output_count": self._said,
            "input_count": self._read,
        }
        if code and self.chat.status != "canceled":
            self.chat.last_error = {"code": code, "msg": msg}
        self.chat.end(status)
        self.world.release(self.chat)

    def failed(self, code: int, msg: str) -> Steps:
        """The documented way for a chat to fail: last_error says why."""
        self.end("failed", code, msg)
        yield self.chat_event("failed")
        yield self.done()

    def error(self, code: int, msg: str) -> Steps:
        """The other way: an event that is no Chat."""
        self.end("failed", code, msg)
        yield Event("error", {"code": code, "msg": msg})
        yield self.done()

    def done(self) -> Event:
        return Event("done", "[DONE]")


def _is_files(messages: list[Json]) -> bool:
    """Whether one of the two is made of files alone, so that they belong together."""
    return any(all(part.get("type") != "text" for part in parts_of(message)) for message in messages)
