"""OpenTelemetry traces: a span for each request, for its chat, and for each call to Coze. Imported only if enabled.

Names: https://opentelemetry.io/docs/specs/semconv/http/http-spans/ and /docs/specs/semconv/gen-ai/; others begin with
`coze.`. No text of a message, no query, no address and no id of a person gets into a span.
"""

import logging
import threading
import time
from contextvars import ContextVar
from functools import partial
from urllib.parse import urlsplit

import structlog
from litestar.types import HTTPScope
from msgspec import UNSET
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, format_trace_id, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service.bounds import BOUNDS
from service.contract import METHODS, contract
from service.coze.http import Answer
from service.observe.record import Outcome, RequestRecord, current_record
from service.settings import SettingsError

log = structlog.get_logger()

# Polled by monitors every few seconds.
_UNTRACED = frozenset({"/", "/health", "/metrics"})
# Baggage is not propagated to Coze: it carries whatever a client writes into it.
_W3C = TraceContextTextMapPropagator()


_spans: ContextVar["RequestSpans | None"] = ContextVar("request_spans", default=None)


class Tracing:
    """The tracer of one process. OpenTelemetry's SDK reads its `OTEL_…` variables itself."""

    def __init__(self) -> None:
        """Raises SettingsError if one of the variables is bad."""
        logger = logging.getLogger("opentelemetry")
        logger.handlers[:] = [_Complaints()]
        logger.propagate = False
        try:
            resource = Resource.create({SERVICE_VERSION: contract().version})
            if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
                resource = resource.merge(Resource({SERVICE_NAME: "coze-service"}))
            self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
            self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        except ValueError as error:
            raise SettingsError(f"An OTEL_ variable is bad: {error}") from None
        self._tracer = self._provider.get_tracer("service")

    def begin_request(self, scope: HTTPScope, record: RequestRecord) -> "RequestSpans | None":
        """Starts the spans of a request in the current context. Returns None if it is not traced."""
        _spans.set(None)
        if scope["path"] in _UNTRACED:
            return None
        carrier = {
            name.decode(): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in (b"traceparent", b"tracestate")
        }
        spans = RequestSpans(self._tracer, _W3C.extract(carrier), scope, record)
        record.trace_id = spans.trace_id
        _spans.set(spans)
        return spans

    def begin_call(self, method: str, url: str, headers: dict[str, str]) -> "CallSpan | None":
        """Starts the span of a call to Coze, and adds the trace to `headers`. Returns None if it is not traced."""
        spans, record = _spans.get(), current_record()
        if spans is None or record is None:
            return None
        parts = urlsplit(url)
        span = self._tracer.start_span(
            f"{method} {parts.path}",
            spans.parent_for(record),
            SpanKind.CLIENT,
            {
                "http.request.method": method,
                "server.address": parts.hostname or "",
                "server.port": parts.port or (443 if parts.scheme == "https" else 80),
                "url.full": url,
            },
        )
        _W3C.inject(headers, set_span_in_context(span))
        return CallSpan(span)

    def stop(self) -> None:
        """Exports the last spans. A collector that does not answer cannot delay the exit for long."""
        stopping = threading.Thread(target=self._provider.shutdown, name="traces-stop", daemon=True)
        stopping.start()
        stopping.join(BOUNDS.spans_goodbye_seconds)


