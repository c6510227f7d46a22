"""What every answer has, whatever the path: the envelope, the id, CORS; and input that is hardly HTTP."""

import contextlib
import gzip
import json
import re
import socket
from collections.abc import Iterator
from http.client import HTTPResponse

import httpx
import psutil
import pytest
from conftest import BOT, Service, Start, Upstream, changed, running_service, wait_until
from envelope import assert_envelope, assert_error, code_of
from operations import Operation, each_operation, operations

ORIGIN = {"Origin": "https://shop.example"}
PATHS = sorted({operation.nowhere for operation in operations()})
PAGES = [
    *("/docs", "/docs/assets/docs.js", "/docs/contract.zh.json", "/docs/scalar.js", "/openapi.yaml", "/openapi.json"),
    *("/playground", "/playground/assets/playground.js", "/markdown/assets/growing.js", "/widget.js"),
]


def exchange(service: Service, request: bytes, *, keep_open: bool = False) -> bytes:
    """Sends bytes as they are; what comes back until the server closes."""
    with socket.create_connection(service.address, timeout=30) as connection:
        connection.sendall(request)
        if not keep_open:
            connection.shutdown(socket.SHUT_WR)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
        return received


@pytest.mark.parametrize("path", ["/nowhere", "/api/v1", "/api/v1/chat/1", "/%ff", "/docs/assets/none.js", "/.env"])
def test_unknown_paths(service: Service, path: str) -> None:
    assert_error(service.http.get(path, headers=ORIGIN), 404)


@pytest.mark.parametrize("path", [*PATHS, *PAGES, "/docs/", "/nowhere", "/docs/assets/none"])
def test_head_is_get_without_the_body(service: Service, path: str) -> None:
    varying = ("date", "x-request-id", "last-modified")
    headers = ORIGIN | {"Accept-Encoding": "identity"}
    get, head = (service.http.request(method, path, headers=headers) for method in ("GET", "HEAD"))
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert int(get.headers.get("content-length", 0)) == len(get.content)
    left, right = ({k: v for k, v in answer.headers.items() if k not in varying} for answer in (get, head))
    assert left == right


def test_head_of_figures(service: Service) -> None:
    answer = service.http.head("/metrics")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/plain")


# What somebody may write behind any address; each is a path that leads nowhere, or a query that nobody reads.
ODD = [
    *("%00", "/%00", "/" + "x" * 300, "/" + "x" * 5000, "/" + "a/" * 500, "/%ff%fe", "/%e2%80%ae", "/%0d%0aX:%20y"),
    *("/..%2f..%2f", "/%5c..%5c", "/%", "/%zz", "/:", "/*", "/{link}", "/~", "/%7f", ";a=b", "//", "?", "?%00"),
    *("?user_id=%ff", "?user_id=a&user_id=b", "?a[b]=c&&==&;", "?" + "a=1&" * 2000),
]


