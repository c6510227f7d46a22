"""Every request gets an id, and when it is over one line in the log, its figures and its spans."""

import re
import secrets
import time
from collections.abc import Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from msgspec import UNSET

from generated.models import ChatCompletedEvent, MessageDeltaEvent, ReasoningDeltaEvent, Usage
from service import metrics
from service.coze import Chat, ChatEvent
from service.errors import Failure, ServiceError

if TYPE_CHECKING:
    from service.tracing import RequestSpans, Tracing

log = structlog.get_logger()

_PLAIN_ID = re.compile(rb"[A-Za-z0-9._~-]{1,64}")
_KEY = "request_record"

_DELTAS = frozenset({MessageDeltaEvent, ReasoningDeltaEvent})


class RequestRecord:
    """What is to be said of one request when it is over. Whoever learns something sets it here."""

    __slots__ = (
        "_logid",
        "caller",
        "cause",
        "chat",
        "code",
        "deltas",
        "failure",
        "first_delta_seconds",
        "headers",
        "mode",
        "outcome",
        "request_id",
        "spans",
        "started",
        "status",
        "usage",
    )

    def __init__(self, request_id: str) -> None:
        self.started = time.perf_counter()
        self.request_id = request_id
        # What the answer gets besides its own headers, whoever makes it.
        self.headers = [(b"x-request-id", request_id.encode()), (b"x-content-type-options", b"nosniff")]
        self.status: int | None = None  # None: nothing was answered
        self.caller: str | None = None  # the name of the API key
        self.failure: Failure | None = None
        self.code: int | None = None  # Coze's
        self.cause: str | None = None
        self.spans: RequestSpans | None = None  # where requests are traced
        self.outcome: str | None = None  # how a chat or a download ended: completed, failed, left, unread
        # Of a chat:
        self.mode: str | None = None  # "stream" or "json"
        self.chat: Chat | None = None
        self.deltas = 0
        self.first_delta_seconds: float | None = None  # since the request began
        self.usage: Usage | None = None
        self._logid: str | None = None

    @property
    def logid(self) -> str | None:
        """Coze's id of the exchange, once it has answered."""
        return self._logid or (self.chat.logid if self.chat is not None else None)

    @logid.setter
    def logid(self, logid: str | None) -> None:
        self._logid = logid

    def begin_chat(self, chat: Chat) -> None:
        """From here on it counts as left, until it ends in another way."""
        self.chat = chat
        self.outcome = "left"
        if self.spans is not None:
            self.spans.begin_chat()

    def count(self, events: Sequence[ChatEvent]) -> None:
        """Takes note of what was read of the chat."""
        for event in events:
            if type(event) in _DELTAS:
                if not self.deltas:
                    self.first_delta_seconds = time.perf_counter() - self.started
                self.deltas += 1
            elif isinstance(event, ChatCompletedEvent) and event.usage is not UNSET:
                self.usage = event.usage

    def fail(self, error: ServiceError) -> None:
        self.failure, self.code, self.cause = error.failure, error.code, error.cause
        self.logid = error.logid or self.logid
        if self.outcome is not None:
            self.outcome = "failed"


_current: ContextVar[RequestRecord | None] = ContextVar("request_record", default=None)


def new_request_id() -> str:
    return secrets.token_hex(16)


def record_of(scope: Scope) -> RequestRecord:
    record: RequestRecord = scope["state"][_KEY]
    return record


def current_record() -> RequestRecord | None:
    """The record of the request that this is done for, also once it is over."""
    return _current.get()


def add_request(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """A processor of log lines: the ids of the request that a line belongs to, here, at the tracer and at Coze."""
    record = _current.get()
    if record is not None:
        event["request_id"] = record.request_id
        if record.spans is not None:
            event["trace_id"] = record.spans.trace_id
        if "logid" not in event and (logid := record.logid) is not None:
            event["logid"] = logid
    return event


class RequestLog:
    """ASGI middleware. Takes the caller's `X-Request-ID` if it is short and plain, else makes one."""

    def __init__(self, app: ASGIApp, tracing: "Tracing | None") -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        record = RequestRecord(given.decode() if _PLAIN_ID.fullmatch(given) else new_request_id())
        scope.setdefault("state", {})[_KEY] = record
        if self._tracing is not None:
            record.spans = self._tracing.begin_request(scope, record.request_id)
        before = _current.set(record)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                message["headers"] = [*message.get("headers", ()), *record.headers]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - record.started
            method, route = scope["method"], scope.get("path_template")
            metrics.observe(record, method, route, seconds)
            _log(record, method, route, seconds, scope.get("client"))
            if record.spans is not None:
                record.spans.end(record, method, route)
            _current.reset(before)


def log_refusal(client: tuple[str, int] | None, status: int, cause: str) -> list[tuple[bytes, bytes]]:
    """Logs and counts an answer to what is no request; the headers that it gets besides its own."""
    record = RequestRecord(new_request_id())
    record.status, record.cause = status, cause
    before = _current.set(record)
    metrics.observe(record, "", None, 0)
    _log(record, None, None, 0, client)
    _current.reset(before)
    return record.headers


def _log(
    record: RequestRecord, method: str | None, route: str | None, seconds: float, client: tuple[str, int] | None
) -> None:
    fields = {
        "method": method,
        "route": route,
        "status": record.status,
        "duration_ms": round(seconds * 1000, 2),
        "client": client[0] if client else None,
    }
    if record.first_delta_seconds is not None:
        fields["first_delta_ms"] = round(record.first_delta_seconds * 1000, 2)
        fields["deltas"] = record.deltas
    for name in ("caller", "mode", "outcome", "code", "cause"):
        if (value := getattr(record, name)) is not None:
            fields[name] = value
    log.info("request", **fields)
