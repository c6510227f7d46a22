"""The record of a request: plain data, filled in as it becomes known and read once the request is over."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from litestar.types import Scope
from msgspec import UNSET

from generated.models import ChatCompletedEvent, MessageDeltaEvent, ReasoningDeltaEvent, Usage
from service.errors import FULL, STOPPING, Failure, ServiceError

_KEY = "request_record"
_DELTAS = frozenset({MessageDeltaEvent, ReasoningDeltaEvent})


class Outcome(StrEnum):
    """How a chat or a download ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    LEFT = "left"  # by the client
    UNREAD = "unread"  # the client took no more
    REFUSED = "refused"  # the service was full or stopping


@dataclass(slots=True)
class RequestRecord:
    """The facts of one request, from which the log, the metrics and the trace are made."""

    request_id: str
    trace_id: str | None = None  # where requests are traced
    started: float = field(default_factory=time.perf_counter)
    status: int | None = None  # None: nothing was answered
    caller: str | None = None  # the name of the API key
    caller_kind: str | None = None  # of a call of the API whose caller is known
    failure: Failure | None = None
    code: int | None = None  # Coze's
    cause: str | None = None
    logid: str | None = None  # Coze's id of what it answered last
    over: bool = False  # later answers of Coze are to the clean-up
    outcome: Outcome | None = None
    # Of a chat:
    mode: Literal["stream", "json"] | None = None
    chat_begun: bool = False
    taken: bool = False  # Coze may have taken the question
    conversation_id: str | None = None
    chat_id: str | None = None
    deltas: int = 0
    first_delta_seconds: float | None = None  # since the request began
    usage: Usage | None = None
    # Of a chat whose answer is kept, where requests are traced: takes this record once the answer is over.
    end_span: "Callable[[RequestRecord], None] | None" = None

    def count(self, events: Sequence[object]) -> None:
        """Counts deltas, and keeps the usage."""
        for event in events:
            if type(event) in _DELTAS:
                if not self.deltas:
                    self.first_delta_seconds = time.perf_counter() - self.started
                self.deltas += 1
            elif isinstance(event, ChatCompletedEvent) and event.usage is not UNSET:
                self.usage = event.usage

    def fail(self, error: ServiceError) -> None:
        """Records the error that the caller gets."""
        self.failure, self.code, self.cause = error.failure, error.code, error.cause
        self.logid = error.logid or self.logid
        if self.chat_begun:
            self.end(Outcome.FAILED)
        elif self.mode is not None and error.failure in (FULL, STOPPING):
            self.end(Outcome.REFUSED)

    def end(self, outcome: Outcome) -> None:
        """Sets the outcome. The first one stands: its consequences must not hide it."""
        if self.outcome is None:
            self.outcome = outcome

    def note_chat(self, conversation_id: str | None, chat_id: str | None) -> None:
        """Records Coze's ids when the chat is released."""
        self.conversation_id, self.chat_id = conversation_id, chat_id
        self.over = True


_current: ContextVar[RequestRecord | None] = ContextVar("request_record", default=None)


def begin_record(scope: Scope, request_id: str) -> RequestRecord:
    """Makes the record of a request, and attaches it to its scope and to the current context."""
    record = RequestRecord(request_id)
    scope.setdefault("state", {})[_KEY] = record
    _current.set(record)
    return record


@contextmanager
def recording(record: RequestRecord) -> Iterator[None]:
    """Makes `record` the current one within the block, where there is no request."""
    before = _current.set(record)
    try:
        yield
    finally:
        _current.reset(before)


def record_of(scope: Scope) -> RequestRecord:
    """Returns the record of the request with this scope."""
    record: RequestRecord = scope["state"][_KEY]
    return record


def current_record() -> RequestRecord | None:
    """Returns the record of the request that this context works for, even once that is over; None without one."""
    return _current.get()