@pytest.mark.parametrize("path", [*PATHS, *PAGES, "/metrics", "/playground/assets"])
def test_no_address_is_a_bug(service: Service, path: str) -> None:
    """Nor one to be logged; whatever is refused is refused in the form of its path."""
    for odd in ODD:
        request = f"GET {path}{odd} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        received = exchange(service, request, keep_open=True)
        head, _, body = received.partition(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        assert status < 500, odd
        if status >= 400:
            answer = json.loads(body)
            assert code_of(answer), odd
            assert answer.get("success", False) is False, odd
    assert not [line for line in service.lines() if line["event"] == "bug"]


ODD_HEADERS = [
    *(b"Accept: \xff;q=abc", b"Accept: application/openmetrics-text; version=9; escaping=x; q=-1", b"Accept: ;;,,"),
    *(b"Cookie: \xff=\xfe; ;;=", b"Cookie: " + b"a=b;" * 3000, b"Origin: \xff", b"Origin: " + b"x" * 5000),
    *(b"Content-Type: \xff", b"Content-Type: ;;;===", b'Content-Type: application/json; charset="'),
    *(b"Content-Type: application/json; charset=x-nobody-s", b"Content-Type: application/json;" + b'a="' * 9000),
    *(b'Content-Type: multipart/form-data; boundary="\\', b"Content-Type: multipart/form-data; boundary=\xff"),
    *(
        b"Content-Type: multipart/form-data; boundary=" + b"b" * 5000,
        b"Content-Type: multipart/form-data;" + b'a="' * 9000,
    ),
    *(b"Range: bytes=" + b"9" * 5000 + b"-", b"Range: bytes=\xff", b"If-None-Match: \xff", b"If-Range: \xff"),
    *(b"Authorization: \xff", b"Authorization: Bearer " + b"x" * 9000, b"X-Request-ID: \xff", b"Traceparent: 00-x"),
    *(b"X-Forwarded-For: \xff", b"Forwarded: for=\xff;;", b"Expect: \xff", b"Connection: \xff", b"Referer: \xff"),
    *(b"Access-Control-Request-Method: \xff", b"Access-Control-Request-Headers: \xff,,;", b"Last-Event-ID: \xff"),
]


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
@pytest.mark.parametrize("path", ["/api/v1/chat", "/api/v1/upload", "/api/v1/files/1", "/docs", "/metrics"])
def test_no_header_is_a_bug(service: Service, method: str, path: str) -> None:
    for odd in ODD_HEADERS:
        start = f"{method} {path} HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\nConnection: close\r\n".encode()
        received = exchange(service, start + b"Content-Length: 2\r\n" + odd + b"\r\n\r\n{}", keep_open=True)
        assert int(received.split(b" ", 2)[1]) < 500, odd
    assert not [line for line in service.lines() if line["event"] == "bug"]


@pytest.mark.parametrize("path", ["/docs/assets/../../../../etc/passwd", "/docs/assets/%2e%2e/%2e%2e/settings.py"])
def test_no_way_out_of_the_assets(service: Service, path: str) -> None:
    received = exchange(service, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert received.split(b" ", 2)[1] == b"404"


@pytest.mark.parametrize("path", PATHS)
def test_wrong_methods(service: Service, path: str) -> None:
    right = {operation.method for operation in operations() if operation.nowhere == path}
    for method in {"GET", "POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND"} - right:
        answer = service.http.request(method, path, headers=ORIGIN)
        assert_error(answer, 405)
        assert right <= set(answer.headers["allow"].split(", "))


@each_operation()
def test_every_answer_can_be_read_by_a_browser(service: Service, operation: Operation) -> None:
    answer = operation.call(service.http, headers=ORIGIN)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers
    exposed = answer.headers["access-control-expose-headers"].lower()
    assert {"x-request-id", "retry-after", "ratelimit", "ratelimit-policy"} <= set(exposed.split(", "))


def test_a_streamed_answer_can_be_read_by_a_browser(service: Service) -> None:
    body = {"user_id": "u", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    answer = service.http.post("/api/v1/chat", json=body, headers=ORIGIN)
    assert answer.headers["access-control-allow-origin"] == "*"


@each_operation()
def test_preflight(service: Service, operation: Operation) -> None:
    headers = {
        **ORIGIN,
        "Access-Control-Request-Method": operation.method,
        "Access-Control-Request-Headers": "content-type, x-request-id",
    }
    answer = service.http.options(operation.nowhere, headers=headers)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "*"
    assert operation.method in answer.headers["access-control-allow-methods"]
    allowed = answer.headers["access-control-allow-headers"].lower().split(", ")
    assert {"content-type", "x-request-id"} <= set(allowed)


def test_a_preflight_that_is_refused(service: Service) -> None:
    answer = service.http.options("/api/v1/chat", headers={**ORIGIN, "Access-Control-Request-Method": "TRACE"})
    assert assert_error(answer, 400) == "This method may not be called from a browser."


def test_request_id(service: Service) -> None:
    made = [service.http.get(path).headers["x-request-id"] for path in ("/", "/", "/nowhere")]
    assert len(set(made)) == 3
    assert all(re.fullmatch(r"[0-9a-f]{32}", value) for value in made)
    assert service.http.get("/", headers={"X-Request-ID": "Abc-1.2_3~"}).headers["x-request-id"] == "Abc-1.2_3~"
    for bad in (b"x" * 65, b"a b", b"a\tb", "é".encode(), b"<script>"):
        answer = service.http.get("/", headers={b"X-Request-ID": bad})
        assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nBad Header: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /api/v1/chat HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=lambda request: repr(request[:50]),
)
def test_what_is_hardly_http(service: Service, request_bytes: bytes) -> None:
    received = exchange(service, request_bytes)
    if received:
        head, _, body = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 4"), head
        assert_envelope(json.loads(body), "")
    assert service.http.get("/").status_code == 200


def test_large_headers_are_taken_and_huge_ones_refused(service: Service) -> None:
    assert service.http.get("/", headers={"X-Large": "x" * 32_000}).status_code == 200
    start = b"GET / HTTP/1.1\r\nHost: x\r\n"
    huge = (start + b"X-Large: " + b"x" * 200_000, start + b"X: y\r\n" * 50_000, b"GET /" + b"x" * 200_000)
    for request in huge:
        # A client that still sends when the connection is closed may not get to see why.
        with contextlib.suppress(OSError):
            assert b" 400 " in exchange(service, request).split(b"\r\n")[0]
    assert service.http.get("/").status_code == 200


def test_headers_without_end_cost_no_memory(service: Service) -> None:
    process = psutil.Process(service.process.pid)
    before = process.memory_info().rss
    for _ in range(5):
        with socket.create_connection(service.address, timeout=30) as connection, contextlib.suppress(OSError):
            connection.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 50_000_000)
    assert process.memory_info().rss - before < 8 * 1024 * 1024


def test_several_requests_in_one_write_are_answered_in_turn(service: Service) -> None:
    one = b"GET /api/v1/config HTTP/1.1\r\nHost: x\r\nX-Request-ID: %d\r\n\r\n"
    last = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    received = exchange(service, b"".join(one % number for number in range(200)) + last, keep_open=True)
    assert [int(found) for found in re.findall(rb"x-request-id: (\d+)\r", received)] == list(range(200))


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_a_compressed_body_is_not_unpacked(service: Service, encoding: str) -> None:
    bomb = gzip.compress(b" " * 100_000_000)
    headers = {"content-type": "application/json", "content-encoding": encoding}
    assert_error(service.http.post("/api/v1/chat", content=bomb, headers=headers), 400)


def test_websockets_are_not_served(service: Service) -> None:
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "x"}
    assert service.http.get("/api/v1/chat", headers=headers).status_code == 405


