"""Traces, against a collector that these tests are: one span for each request, its chat and its calls to Coze."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from conftest import Service, Start, Upstream, asking, changed, wait_until
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from scripted_coze import DONE, HEAD, STARTED, ScriptedCoze, chunk

from service import settings

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
TEXT = "a-very-private-sentence"
# Fewer than any id of the sandbox's has.
ID_CHARACTERS = 17
# Spans leave at once, not every five seconds.
AT_ONCE = {"OTEL_BSP_SCHEDULE_DELAY": "50"}


class Collector(ThreadingHTTPServer):
    """Takes OTLP over HTTP. Clients are answered with `status`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.status = 200
        self.calls: list[dict[str, str]] = []
        self.raw = b""
        self.spans: list[Span] = []
        self.resources: list[dict[str, str]] = []

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    def trace(self, request_id: str) -> list[Span]:
        """All spans of the trace that the request belongs to."""
        traces = {span.trace_id for span in self.spans if attributes(span).get("coze.request_id") == request_id}
        return [span for span in self.spans if span.trace_id in traces]


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        collector = self.server
        collector.calls.append({"path": self.path, **dict(self.headers.items())})
        if collector.status == 200:
            collector.raw += body
            for part in ExportTraceServiceRequest.FromString(body).resource_spans:
                collector.resources.append({item.key: item.value.string_value for item in part.resource.attributes})
                for scope in part.scope_spans:
                    collector.spans += scope.spans
        self.send_response(collector.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.server.calls.append({"path": self.path, **dict(self.headers.items())})
        body = b'{"code": 0, "data": {"user_id": "1"}}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    server = Collector()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def traced(start: Start, collector: Collector) -> Service:
    """A service with two workers, so that each has to export by itself."""
    bounds = changed(span_id_characters=ID_CHARACTERS)
    return start(*bounds, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, WORKERS="2", **AT_ONCE)


def attributes(span: Span) -> dict[str, Any]:
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in span.attributes}


def chat(service: Service, request_id: str, *, bot: str | None = None, stream: bool = False, **headers: str) -> None:
    body = {"user_id": TEXT, "messages": [{"role": "user", "content": TEXT}], "stream": stream, "bot_id": bot}
    service.http.post("/api/v1/chat", json=body, headers={"X-Request-ID": request_id, **headers})


def spans_of(collector: Collector, request_id: str, count: int) -> dict[str, Span]:
    wait_until(lambda: len(collector.trace(request_id)) == count)
    return {span.name: span for span in collector.trace(request_id)}


@pytest.mark.parametrize("stream", [True, False])
def test_a_chat(traced: Service, collector: Collector, upstream: Upstream, bots: dict[str, str], stream: bool) -> None:
    upstream.reset()
    name = f"trace-{stream}"
    chat(traced, name, stream=stream, traceparent=f"00-{TRACE}-{PARENT}-01", tracestate="vendor=1", baggage=f"a={TEXT}")
    wait_until(lambda: [span for span in collector.spans if attributes(span).get("coze.request_id") == name])
    server = next(span for span in collector.spans if attributes(span).get("coze.request_id") == name)
    assert (server.name, server.kind) == ("POST /api/v1/chat", Span.SPAN_KIND_SERVER)
    assert (server.trace_id.hex(), server.parent_span_id.hex()) == (TRACE, PARENT)
    facts = attributes(server)
    assert facts["http.route"] == "/api/v1/chat"
    assert (facts["http.request.method"], facts["http.response.status_code"]) == ("POST", 200)

    (talk,) = [span for span in collector.named("chat") if span.parent_span_id == server.span_id]
    (call,) = [span for span in collector.named("POST /v3/chat") if span.parent_span_id == talk.span_id]
    assert {span.trace_id for span in (server, talk, call)} == {server.trace_id}
    (seen,) = upstream.state()["chats"]
    facts = attributes(talk)
    assert facts["coze.chat_id"] == seen["id"][:ID_CHARACTERS]
    assert facts["gen_ai.conversation.id"] == seen["conversation_id"][:ID_CHARACTERS]
    assert facts["coze.logid"] == attributes(call)["coze.logid"]
    assert (facts["coze.outcome"], facts["coze.mode"]) == ("completed", "stream" if stream else "json")
    assert facts["coze.deltas"] > 1
    assert facts["gen_ai.usage.output_tokens"] > 0
    (first,) = talk.events
    assert talk.start_time_unix_nano <= first.time_unix_nano <= talk.end_time_unix_nano
    assert facts["coze.time_to_first_delta"] > 0
    assert (call.kind, attributes(call)["http.response.status_code"]) == (Span.SPAN_KIND_CLIENT, 200)


