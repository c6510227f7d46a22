"""Translation of Coze's events into the contract's, and of the end of a chat.

Only the bot's answers are content. Coze sends an answer in deltas and once more as a whole; the caller gets it once.
Parts that the caller does not see need not be understood.
"""

from zlib import crc32

import msgspec
from msgspec import UNSET, Raw, UnsetType

from generated.models import (
    ChatCompletedEvent,
    ChatStartedEvent,
    FollowUpEvent,
    MessageDeltaEvent,
    ReasoningDeltaEvent,
    Usage,
)
from service.coze import wire
from service.coze.bot_answer import BotAnswer
from service.coze.chat_state import AtCoze, follow
from service.coze.errors import BROKE_OFF, CANCELED, NEEDS_TOOL, NOT_UNDERSTOOD, Asked, coze_failure
from service.coze.mending import repaired
from service.errors import ServiceError

ChatEvent = ChatStartedEvent | MessageDeltaEvent | ReasoningDeltaEvent | FollowUpEvent | ChatCompletedEvent

_STARTED = {b"conversation.chat.created", b"conversation.chat.in_progress"}
# Coze's cloud names no such event, Coze Studio spells it with two l.
_CANCELED = {b"conversation.chat.canceled", b"conversation.chat.cancelled"}
_REQUIRES_ACTION = {b"conversation.chat.requires_action", b"conversation.chat.required_action"}
_DONE = {b"done", b"conversation.stream.done"}


