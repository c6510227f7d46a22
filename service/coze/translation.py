"""Coze's events to the contract's: what of a chat's stream the caller sees, and how the chat ended.

Only the bot's answers are content. An answer comes as deltas, and once more whole when it is completed: it counts once.
What the caller does not see need not be understood.
"""

from zlib import crc32

import msgspec
from msgspec import UNSET, Raw, UnsetType

from generated.models import (
    ChatCompletedEvent,
    FollowUpEvent,
    MessageDeltaEvent,
    ReasoningDeltaEvent,
    Usage,
)
from service.coze import wire
from service.coze.chat_state import AtCoze, follow
from service.coze.errors import BROKE_OFF, CANCELED, NEEDS_TOOL, NOT_UNDERSTOOD, Asked, coze_failure
from service.coze.mending import REPLACEMENT, whole_characters
from service.errors import ServiceError

ChatEvent = MessageDeltaEvent | ReasoningDeltaEvent | FollowUpEvent | ChatCompletedEvent

_STARTED = {b"conversation.chat.created", b"conversation.chat.in_progress"}
# Coze's cloud names no such event, Coze Studio spells it with two l.
_CANCELED = {b"conversation.chat.canceled", b"conversation.chat.cancelled"}
_REQUIRES_ACTION = {b"conversation.chat.requires_action", b"conversation.chat.required_action"}
_DONE = {b"done", b"conversation.stream.done"}


class _Answer:
    """One answer of the bot, as far as the caller has it."""

    __slots__ = ("begun", "cut", "sum", "thinking_sum", "thought", "whole")

    def __init__(self) -> None:
        self.begun = False  # some of its text was told
        self.sum = 0  # of the text that deltas have told
        self.thought = False  # some of the thinking that led to it was told
        self.thinking_sum = 0
        self.whole = False  # Coze has completed it
        self.cut: tuple[str, str] | None = None  # halves of characters that its text and its thinking end with so far


