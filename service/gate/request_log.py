"""Every request gets an id, and when it is over one line in the log, its figures and its spans."""

import re
import secrets
import time
from typing import TYPE_CHECKING

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from service.http.headers import adding, header
from service.observe import metrics
from service.observe.record import Outcome, RequestRecord, begin_record, current_record, recording

if TYPE_CHECKING:
    from service.observe.tracing import Tracing

log = structlog.get_logger()

_PLAIN_ID = re.compile(rb"[A-Za-z0-9._~-]{1,64}")


def add_request(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """A processor of log lines: the ids of the request that a line belongs to, here, at the tracer and at Coze."""
    record = current_record()
    if record is not None:
        event["request_id"] = record.request_id
        if record.trace_id is not None:
            event["trace_id"] = record.trace_id
        if "logid" not in event and record.logid is not None:
            event["logid"] = record.logid
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
        given = header(scope, b"x-request-id") or b""
        record = begin_record(scope, given.decode() if _PLAIN_ID.fullmatch(given) else secrets.token_hex(16))
        spans = self._tracing.begin_request(scope, record) if self._tracing is not None else None

        async def send_and_note(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, adding(own_headers(record), send_and_note))
        finally:
            record.over = True
            if record.chat_begun:
                # It was not answered, and has not failed.
                record.end(Outcome.LEFT)
            method, route = scope["method"], scope.get("path_template")
            _report(record, method, route, scope.get("client"))
            if spans is not None:
                spans.end(record, method, route)


def report_refusal(status: int, cause: str, client: tuple[str, int] | None) -> list[tuple[bytes, bytes]]:
    """Logs and counts an answer to what is no request; returns the headers that the answer gets besides its own."""
    record = RequestRecord(secrets.token_hex(16), status=status, cause=cause)
    with recording(record):
        _report(record, None, None, client)
    return own_headers(record)


def own_headers(record: RequestRecord) -> list[tuple[bytes, bytes]]:
    """The headers of every answer, whoever makes it."""
    return [(b"x-request-id", record.request_id.encode()), (b"x-content-type-options", b"nosniff")]


def _report(record: RequestRecord, method: str | None, route: str | None, client: tuple[str, int] | None) -> None:
    seconds = time.perf_counter() - record.started
    metrics.observe(record, method, route, seconds)
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
