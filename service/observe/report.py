"""The report of a request that is over: one line in the log, and its figures."""

import secrets
import time
from typing import Any

import structlog

from service.observe import metrics
from service.observe.record import RequestRecord, recording

log = structlog.get_logger()


def report(record: RequestRecord, method: str | None, route: str | None, client: tuple[str, int] | None) -> None:
    """Logs and counts the request of `record`. `route` is its template in the contract, `client` its address."""
    seconds = time.perf_counter() - record.started
    metrics.observe(record, method, route, seconds)
    fields = {
        "method": method,
        "route": route,
        "status": record.status,
        "duration_ms": round(seconds * 1000, 2),
        "client": client[0] if client else None,
    }
    log.info("request", **fields, **_chat_fields(record))


def _chat_fields(record: RequestRecord) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if record.first_delta_seconds is not None:
        fields["first_delta_ms"] = round(record.first_delta_seconds * 1000, 2)
        fields["deltas"] = record.deltas
    for name in ("caller", "mode", "outcome", "code", "cause"):
        if (value := getattr(record, name)) is not None:
            fields[name] = value
    return fields


def report_answer(record: RequestRecord) -> None:
    """Logs, counts and traces a kept answer that is over. It may have outlived the request of its question."""
    metrics.observe_chat(record)
    if record.end_span is not None:
        record.end_span(record)
    with recording(record):
        log.info("answer", duration_ms=round((time.perf_counter() - record.started) * 1000, 2), **_chat_fields(record))


def report_refusal(status: int, cause: str, client: tuple[str, int] | None) -> str:
    """Logs and counts an answer to bytes that are no request. Returns the id by which the log knows it."""
    record = RequestRecord(secrets.token_hex(16), status=status, cause=cause)
    with recording(record):
        report(record, None, None, client)
    return record.request_id
