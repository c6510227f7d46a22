"""Coze's events to the contract's: what of a chat's stream the caller sees, and how the chat ended.

Only the bot's answers are content. An answer comes as deltas, and once more whole when it is completed: it counts once.
"""

from msgspec import UNSET

from generated.models import (
    ChatCompletedEvent,
    FollowUpEvent,
    MessageDeltaEvent,
    ReasoningDeltaEvent,
    Usage,
)
from service.coze import wire
from service.errors import CANCELED, NEEDS_TOOL, NOT_UNDERSTOOD, Asked, ServiceError, coze_failure

ChatEvent = MessageDeltaEvent | ReasoningDeltaEvent | FollowUpEvent | ChatCompletedEvent

_STARTED = {b"conversation.chat.created", b"conversation.chat.in_progress"}
# Coze's cloud names no such event, Coze Studio spells it with two l.
_CANCELED = {b"conversation.chat.canceled", b"conversation.chat.cancelled"}
_TEXT = ("text", "", None)
_NEEDS_TOOL = {b"conversation.chat.requires_action", b"conversation.chat.required_action"}


class Translation:
    """One chat's events, in order. `feed` gives what the caller sees of each, and raises what ends the chat badly.

    `chat_id` and `conversation_id` are known once Coze has named them. `started` is true once Coze has said anything
    that is not a failure. `over` is true once Coze will do no more for this chat, `completed` if it completed it.
    """

    __slots__ = (
        "_answered",
        "_asked",
        "_open_answer",
        "_told",
        "chat_id",
        "completed",
        "conversation_id",
        "over",
        "started",
    )

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self.chat_id: str | None = None
        self.conversation_id: str | None = None
        self.started = False
        self.completed = False
        self.over = False
        self._answered = False  # some answer has content
        self._open_answer: str | None = None  # the id of the answer that deltas are coming for; "" if it has none
        self._told: set[str] = set()  # the ids of answers whose content is with the caller

    def feed(self, name: bytes, data: bytes, events: list[ChatEvent], now: str) -> None:
        """Adds to `events` what the caller sees, with the timestamp `now`.

        Raises ServiceError if it is a failure or cannot be understood.
        """
        if self.over:
            return
        try:
            match name:
                case b"conversation.message.delta":
                    self._delta(wire.decode_message(data), events, now)
                case b"conversation.message.completed":
                    self._message(data, events, now)
                case b"conversation.chat.completed":
                    self._complete(wire.decode_chat(data), events, now)
                case b"conversation.chat.failed":
                    self.over = True
                    raise self._failure(wire.decode_chat(data))
                case b"error":
                    raise self._failure(wire.decode_error(data))
                case _ if name in _STARTED:
                    self._note(wire.decode_chat(data))
                    self.started = True
                case _ if name in _CANCELED:
                    self.over = True
                    raise ServiceError(CANCELED)
                case _ if name in _NEEDS_TOOL:
                    self.over = True
                    raise ServiceError(NEEDS_TOOL)
        except wire.UNDECODABLE:
            raise ServiceError(NOT_UNDERSTOOD, cause=f"event {name[:60]!r} does not decode") from None

    def _note(self, chat: wire.ChatFacts) -> None:
        self.chat_id = wire.text_id(chat.id) or self.chat_id
        self.conversation_id = wire.text_id(chat.conversation_id) or self.conversation_id

    def _failure(self, said: wire.ChatFacts | wire.CodeAndMessage) -> ServiceError:
        code = said.code
        if isinstance(said, wire.ChatFacts):
            self._note(said)
            if said.last_error is not None:
                code = said.last_error.code or code
        return ServiceError(coze_failure(self._asked, code=code), code=code)

    def _complete(self, chat: wire.ChatFacts, events: list[ChatEvent], now: str) -> None:
        self._note(chat)
        self.over = True
        if chat.status in ("canceled", "cancelled"):
            # A stream runs on after its chat was cancelled, and ends as if nothing had been.
            raise ServiceError(CANCELED)
        if self.conversation_id is None:
            raise ServiceError(NOT_UNDERSTOOD, cause="a completed chat without a conversation")
        self.started = self.completed = True
        usage = _usage(chat.usage) if chat.usage else UNSET
        events.append(ChatCompletedEvent(conversation_id=self.conversation_id, timestamp=now, usage=usage))

    def _delta(self, message: wire.Message, events: list[ChatEvent], now: str) -> None:
        self.started = True
        if message.type != "answer" or message.role == "user":
            return
        if message.reasoning_content:
            events.append(ReasoningDeltaEvent(content=message.reasoning_content, timestamp=now))
        if message.content and message.content_type in _TEXT:
            content = message.content
            # Nearly always that of the delta before.
            if message.id is None or message.id != self._open_answer:
                answer = wire.text_id(message.id) or ""
                if answer != self._open_answer:
                    content = self._open(answer, content)
            events.append(MessageDeltaEvent(content=content, timestamp=now))

    def _message(self, data: bytes, events: list[ChatEvent], now: str) -> None:
        try:
            message = wire.decode_message(data)
        except wire.UNDECODABLE:
            # Only an answer or a follow-up has to be understood; what tools say is passed over in any form.
            if wire.decode_message_kind(data).type in ("answer", "follow_up"):
                raise
            return
        self.started = True
        if message.type == "follow_up" and message.content:
            events.append(FollowUpEvent(content=message.content, timestamp=now))
        if message.type != "answer" or message.role == "user":
            return
        answer = wire.text_id(message.id) or ""
        # Without an id on either side, the completed message belongs to the deltas before it.
        told = answer in self._told or self._open_answer == "" or (not answer and self._open_answer is not None)
        if message.content and message.content_type in _TEXT and not told:
            content = self._open(answer, message.content)
            events.append(MessageDeltaEvent(content=content, timestamp=now))
        self._open_answer = None
        self._told.discard("")

    def _open(self, answer: str, content: str) -> str:
        """Begins an answer; a second one in the same chat is set off by a blank line."""
        first = not self._answered or answer in self._told
        self._answered = True
        self._open_answer = answer
        self._told.add(answer)
        return content if first else f"\n\n{content}"


def _usage(usage: wire.Usage) -> Usage:
    return Usage(
        token_count=UNSET if usage.token_count is None else usage.token_count,
        output_count=UNSET if usage.output_count is None else usage.output_count,
        input_count=UNSET if usage.input_count is None else usage.input_count,
    )