class Translation:
    """One chat's events, in order. `feed` gives what the caller sees of each, and raises what ends the chat badly.

    `chat_id` and `conversation_id` are known once Coze has named them; `state` is where the chat stands at Coze.
    """

    __slots__ = (
        "_answer",
        "_answer_id",
        "_answered",
        "_answers",
        "_asked",
        "_interrupted",
        "chat_id",
        "conversation_id",
        "state",
    )

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self.chat_id: str | None = None
        self.conversation_id: str | None = None
        self.state = AtCoze.ASKED
        self._answered = False  # some answer has text
        self._interrupted = False  # the bot's workflow waits for somebody
        self._answers: dict[str, _Answer] = {}  # by their ids; "" is the one without, until it is whole
        self._answer: _Answer | None = None  # that deltas are coming for
        self._answer_id: wire.Id = None

    @property
    def started(self) -> bool:
        return self.state.started

    @property
    def over(self) -> bool:
        return self.state.over

    @property
    def completed(self) -> bool:
        return self.state is AtCoze.COMPLETED

    def _move(self, to: AtCoze) -> None:
        if follow(self.state, to):
            self.state = to

    def _end(self) -> None:
        self._move(AtCoze.ENDED if self.state.started else AtCoze.REFUSED)

    def feed(self, name: bytes, data: bytes, events: list[ChatEvent], now: str) -> None:
        """Adds to `events` what the caller sees, with the timestamp `now`.

        Raises ServiceError if it is a failure or cannot be understood.
        """
        if self.over:
            return
        match name:
            case b"conversation.message.delta":
                self._delta(data, events, now)
            case b"conversation.message.completed":
                self._message(data, events, now)
            case b"conversation.chat.completed":
                self._chat_completed(_facts(data), events, now)
            case b"conversation.chat.failed":
                chat = _facts(data)
                self._note(chat)
                self._end()
                raise self._failure(chat)
            case b"error":
                raise self._failure(_facts(data))
            case _ if name in _STARTED:
                self._note(_facts(data))
                self._move(AtCoze.RUNNING)
            case _ if name in _CANCELED:
                self._end()
                raise ServiceError(CANCELED)
            case _ if name in _REQUIRES_ACTION:
                self._requires_action(_facts(data), events, now)
            case _ if name in _DONE:
                # Coze's own sample of a workflow that asks the user ends so.
                if not (self._interrupted and self._answered):
                    raise ServiceError(BROKE_OFF, cause="done without completed")
                self._complete(wire.ChatFacts(), events, now)

    def _note(self, chat: wire.ChatFacts) -> None:
        self.chat_id = wire.text_id(chat.id) or self.chat_id
        self.conversation_id = wire.text_id(chat.conversation_id) or self.conversation_id

    def _failure(self, said: wire.ChatFacts) -> ServiceError:
        code = (said.last_error and said.last_error.code) or said.code
        return ServiceError(coze_failure(self._asked, code=code), code=code)

    def _chat_completed(self, chat: wire.ChatFacts, events: list[ChatEvent], now: str) -> None:
        self._note(chat)
        match chat.status:
            case "canceled" | "cancelled":
                # A stream runs on after its chat was cancelled, and ends as if nothing had been.
                self._end()
                raise ServiceError(CANCELED)
            case "failed":
                self._end()
                raise self._failure(chat)
            case "requires_action" | "required_action":
                self._requires_action(chat, events, now)
            case _:
                self._complete(chat, events, now)

    def _requires_action(self, chat: wire.ChatFacts, events: list[ChatEvent], now: str) -> None:
        """A question to the user is the end of a good turn: the next message of the conversation answers it."""
        self._note(chat)
        wanted = chat.wanted
        if "function" in wanted or not ("reply_message" in wanted or self._answered):
            self._end()
            raise ServiceError(NEEDS_TOOL)
        self._complete(chat, events, now)

    def _complete(self, chat: wire.ChatFacts, events: list[ChatEvent], now: str) -> None:
        if self.conversation_id is None:
            self._end()
            raise ServiceError(NOT_UNDERSTOOD, cause="a completed chat without a conversation")
        self._move(AtCoze.COMPLETED)
        for answer in self._answers.values():
            self._tell_rest(answer, wire.Message(), events, now)
        events.append(ChatCompletedEvent(conversation_id=self.conversation_id, timestamp=now, usage=_usage(chat.usage)))

    def _delta(self, data: bytes, events: list[ChatEvent], now: str) -> None:
        odd = False
        try:
            message = wire.decode_message(data)
        except wire.UNDECODABLE:
            message, odd = _odd_delta(data), True
        if self.state is AtCoze.ASKED:
            self.state = AtCoze.RUNNING
        if message.type != "answer" or message.role == "user":
            return
        answer = self._answer
        # Nearly always that of the delta before.
        if answer is None or message.id != self._answer_id:
            answer = self._answer = self._answers.setdefault(wire.text_id(message.id) or "", _Answer())
            self._answer_id = message.id
        if odd or answer.cut is not None:
            _join(answer, message)
        if message.reasoning_content:
            answer.thought = True
            answer.thinking_sum = crc32(message.reasoning_content.encode(), answer.thinking_sum)
            events.append(ReasoningDeltaEvent(content=message.reasoning_content, timestamp=now))
        content = message.content
        if content and message.content_type in wire.TEXT:
            answer.sum = crc32(content.encode(), answer.sum)
            if not answer.begun:
                content = self._begin(answer, content)
            events.append(MessageDeltaEvent(content=content, timestamp=now))

    def _message(self, data: bytes, events: list[ChatEvent], now: str) -> None:
        try:
            message = wire.decode_message(data)
        except wire.UNDECODABLE:
            message = self._odd_message(data)
        self._move(AtCoze.RUNNING)
        match message.type:
            case "follow_up" if message.content:
                events.append(FollowUpEvent(content=message.content, timestamp=now))
            case "verbose" if message.content:
                self._interrupted = self._interrupted or _is_interrupt(message.content)
            case "answer" if message.role != "user":
                self._whole_answer(message, events, now)

    def _whole_answer(self, message: wire.Message, events: list[ChatEvent], now: str) -> None:
        answer = self._answer_of(message)
        self._tell_rest(answer, message, events, now)
        answer.whole = True
        self._answers.pop("", None)
        self._answer = self._answer_id = None

    def _answer_of(self, message: wire.Message) -> _Answer:
        """The answer that a completed message has the whole text of."""
        answer_id = wire.text_id(message.id) or ""
        answer = self._answers.get(answer_id)
        if answer is None and self._answer is not None and not (answer_id and self._answer_id):
            # Without an id on either side, it belongs to the deltas before it.
            answer = self._answer
        if answer is None:
            # Deltas may have come under another id.
            same = (answer for answer in self._answers.values() if _is_same(answer, message))
            answer = next(same, None) or _Answer()
        self._answers[answer_id] = answer
        return answer

    def _begin(self, answer: _Answer, content: str) -> str:
        """The first text of an answer; a second one in the same chat is set off by a blank line."""
        first = not self._answered
        self._answered = answer.begun = True
        return content if first else f"\n\n{content}"

    def _tell_rest(self, answer: _Answer, whole: wire.Message, events: list[ChatEvent], now: str) -> None:
        """What the caller lacks of an answer of which no more deltas come."""
        cut, thinking_cut = answer.cut or ("", "")
        answer.cut = None
        if thinking := _rest(whole.reasoning_content, answer.thought, thinking_cut):
            answer.thought = True
            events.append(ReasoningDeltaEvent(content=thinking, timestamp=now))
        if content := _rest(whole.content if whole.content_type in wire.TEXT else None, answer.begun, cut):
            if not answer.begun:
                content = self._begin(answer, content)
            events.append(MessageDeltaEvent(content=content, timestamp=now))

    def _odd_message(self, data: bytes) -> wire.Message:
        """A completed message that may hold broken characters or worse."""
        try:
            message = wire.decode_odd_message(data)
        except wire.UNDECODABLE:
            if self._answer is None or not self._answer.begun:
                raise ServiceError(NOT_UNDERSTOOD, cause="a message that does not decode") from None
            # The caller has the text.
            return wire.Message(id=self._answer_id, type="answer")
        message.content = _mended(message.content)
        message.reasoning_content = _mended(message.reasoning_content)
        return message