def test_an_answer_that_outlives_its_request(start: Start, collector: Collector) -> None:
    """Its chat is in the request's trace, and has the facts of the whole answer."""
    request_over = threading.Event()

    def answer(_: bytes) -> Iterator[bytes]:
        delta = b'event:conversation.message.delta\ndata:{"role":"assistant","type":"answer","content":"piece "}\n\n'
        yield HEAD + b"\r\n" + chunk(STARTED + 10 * delta)
        request_over.wait(60)
        yield chunk(10 * delta + DONE) + chunk(b"")

    with ScriptedCoze(answer) as coze:
        service = start(COZE_API_BASE=coze.url, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, **AT_ONCE)
        body = {"user_id": "u", "messages": [{"role": "user", "content": "x"}]}
        kept = {**body, "stream": True, "on_disconnect": "continue"}
        with asking(service.address, kept, **{"X-Request-ID": "outlived"}):
            wait_until(lambda: coze.requests)
        wait_until(lambda: collector.trace("outlived"))
        request_over.set()
        spans = spans_of(collector, "outlived", 3)
    server, talk, call = spans["POST /api/v1/chat"], spans["chat"], spans["POST /v3/chat"]
    assert (talk.parent_span_id, call.parent_span_id) == (server.span_id, talk.span_id)
    assert talk.end_time_unix_nano > server.end_time_unix_nano
    facts = attributes(talk)
    assert (facts["coze.outcome"], facts["coze.mode"], facts["coze.deltas"]) == ("completed", "stream", 20)


def test_coze_gets_the_trace_and_nothing_else_of_its_caller(start: Start, collector: Collector) -> None:
    """Here the collector stands in Coze's place, too, as it keeps the headers of what it is asked. The spans are those
    that are still on hand at a stop.
    """
    endpoint = f"{collector.url}/own"
    service = start(
        COZE_API_BASE=collector.url,
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=endpoint,
        OTEL_SERVICE_NAME="mine",
        OTEL_BSP_SCHEDULE_DELAY="600000",
    )
    trace = TRACE[::-1]
    sent = {"traceparent": f"00-{trace}-{PARENT}-01", "tracestate": "vendor=1", "baggage": f"a={TEXT}"}
    assert service.http.get("/api/v1/user/info?a=" + TEXT, headers=sent).status_code == 200
    assert service.stop() == 0
    assert (collector.calls[-1]["path"], collector.resources[-1]["service.name"]) == ("/own", "mine")
    (call,) = [span for span in collector.named("GET /v1/users/me") if span.trace_id.hex() == trace]
    (headers,) = [headers for headers in collector.calls if headers["path"] == "/v1/users/me"]
    assert headers["traceparent"] == f"00-{trace}-{call.span_id.hex()}-01"
    assert headers["tracestate"] == "vendor=1"
    assert "baggage" not in headers
    assert "a=" not in attributes(call)["url.full"]


def test_a_context_that_is_none_begins_a_trace_of_its_own(traced: Service, collector: Collector) -> None:
    for name, value in (("odd-1", "nonsense"), ("odd-2", f"00-{'0' * 32}-{PARENT}-01"), ("odd-3", "00-" + "f" * 9000)):
        chat(traced, name, traceparent=value, tracestate="=;" * 100)
        spans = spans_of(collector, name, 3)
        assert spans["POST /api/v1/chat"].parent_span_id == b""