class Translation:
    """Translator of one chat's events, fed in order.

    `chat_id` and `conversation_id` are None until Coze names them. `state` is the chat's state at Coze.
    """

    __slots__ = (
        "_answer",
        "_answer_id",
        "_answered",
        "_answers",
        "_asked",
        "_interrupted",
        "_named",
        "chat_id",
        "conversation_id",
        "message_id",
        "state",
    )

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self.chat_id: str | None = None
        self.conversation_id: str | None = None
        self.message_id: str | None = None  # of the last answer that is whole
        self._named = False  # the caller has the ids
        self.state = AtCoze.ASKED
        self._answered = False  # some answer has text
        self._interrupted = False  # the bot's workflow waits for input
        self._answers: dict[str, BotAnswer] = {}  # by id; "" until an answer without one is whole
        self._answer: BotAnswer | None = None  # that the last delta belonged to
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
        """Appends the caller's events for an event of Coze's to `events`, with the timestamp `now`.

        Raises ServiceError if the event is a failure or cannot be understood.
        """
        if self.state.over:
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
                self._name(events, now)
            case _ if name in _CANCELED:
                self._end()
                raise ServiceError(CANCELED)
            case _ if name in _REQUIRES_ACTION:
                self._requires_action(_facts(data), events, now)
            case _ if name in _DONE:
                # So ends Coze's own sample of a workflow that asks the user something.
                if not (self._interrupted and self._answered):
                    raise ServiceError(BROKE_OFF, cause="done without completed")
                self._complete(wire.ChatFacts(), events, now)

    def _note(self, chat: wire.ChatFacts) -> None:
        self.chat_id = wire.text_id(chat.id) or self.chat_id
        self.conversation_id = wire.text_id(chat.conversation_id) or self.conversation_id

    def _name(self, events: list[ChatEvent], now: str) -> None:
        """Tells the caller the chat's ids, once Coze has named both."""
        if self.conversation_id and self.chat_id and not self._named:
            self._named = True
            ids = {"conversation_id": self.conversation_id, "chat_id": self.chat_id}
            events.append(ChatStartedEvent(**ids, timestamp=now))

    def _failure(self, facts: wire.ChatFacts) -> ServiceError:
        code = (facts.last_error and facts.last_error.code) or facts.code
        return ServiceError(coze_failure(self._asked, code=code), code=code)

    def _chat_completed(self, chat: wire.ChatFacts, events: list[ChatEvent], now: str) -> None:
        self._note(chat)
        match chat.status:
            case "canceled" | "cancelled":
                # The stream of a cancelled chat goes on, and ends like that of a completed one.
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
        """Completes a turn that ends with a question to the user, which the next message answers.

        Raises ServiceError if Coze waits for the caller to run a tool.
        """
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
            self._send_rest(answer, wire.Message(), events, now)
        events.append(
            ChatCompletedEvent(
                conversation_id=self.conversation_id,
                chat_id=self.chat_id or UNSET,
                message_id=self.message_id or UNSET,
                timestamp=now,
                usage=_usage(chat.usage),
            )
        )

    def _delta(self, data: bytes, events: list[ChatEvent], now: str) -> None:
        odd = False
        try:
            message = wire.decode_message(data)
        except wire.UNDECODABLE:
            message, odd = _odd_delta(data), True
        if not self.state.started:
            self._move(AtCoze.RUNNING)
        if message.type != "answer" or message.role == "user":
            return
        answer = self._answer
        # Nearly always the answer of the delta before.
        if answer is None or message.id != self._answer_id:
            answer = self._answer = self._answers.setdefault(wire.text_id(message.id) or "", BotAnswer())
            self._answer_id = message.id
        if odd or answer.cut is not None:
            answer.join(message)
        if message.reasoning_content:
            answer.reasoned = True
            answer.reasoning_sum = crc32(message.reasoning_content.encode(), answer.reasoning_sum)
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
                self._interrupted = self._interrupted or wire.is_interrupt(message.content)
            case "answer" if message.role != "user":
                self._whole_answer(message, events, now)

    def _whole_answer(self, message: wire.Message, events: list[ChatEvent], now: str) -> None:
        answer = self._answer_of(message)
        self._send_rest(answer, message, events, now)
        answer.whole = True
        self.message_id = wire.text_id(message.id) or self.message_id
        self._answers.pop("", None)
        self._answer = self._answer_id = None

    def _answer_of(self, message: wire.Message) -> BotAnswer:
        """Finds the answer whose whole text a completed message holds."""
        answer_id = wire.text_id(message.id) or ""
        answer = self._answers.get(answer_id)
        if answer is None and self._answer is not None and not (answer_id and self._answer_id):
            # If either side lacks an id, it belongs to the deltas before it.
            answer = self._answer
        if answer is None:
            # Its deltas may have had another id.
            same = (answer for answer in self._answers.values() if answer.is_repeated_by(message))
            answer = next(same, None) or BotAnswer()
        self._answers[answer_id] = answer
        return answer

    def _begin(self, answer: BotAnswer, content: str) -> str:
        """Begins the text of an answer. All but the first in a chat are set off by a blank line."""
        first = not self._answered
        self._answered = answer.begun = True
        return content if first else f"\n\n{content}"

    def _send_rest(self, answer: BotAnswer, whole: wire.Message, events: list[ChatEvent], now: str) -> None:
        """Sends the rest of an answer that has no more deltas."""
        content, reasoning = answer.rest_in(whole)
        if reasoning:
            answer.reasoned = True
            events.append(ReasoningDeltaEvent(content=reasoning, timestamp=now))
        if content:
            if not answer.begun:
                content = self._begin(answer, content)
            events.append(MessageDeltaEvent(content=content, timestamp=now))

    def _odd_message(self, data: bytes) -> wire.Message:
        """Decodes a completed message with broken characters or other faults."""
        try:
            message = wire.decode_odd_message(data)
        except wire.UNDECODABLE:
            if self._answer is None or not self._answer.begun:
                raise ServiceError(NOT_UNDERSTOOD, cause="a message that does not decode") from None
            # The caller has the text from the deltas.
            return wire.Message(id=self._answer_id, type="answer")
        message.content = repaired(message.content)
        message.reasoning_content = repaired(message.reasoning_content)
        return message


def _facts(data: bytes) -> wire.ChatFacts:
    """Decodes the data of a chat event, whose name is enough if they are malformed."""
    try:
        return wire.decode_chat(data)
    except wire.UNDECODABLE:
        return wire.ChatFacts()


def _odd_delta(data: bytes) -> wire.Message:
    try:
        return wire.decode_odd_message(data)
    except wire.UNDECODABLE:
        raise ServiceError(NOT_UNDERSTOOD, cause="a delta that does not decode") from None


def _usage(figures: Raw) -> Usage | UnsetType:
    try:
        usage = wire.decode_usage(bytes(figures))
    except wire.UNDECODABLE:
        return UNSET
    counted = {name: count for name, count in msgspec.structs.asdict(usage).items() if count is not None}
    return Usage(**counted) if counted else UNSET
