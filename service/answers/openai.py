"""A chat's answer in OpenAI's form: a chat completion, or its chunks.

https://platform.openai.com/docs/api-reference/chat
"""

import time
from collections.abc import Iterator

import msgspec
from msgspec import UNSET, UnsetType

from generated.models import (
    ChatCompletedEvent,
    ChatCompletion,
    ChatCompletionAnswer,
    ChatCompletionChoice,
    ChatCompletionChunk,
    ChatCompletionChunkChoice,
    ChatCompletionDelta,
    ChatStartedEvent,
    CompletionUsage,
    MessageDeltaEvent,
    ReasoningDeltaEvent,
    Usage,
)
from service.answers.chat import Whole
from service.answers.events import data_block, pieces
from service.coze import ChatEvent
from service.errors import ServiceError, openai_error

_encode = msgspec.json.Encoder().encode
_DONE = data_block(b"[DONE]")


class CompletionForm:
    """OpenAI's form of the answer of one chat (`answers.chat.Form`).

    `request_id` names the answer where Coze does not name the turn. Follow-up questions have no place in this form.
    """

    def __init__(self, model: str, fingerprint: str, request_id: str, *, include_usage: bool) -> None:
        self._include_usage = include_usage
        self._begun = False
        self._is_plain = True  # all of a chunk but its text
        self._content, self._reasoning = ChatCompletionDelta(), ChatCompletionDelta()
        self._choice = ChatCompletionChunkChoice(index=0, delta=self._content, logprobs=None, finish_reason=None)
        # One for all deltas: to make a new one each time costs more than to encode it.
        self._chunk = ChatCompletionChunk(
            id=f"chatcmpl-{request_id}",
            object="chat.completion.chunk",
            created=int(time.time()),
            model=model,
            system_fingerprint=fingerprint,
            choices=[self._choice],
        )

    def document(self, answer: Whole) -> ChatCompletion:
        self._name(answer.end)
        message = ChatCompletionAnswer(
            role="assistant",
            content="".join(answer.content),
            refusal=None,
            reasoning_content="".join(answer.reasoning) or UNSET,
        )
        return ChatCompletion(
            id=self._chunk.id,
            object="chat.completion",
            created=self._chunk.created,
            model=self._chunk.model,
            system_fingerprint=self._chunk.system_fingerprint,
            choices=[ChatCompletionChoice(index=0, message=message, logprobs=None, finish_reason="stop")],
            usage=_usage(answer.end.usage),
            conversation_id=answer.end.conversation_id,
        )

    def blocks(self, events: list[ChatEvent]) -> list[bytes]:
        written: list[bytes] = []
        for event in events:
            if not self._begun:
                written.append(self._first(event))
            match event:
                case MessageDeltaEvent():
                    for piece in pieces(event.content):
                        self._content.content = piece
                        written.append(self._piece(self._content, piece))
                case ReasoningDeltaEvent():
                    for piece in pieces(event.content):
                        self._reasoning.reasoning_content = piece
                        written.append(self._piece(self._reasoning, piece))
                case ChatStartedEvent():
                    self._name(event)
                case ChatCompletedEvent():
                    self._name(event)
                    written += self._last(event)
        return written

    def end(self) -> bytes:
        return _DONE

    def failed(self, failure: ServiceError) -> bytes:
        # Without [DONE]: a client that passes over the error must not take the answer for a whole one.
        return data_block(_encode(openai_error(failure)))

    def _name(self, event: ChatStartedEvent | ChatCompletedEvent) -> None:
        """Takes the ids from an event. A stream that has begun keeps its answer's id."""
        self._chunk.conversation_id = event.conversation_id
        self._is_plain = event.conversation_id.isprintable()
        if not self._begun and event.chat_id is not UNSET:
            self._chunk.id = f"chatcmpl-{event.chat_id}"

    def _first(self, event: ChatEvent) -> bytes:
        if isinstance(event, ChatStartedEvent):
            self._name(event)
        self._begun = True
        return self._piece(ChatCompletionDelta(role="assistant", content=""))

    def _last(self, event: ChatCompletedEvent) -> Iterator[bytes]:
        self._choice.finish_reason = "stop"
        yield self._piece(ChatCompletionDelta())
        if self._include_usage and event.usage is not UNSET:
            self._chunk.choices, self._chunk.usage = [], _usage(event.usage)
            yield data_block(_encode(self._chunk))

    def _piece(self, delta: ChatCompletionDelta, text: str | None = None) -> bytes:
        self._choice.delta = delta
        return data_block(_encode(self._chunk), text if self._is_plain else None)


def _usage(usage: Usage | UnsetType) -> CompletionUsage | UnsetType:
    if usage is UNSET:
        return UNSET
    return CompletionUsage(
        prompt_tokens=usage.input_count, completion_tokens=usage.output_count, total_tokens=usage.token_count
    )