def _facts(data: bytes) -> wire.ChatFacts:
    """The data of an event whose name says enough."""
    try:
        return wire.decode_chat(data)
    except wire.UNDECODABLE:
        return wire.ChatFacts()


def _odd_delta(data: bytes) -> wire.Message:
    try:
        return wire.decode_odd_message(data)
    except wire.UNDECODABLE:
        raise ServiceError(NOT_UNDERSTOOD, cause="a delta that does not decode") from None


def _join(answer: _Answer, message: wire.Message) -> None:
    """Mends the characters of a delta, of which the deltas before it may have brought a part."""
    text, thinking = answer.cut or ("", "")
    message.content, text = whole_characters(text + (message.content or ""))
    message.reasoning_content, thinking = whole_characters(thinking + (message.reasoning_content or ""))
    answer.cut = (text, thinking) if text or thinking else None


def _rest(whole: str | None, told: bool, cut: str) -> str:
    """All of a text, or the end of one that deltas have told but for what they were cut off in."""
    if whole and not told:
        return whole
    return REPLACEMENT if cut else ""


def _mended(text: str | None) -> str | None:
    if not text:
        return text
    whole, cut = whole_characters(text)
    return whole + REPLACEMENT if cut else whole


def _is_same(answer: _Answer, message: wire.Message) -> bool:
    """Whether a completed message has what deltas have told of an answer: its text, or as yet only its thinking."""
    if answer.whole:
        return False
    if answer.begun:
        return crc32((message.content or "").encode()) == answer.sum
    return answer.thought and crc32((message.reasoning_content or "").encode()) == answer.thinking_sum


def _is_interrupt(verbose: str) -> bool:
    try:
        return wire.decode_verbose(verbose.encode()).msg_type == "interrupt"
    except wire.UNDECODABLE:
        return False


def _usage(figures: Raw) -> Usage | UnsetType:
    try:
        usage = wire.decode_usage(bytes(figures))
    except wire.UNDECODABLE:
        return UNSET
    counted = {name: count for name, count in msgspec.structs.asdict(usage).items() if count is not None}
    return Usage(**counted) if counted else UNSET