def test_a_client_that_stops_sending_is_told_so(start: Start) -> None:
    service = start(REQUEST_BODY_TIMEOUT="0.3")
    with socket.create_connection(service.address, timeout=30) as connection:
        connection.sendall(
            b"POST /api/v1/chat HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
        assert b" 400 " in connection.recv(65536).split(b"\r\n")[0]


def test_bodies_larger_than_any_head(service: Service) -> None:
    for size in (60_000, 65_000, 70_000, 130_000, 200_000, 1_000_000):
        assert service.chat("x" * size).status_code == 200
    with httpx.Client(base_url=service.url, timeout=60) as kept_open:
        for size in (1, 70_000, 1, 200_000):
            body = {"user_id": "u", "messages": [{"role": "user", "content": "x" * size}]}
            assert kept_open.post("/api/v1/chat", json=body).status_code == 200


# As Java's HttpClient and `curl --http2` send it. A blank line before the request keeps the header in what is parsed.
UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"
CHAT = b"POST /api/v1/chat HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize("before", [b"", b"\r\n\r\n"], ids=["taken-out", "parsed"])
def test_a_body_is_never_taken_for_a_request(service: Service, before: bytes) -> None:
    """Nor is what the parser leaves over: an upgrade that it has seen ends the connection."""
    smuggled = b"GET /api/v1/config HTTP/1.1\r\nHost: x\r\n\r\n"
    upgrade = b"Connection: Upgrade, close\r\nUpgrade: h2c\r\nContent-Length: %d\r\n\r\n" % len(smuggled)
    received = exchange(service, before + CHAT + upgrade + smuggled, keep_open=True)
    assert received.count(b"HTTP/1.1 ") == 1
    assert b"features" not in received


@pytest.mark.parametrize("together", [True, False])
def test_an_upgrade_that_is_not_served_is_ignored(service: Service, together: bool) -> None:
    """What looks like the header stays where it stands in a body: without it, that would end too soon."""
    good = b'{"user_id": "u", "messages": [{"role": "user", "content": "Hello"}]}'
    broken = good.replace(b" ", b"\r\nUpgrade: h2c\r\n", 1)
    with socket.create_connection(service.address, timeout=30) as connection:
        for content, status in ((good, 200), (broken, 400), (good, 200)):
            head = CHAT + UPGRADE + b"Content-Length: %d\r\n\r\n" % len(content)
            if together:
                connection.sendall(head + content)
            else:
                connection.sendall(head + content[:10])
                service.http.get("/")  # by then the first part has been read
                connection.sendall(content[10:])
            answer = HTTPResponse(connection)
            answer.begin()
            assert answer.status == status
            body = json.loads(answer.read())
            if status == 200:
                assert body["success"] is True
            else:
                assert_envelope(body, "/api/v1/chat")


def test_garbage_in_place_of_a_body_is_refused(service: Service) -> None:
    request = CHAT + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n"
    assert exchange(service, request, keep_open=True).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("stream", [True, False])
def test_nothing_is_written_into_an_answer(
    service: Service, upstream: Upstream, bots: dict[str, str], stream: bool
) -> None:
    """Garbage behind a request ends the connection: an answer to it would be taken for that to the request."""
    chat = {"user_id": "u", "stream": stream, "bot_id": bots["for-ever"]}
    content = json.dumps({**chat, "messages": [{"role": "user", "content": "Hello"}]}).encode()
    with socket.create_connection(service.address, timeout=30) as connection:
        connection.sendall(CHAT + b"Content-Length: %d\r\n\r\n%b" % (len(content), content))
        received = connection.recv(1000) if stream else b""
        connection.sendall(b"\0garbage\r\n\r\n")
        while chunk := connection.recv(65536):
            received += chunk
    assert received.count(b"HTTP/1.1 ") == stream
    # The next test may count what Coze is asked.
    wait_until(lambda: all(chat["cancel_calls"] for chat in upstream.state(1)["chats"]))


@pytest.fixture(scope="module")
def impatient(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose clients have half a second for a request's headers."""
    arguments = changed(request_head_seconds=0.5)
    env = {"COZE_API_TOKEN": "pat_test", "COZE_API_BASE": upstream.url, "COZE_BOT_ID": BOT}
    with running_service(tmp_path_factory.mktemp("impatient"), *arguments, **env) as running:
        yield running


@pytest.mark.parametrize("before", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"], ids=["new", "used"])
@pytest.mark.parametrize("sent", [b"\r\n", b"\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x"])
def test_a_request_that_does_not_come_ends_the_connection(impatient: Service, before: bytes, sent: bytes) -> None:
    """Silently, if none was begun."""
    with socket.create_connection(impatient.address, timeout=30) as connection:
        if before:
            connection.sendall(before)
            answer = HTTPResponse(connection)
            answer.begin()
            answer.read()
        connection.sendall(sent)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    assert received.startswith(b"HTTP/1.1 400 ") if sent.strip() else not received


def test_an_answer_may_take_its_time(start: Start, bots: dict[str, str]) -> None:
    """Whatever of the next request comes while it is on its way. It takes longer than a request's headers may."""
    service = start(*changed(request_head_seconds=2))
    chat = {"user_id": "u", "stream": True, "bot_id": bots["load"]}
    content = json.dumps({**chat, "messages": [{"role": "user", "content": "n=25 d=0.1"}]}).encode()
    with socket.create_connection(service.address, timeout=30) as connection:
        connection.sendall(CHAT + b"Content-Length: %d\r\n\r\n%b" % (len(content), content))
        received = connection.recv(1000)
        connection.sendall(b"\r\n")
        connection.sendall(b"GET /api/v1/config HTT")
        while not received.endswith(b"\r\n0\r\n\r\n"):
            chunk = connection.recv(65536)
            assert chunk, received
            received += chunk
        connection.sendall(b"P/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = HTTPResponse(connection)
        answer.begin()
        assert answer.status == 200