def test_failures_are_marked(traced: Service, collector: Collector, bots: dict[str, str]) -> None:
    chat(traced, "fails", bot=bots["failed-midway-4028"], stream=True)
    facts = attributes(spans_of(collector, "fails", 3)["chat"])
    assert (facts["coze.outcome"], facts["error.type"]) == ("failed", "4028")
    chat(traced, "refused", bot="1")
    spans = spans_of(collector, "refused", 3)
    assert spans["chat"].status.code == Status.STATUS_CODE_ERROR
    # The client's own fault is no error of the server's.
    assert spans["POST /api/v1/chat"].status.code == Status.STATUS_CODE_UNSET
    assert attributes(spans["POST /api/v1/chat"])["http.response.status_code"] == 404


def test_the_cancelling_of_a_chat_belongs_to_it(
    traced: Service, collector: Collector, upstream: Upstream, bots: dict[str, str]
) -> None:
    upstream.reset()
    body = {"user_id": "u", "messages": [{"role": "user", "content": "x"}], "bot_id": bots["for-ever"]}
    with asking(traced.address, body, **{"X-Request-ID": "gone"}):
        wait_until(lambda: upstream.state()["chats"])
    spans = spans_of(collector, "gone", 4)
    assert attributes(spans["chat"])["coze.outcome"] == "left"
    assert spans["POST /v3/chat/cancel"].parent_span_id == spans["chat"].span_id
    wait_until(lambda: [line for line in traced.lines() if line["event"] == "chat cancelled"])
    (line,) = [line for line in traced.lines() if line["event"] == "chat cancelled"]
    assert line["request_id"] == "gone"
    assert line["trace_id"] == spans["chat"].trace_id.hex()
    assert line["logid"][:ID_CHARACTERS] == attributes(spans["chat"])["coze.logid"]


def test_what_is_traced_and_what_is_said_of_it(traced: Service, collector: Collector) -> None:
    for path in ("/", "/health", "/metrics", f"/{TEXT}"):
        traced.http.get(path)
    wait_until(lambda: collector.named("GET"))  # an unknown path has no other name
    assert not [span for span in collector.spans if attributes(span).get("http.route") in ("/", "/health", "/metrics")]
    assert TEXT.encode() not in collector.raw
    assert b"pat_test" not in collector.raw
    assert {resource["service.name"] for resource in collector.resources} >= {"coze-service"}


def test_a_collector_that_is_away_costs_a_line_and_nothing_else(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        # It takes connections, and never answers.
        endpoint = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        service = start(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_EXPORTER_OTLP_TIMEOUT="0.2", **AT_ONCE)
        for number in range(5):
            chat(service, f"alone-{number}")
            count = number + 1
            wait_until(lambda: [line["event"] for line in service.lines()].count("request") == count)  # noqa: B023
        wait_until(lambda: [line for line in service.lines() if line["event"] == "tracing complains"])
        assert service.stop() == 0
    assert len([line for line in service.lines() if line["event"] == "tracing complains"]) == 1
    assert "Traceback" not in service.output()


def test_a_stop_does_not_wait_for_it(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        endpoint = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        service = start(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_EXPORTER_OTLP_TIMEOUT="3600")
        chat(service, "held")
        assert service.stop() == 0


@pytest.mark.parametrize("off", [{}, {"OTEL_TRACES_EXPORTER": "none"}, {"OTEL_SDK_DISABLED": "true"}])
def test_off(monkeypatch: pytest.MonkeyPatch, off: dict[str, str]) -> None:
    chosen = settings.read(
        {"COZE_API_TOKEN": "pat_test", **({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"} if off else {}), **off}
    )
    assert not chosen.tracing


def test_nothing_of_opentelemetry_is_loaded_without_a_collector(service: Service) -> None:
    maps = Path(f"/proc/{service.process.pid}/maps").read_text()
    assert "msgspec" in maps
    assert "/google/_upb/" not in maps  # protobuf, which only the exporter needs