class CallSpan:
    """The span of a call to Coze, which ends with the answer or without one."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def answered(self, answer: Answer) -> None:
        self._span.set_attribute("http.response.status_code", answer.status)
        if answer.logid:
            self._span.set_attribute("coze.logid", answer.logid[: BOUNDS.span_id_characters])
        if answer.status >= 400:
            self._fail(str(answer.status))
        self._span.end()

    def unanswered(self, cause: str) -> None:
        self._fail(cause)
        self._span.end()

    def _fail(self, error_type: str) -> None:
        self._span.set_attribute("error.type", error_type)
        self._span.set_status(StatusCode.ERROR)


class RequestSpans:
    """The spans of a request: its own, and that of its chat once there is one.

    The chat of an answer that is kept has a record of its own, and its span ends with the answer.
    """

    def __init__(self, tracer: Tracer, caller: Context, scope: HTTPScope, record: RequestRecord) -> None:
        self._tracer = tracer
        self._record = record
        method = scope["method"] if scope["method"] in METHODS else "_OTHER"
        self._request = tracer.start_span(
            method,
            caller,
            SpanKind.SERVER,
            {"http.request.method": method, "url.scheme": scope["scheme"], "coze.request_id": record.request_id},
        )
        self._chat: Span | None = None
        self.trace_id = format_trace_id(self._request.get_span_context().trace_id)

    def parent_for(self, record: RequestRecord) -> Context:
        """Returns the context for a child span: within the chat once that has begun, else within the request."""
        context = set_span_in_context(self._request, Context())
        if not record.chat_begun:
            return context
        if self._chat is None:
            self._chat = self._tracer.start_span("chat", context, attributes={"gen_ai.operation.name": "chat"})
            if record is not self._record:
                record.end_span = partial(_end_chat, self._chat)
        return set_span_in_context(self._chat, Context())

    def end(self, record: RequestRecord, method: str, route: str | None) -> None:
        """Ends the spans with the facts of the record. A chat that never reached Coze has a span as well."""
        self.parent_for(record)
        if self._chat is not None and record.chat_begun:
            _end_chat(self._chat, record)
        span = self._request
        if route is not None:
            span.update_name(f"{method if method in METHODS else 'HTTP'} {route}")
            span.set_attribute("http.route", route)
        if record.status is not None:
            span.set_attribute("http.response.status_code", record.status)
        if record.status is None or record.status >= 500:
            span.set_attribute("error.type", str(record.status or "no answer"))
            span.set_status(StatusCode.ERROR)
        span.end()


def _end_chat(span: Span, record: RequestRecord) -> None:
    """Ends the span of a chat with the facts of its record."""
    span.set_attribute("coze.mode", record.mode or "")
    span.set_attribute("coze.outcome", record.outcome or "")
    span.set_attribute("coze.deltas", record.deltas)
    for name, text in (
        ("gen_ai.conversation.id", record.conversation_id),
        ("coze.chat_id", record.chat_id),
        ("coze.logid", record.logid),
    ):
        if text is not None:
            span.set_attribute(name, text[: BOUNDS.span_id_characters])
    if record.first_delta_seconds is not None:
        ago = time.perf_counter() - record.started - record.first_delta_seconds
        span.add_event("first delta", timestamp=time.time_ns() - int(ago * 1e9))
        span.set_attribute("coze.time_to_first_delta", record.first_delta_seconds)
    if record.usage is not None:
        for name, tokens in (
            ("gen_ai.usage.input_tokens", record.usage.input_count),
            ("gen_ai.usage.output_tokens", record.usage.output_count),
        ):
            if tokens is not UNSET:
                span.set_attribute(name, tokens)
    if record.outcome is Outcome.FAILED:
        span.set_attribute("error.type", str(record.code or record.cause or "failed"))
        span.set_status(StatusCode.ERROR)
    span.end()


class _Complaints(logging.Handler):
    """Logs OpenTelemetry's warnings, such as a missing collector: one line a minute, without a traceback."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._silent_until = 0.0

    def emit(self, complaint: logging.LogRecord) -> None:
        now = time.monotonic()
        if now < self._silent_until:
            return
        self._silent_until = now + BOUNDS.spans_complaint_seconds
        # Other loggers of it quote values that they cannot parse, such as headers with the collector's key.
        told = complaint.getMessage() if complaint.name.startswith("opentelemetry.exporter.") else str(complaint.msg)
        log.warning("tracing complains", reason=told[:200])
