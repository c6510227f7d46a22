"""HTTP as strangers speak it: every part of a request has a bound, and what is held for a client is little."""

import contextlib
import json
import re
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPResponse
from typing import Any

import psutil
import pytest
from conftest import BOT, Service, Start, Upstream, changed, events_of, http, running_service, wait_until
from envelope import assert_envelope, assert_error

from service.bounds import BOUNDS

MIB = 1024 * 1024
CHAT = b"POST /api/v1/chat HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
UPLOAD = b"POST /api/v1/upload HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
FORM = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nhello\r\n--b--\r\n'
CHUNKED = b"Transfer-Encoding: chunked\r\n"
LAST = b"Connection: close\r\n"
# As large as a file that everybody may ask for.
LARGE = "/docs/scalar.js"


def connect(service: Service, *, window: int | None = None) -> socket.socket:
    """A connection, with a receive buffer of `window` bytes if the system is not to choose."""
    connection = socket.socket()
    connection.settimeout(30)
    if window:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    connection.connect(service.address)
    return connection


def received(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    answer = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            answer += part
    return answer


def exchange(service: Service, request: bytes) -> bytes:
    with connect(service) as connection:
        connection.sendall(request)
        return received(connection)


def answer_on(connection: socket.socket, method: str = "GET") -> tuple[HTTPResponse, bytes]:
    answer = HTTPResponse(connection, method=method)
    answer.begin()
    return answer, answer.read()


def question(content: str = "Hello", **fields: Any) -> bytes:
    return json.dumps({"user_id": "u", "messages": [{"role": "user", "content": content}], **fields}).encode()


def with_length(head: bytes, body: bytes) -> bytes:
    return head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def chunk(part: bytes, extension: bytes = b"") -> bytes:
    return b"%x%b\r\n%b\r\n" % (len(part), extension, part)


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


# What has no bound is sent until it is refused; so much is never taken.
FLOOD = 40 * MIB


@pytest.mark.parametrize(
    ("before", "again"),
    [
        (b"GET /", b"x" * 1000),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", b"a:b\r\n" * 1000),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: ", b"x" * 1000),
        (b"", b"\r\n" * 1000),
        (CHAT + CHUNKED + b"\r\n1;", b"x" * 1000),
        (CHAT + CHUNKED + b"\r\n" + chunk(b"{") + b"0;", b"a=b;" * 1000),
        (CHAT + CHUNKED + b"\r\n", chunk(b" ", b";" + b"x" * 1000)),
        (CHAT + CHUNKED + b"\r\n", b"0" * 1000),
        (CHAT + CHUNKED + b"\r\n0\r\n", b"a:b\r\n" * 1000),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + CHUNKED + b"\r\n0\r\nX: ", b"x" * 1000),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + CHUNKED + b"\r\n", chunk(b" ", b";" + b"x" * 1000)),
    ],
    ids=[
        *("request line", "headers", "header", "blank lines", "extension", "extensions of a chunk"),
        *("extensions of chunks", "size", "trailers", "trailer", "extensions nobody reads"),
    ],
)
def test_nothing_comes_without_end(service: Service, before: bytes, again: bytes) -> None:
    process = psutil.Process(service.process.pid)
    memory = process.memory_info().rss
    sent = 0
    with connect(service) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(before)
        block = again * (MIB // len(again))
        while sent < FLOOD:
            connection.sendall(block)
            sent += len(block)
    assert sent < FLOOD
    assert process.memory_info().rss - memory < 8 * MIB
    assert service.http.get("/").status_code == 200


def test_more_headers_than_anybody_has_are_refused(service: Service) -> None:
    for count, status in ((900, 200), (1100, 400)):
        head = b"GET / HTTP/1.1\r\nHost: x\r\n" + LAST + b"".join(b"X-%d: y\r\n" % number for number in range(count))
        assert status_of(exchange(service, head + b"\r\n")) == status


def test_a_trailer_is_no_header(service: Service) -> None:
    """Neither of its own request nor of the next one."""
    body = chunk(question()) + b"0\r\nX-Request-ID: trailer\r\nContent-Type: text/plain\r\n\r\n"
    with connect(service) as connection:
        for _ in range(2):
            connection.sendall(CHAT + CHUNKED + b"\r\n" + body)
            answer, content = answer_on(connection)
            assert answer.status == 200, content
            assert answer.headers["x-request-id"] != "trailer"


def test_a_body_in_the_smallest_chunks_is_taken(service: Service) -> None:
    body = question("x" * 100_000)
    chunks = b"".join(chunk(body[at : at + 1]) for at in range(len(body)))
    assert status_of(exchange(service, CHAT + CHUNKED + LAST + b"\r\n" + chunks + b"0\r\n\r\n")) == 200


@pytest.mark.parametrize("path", ["chat", "upload"])
def test_what_breaks_a_body_is_the_requests_fault(service: Service, path: str) -> None:
    """Told by its own answer: with its id, in the form that its address has."""
    head = CHAT if path == "chat" else UPLOAD
    answer = exchange(service, head + CHUNKED + b"X-Request-ID: broken-%b\r\n\r\n" % path.encode() + b"1\r\nxx\r\n")
    top, _, body = answer.partition(b"\r\n\r\n")
    assert status_of(top) == 400
    assert b"x-request-id: broken-%b\r\n" % path.encode() in top + b"\r\n"
    assert assert_envelope(json.loads(body), f"/api/v1/{path}") == "Invalid HTTP request received."


def test_requests_with_bodies_in_one_write_are_answered_in_turn(service: Service) -> None:
    requests = []
    for number in range(20):
        head = CHAT + b"X-Request-ID: n%d\r\n" % number
        body = question("x" * (100 * number + 1))
        requests += [with_length(head, body), head + CHUNKED + b"\r\n" + chunk(body) + b"0\r\n\r\n"]
    answer = exchange(service, b"".join(requests) + b"GET / HTTP/1.1\r\nHost: x\r\n" + LAST + b"\r\n")
    assert [int(found) for found in re.findall(rb"x-request-id: n(\d+)\r", answer)] == [n // 2 for n in range(40)]
    assert answer.count(b"HTTP/1.1 200 ") == 41


def test_requests_behind_an_answer_that_is_not_read_take_what_they_are(service: Service) -> None:
    process = psutil.Process(service.process.pid)
    service.http.get(LARGE, headers={"Accept-Encoding": "identity"})
    memory = process.memory_info().rss
    large = f"GET {LARGE} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 4
    with ExitStack() as stack:
        for _ in range(10):
            connection = stack.enter_context(connect(service, window=2048))
            connection.sendall(large)
            time.sleep(0.05)
            connection.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                connection.send(b"GET / HTTP/1.1\r\nHost:\r\n\r\n" * 10_000)
        assert service.http.get("/").status_code == 200
        # Of the file that is being written there is one copy each.
        assert process.memory_info().rss - memory < 10 * 2 * MIB


@pytest.mark.parametrize(
    "more",
    [with_length(CHAT, question("x" * 300_000)), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 5000],
    ids=["one", "many"],
)
def test_too_much_behind_a_request_makes_its_answer_the_last(
    service: Service, bots: dict[str, str], more: bytes
) -> None:
    answer = exchange(service, with_length(CHAT, question("n=3 d=0.2", bot_id=bots["load"])) + more)
    assert answer.count(b"HTTP/1.1 ") == answer.count(b"HTTP/1.1 200 ") == 1
    assert b"connection: close\r\n" in answer


# Which parts of a request's head make it unfit, or not.
LENGTH = b"POST /api/v1/chat HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n"
BODY = question()


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: " + b"0" * 5000 + b"%d" % len(BODY),
        b"Content-Length: " + b"9" * 5000,
        b"Content-Length: +%d" % len(BODY),
        b"Content-Length: -%d" % len(BODY),
        b"Content-Length: %d %d" % (len(BODY), len(BODY)),
        b"Content-Length: %d, %d" % (len(BODY), len(BODY)),
        b"Content-Length: 0x%x" % len(BODY),
        b"Content-Length: 1_0",
        b"Content-Length: \xb2",
        b"Content-Length:",
        b"Content-Length: %d\r\nContent-Length: %d" % (len(BODY), len(BODY)),
        b"Content-Length: %d\r\nContent-Length: 1" % len(BODY),
        b"Content-Length: %d\r\nTransfer-Encoding: chunked" % len(BODY),
        b"Transfer-Encoding: chunked\r\nContent-Length: %d" % len(BODY),
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked, gzip",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding : chunked",
        b"X: folded\r\n line",
        b" X: folded",
    ],
    ids=lambda lines: repr(lines[:60]),
)
def test_no_length_that_is_none(service: Service, lines: bytes) -> None:
    """A 400 and the end, whatever follows: what is a body to one must not be a request to another."""
    logged = len(service.lines())
    body = chunk(BODY) + b"0\r\n\r\n" if lines.startswith(b"Transfer-Encoding: ") else BODY
    answer = exchange(service, LENGTH + lines + b"\r\n\r\n" + body)
    assert status_of(answer) in (400, 413), answer
    assert answer.count(b"HTTP/1.1 ") == 1
    assert_envelope(json.loads(answer.partition(b"\r\n\r\n")[2]), "")
    assert not [line for line in service.lines()[logged:] if line["level"] == "error"]


@pytest.mark.parametrize("blanks", [b"  %d", b"%d  ", b"\t%d\t", b"00%d"])
def test_a_length_with_blanks_or_noughts_around_it(service: Service, blanks: bytes) -> None:
    answer = exchange(service, LENGTH + b"Content-Length: " + blanks % len(BODY) + b"\r\n\r\n" + BODY)
    assert status_of(answer) == 200, answer


@pytest.mark.parametrize(
    ("version", "hosts", "status"),
    [
        (b"1.1", [], 400),
        (b"1.1", [b"x", b"x"], 400),
        (b"1.1", [b"a b"], 400),
        (b"1.1", [b"a, b"], 400),
        (b"1.1", [b"http://x"], 400),
        (b"1.1", [b"x/"], 400),
        (b"1.1", [b"u@x"], 400),
        (b"1.1", [b"x:port"], 400),
        (b"1.1", [b"[::1"], 400),
        (b"1.0", [b"x", b"y"], 400),
        (b"1.1", [b"x"], 200),
        (b"1.1", [b""], 200),
        (b"1.1", [b"shop.example:2026"], 200),
        (b"1.1", [b"[::1]:2026"], 200),
        (b"1.1", [b"xn--fiq228c.example"], 200),
        (b"1.0", [], 200),
    ],
)
def test_a_request_has_one_host(service: Service, version: bytes, hosts: list[bytes], status: int) -> None:
    head = b"GET /health HTTP/%b\r\n" % version + LAST + b"".join(b"Host: %b\r\n" % host for host in hosts)
    answer = exchange(service, head + b"\r\n")
    assert status_of(answer) == status, answer


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET http://shop.example HTTP/1.1", 200),
        (b"GET http://shop.example/health HTTP/1.1", 200),
        (b"GET /health?a=b?c#d HTTP/1.1", 200),
        (b"OPTIONS * HTTP/1.1", 404),
        (b"GET * HTTP/1.1", 404),
        (b"CONNECT shop.example:443 HTTP/1.1", 400),
        (b"CONNECT / HTTP/1.1", 400),
        (b"GET / HTTP/2.0", 400),
        (b"GET / HTTP/0.9", 400),
        (b"GET /", 400),
        (b"PRI * HTTP/2.0", 400),
        (b"GET / HTTP/1.2", 400),
        (b"GET ? HTTP/1.1", 400),
        (b"GET /\x01 HTTP/1.1", 400),
        (b"GET http:// HTTP/1.1", 400),
        (b"GET http://[::1/ HTTP/1.1", 400),
    ],
)
def test_what_may_be_asked_for(service: Service, line: bytes, status: int) -> None:
    answer = exchange(service, line + b"\r\nHost: x\r\n" + LAST + b"\r\n")
    assert status_of(answer) == status, answer


def test_the_host_in_the_request_line_counts(service: Service) -> None:
    head = UPLOAD.replace(b"POST /", b"POST http://u:p@shop.example:81/") + LAST
    answer = json.loads(exchange(service, with_length(head, FORM)).partition(b"\r\n\r\n")[2])
    assert answer["file_url"].startswith("http://shop.example:81/api/v1/files/")


def test_a_refusal_is_logged_and_counted(service: Service) -> None:
    def counted() -> float:
        pattern = r'coze_service_requests_total\{method="other",route="none",status="400"\} (\S+)'
        found = re.search(pattern, service.http.get("/metrics").text)
        return float(found[1]) if found else 0

    before = counted()
    answer = exchange(service, b"GET / HTTP/1.1\r\nHost: x\r\nX-Request-ID: mine\r\nBad Header: 1\r\n\r\n")
    head = answer.partition(b"\r\n\r\n")[0] + b"\r\n"
    assert b"\r\nx-content-type-options: nosniff\r\n" in head
    assert b"\r\ndate: " in head
    found = re.search(rb"\r\nx-request-id: ([0-9a-f]{32})\r\n", head)
    assert found
    (line,) = [line for line in service.lines() if line.get("request_id") == found[1].decode()]
    assert (line["event"], line["status"], line["cause"]) == ("request", 400, "Invalid HTTP request received.")
    assert line["client"] == "127.0.0.1"
    assert counted() == before + 1


def test_a_client_of_http_1_0_gets_no_chunks(service: Service) -> None:
    head = CHAT.replace(b"HTTP/1.1", b"HTTP/1.0") + b"Connection: keep-alive\r\n"
    answer = exchange(service, with_length(head, question(stream=True)))
    top, _, body = answer.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in top.lower()
    assert b"\r\nconnection: close" in top
    assert events_of(body.decode())[-1] == {"type": "end"}
    whole = exchange(service, with_length(head, question()))
    assert json.loads(whole.partition(b"\r\n\r\n")[2])["success"] is True
    chunks = exchange(service, head + CHUNKED + b"\r\n" + chunk(question()) + b"0\r\n\r\n")
    assert status_of(chunks) == 400


def test_answers_without_a_body_say_so(service: Service) -> None:
    """On one connection: what does not belong to them would be taken for the next answer."""
    preflight = (
        b"OPTIONS /api/v1/chat HTTP/1.1\r\nHost: x\r\nOrigin: http://y\r\nAccess-Control-Request-Method: POST\r\n"
    )
    kept = http.post(f"{service.url}/api/v1/upload", files={"file": ("a.txt", b"hello")}).json()["file_url"]
    path = kept.removeprefix(service.url).encode()
    unchanged = b"GET %b HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n" % path
    with connect(service) as connection:
        for head, method, status in (
            (preflight, "OPTIONS", 204),
            (unchanged, "GET", 304),
            (b"HEAD /health HTTP/1.1\r\nHost: x\r\n", "HEAD", None),
            (b"HEAD /nowhere HTTP/1.1\r\nHost: x\r\n", "HEAD", 404),
            (b"GET /health HTTP/1.1\r\nHost: x\r\n", "GET", 200),
        ):
            connection.sendall(head + b"\r\n")
            answer, body = answer_on(connection, method)
            assert status is None or answer.status == status
            assert "transfer-encoding" not in answer.headers
            assert bool(body) == (method == "GET" and status == 200)


def test_a_body_that_nobody_reads_is_not_taken_in(service: Service, upstream: Upstream) -> None:
    upstream.set(fail={"/v1/users/me": {"kind": "hang"}})
    sent = 0
    with connect(service) as connection:
        connection.sendall(b"GET /api/v1/user/info HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % FLOOD)
        while sent < FLOOD and select.select([], [connection], [], 1)[1]:
            sent += connection.send(bytes(65536))
    upstream.set(fail={})
    # What the system holds on both sides comes on top.
    assert sent < FLOOD // 2


@pytest.mark.parametrize("method", [b"GET", b"DELETE"])
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_body_that_nobody_wants_is_not_the_next_request(service: Service, method: bytes, framing: str) -> None:
    smuggled = b"GET /api/v1/config HTTP/1.1\r\nHost: x\r\n\r\n"
    head = method + b" /nowhere HTTP/1.1\r\nHost: x\r\n"
    with_body = (
        with_length(head, smuggled)
        if framing == "length"
        else head + CHUNKED + b"\r\n" + chunk(smuggled) + b"0\r\n\r\n"
    )
    answer = exchange(service, with_body + smuggled.replace(b"/config", b"/nowhere"))
    # The connection may end with the first answer.
    assert set(re.findall(rb"HTTP/1\.1 (\d+)", answer)) == {b"404"}


def test_a_client_that_waits_is_told_to_go_on(service: Service) -> None:
    expecting = CHAT + b"Expect: 100-Continue\r\n"
    with connect(service) as connection:
        for head in (expecting + b"Content-Length: %d\r\n\r\n" % len(BODY), expecting + CHUNKED + b"\r\n"):
            connection.sendall(head)
            assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
            connection.sendall(BODY if CHUNKED not in head else chunk(BODY) + b"0\r\n\r\n")
            assert answer_on(connection)[0].status == 200
    with connect(service) as connection:
        connection.sendall(expecting + b"Content-Length: 100000000\r\n\r\n")
        answer, _ = answer_on(connection)
        assert (answer.status, answer.headers["connection"]) == (413, "close")
    old = expecting.replace(b"HTTP/1.1", b"HTTP/1.0")
    assert status_of(exchange(service, with_length(old, BODY))) == 200


# A question of so many bytes that gets a short answer.
def long_question(size: int, bots: dict[str, str]) -> bytes:
    return question("n=1 size=1 d=0 " + "x" * size, bot_id=bots["load"])


def test_idle_connections_hold_nothing_of_their_questions(service: Service, bots: dict[str, str]) -> None:
    process = psutil.Process(service.process.pid)
    content = long_question(1_900_000, bots)
    with ExitStack() as stack:

        def ask() -> None:
            connection = stack.enter_context(connect(service))
            connection.sendall(with_length(CHAT, content))
            assert answer_on(connection)[0].status == 200

        for _ in range(3):
            ask()
        memory = process.memory_info().rss
        for _ in range(20):
            ask()
        assert process.memory_info().rss - memory < MIB


@pytest.mark.parametrize("stream", [True, False])
def test_running_chats_hold_nothing_of_their_questions(
    service: Service, upstream: Upstream, bots: dict[str, str], stream: bool
) -> None:
    process = psutil.Process(service.process.pid)
    content = question("x" * 1_900_000, bot_id=bots["stall-after-start"], stream=stream)
    with ExitStack() as stack:

        def ask() -> None:
            asked = upstream.state(0)["requests"].get("POST /v3/chat", 0)
            connection = stack.enter_context(connect(service))
            connection.sendall(with_length(CHAT, content))
            wait_until(lambda: upstream.state(0)["requests"].get("POST /v3/chat", 0) > asked)

        for _ in range(3):
            ask()
        memory = process.memory_info().rss
        for _ in range(10):
            ask()
        assert process.memory_info().rss - memory < 2 * MIB


def test_bodies_that_do_not_end_share_a_bound(service: Service, bots: dict[str, str]) -> None:
    process = psutil.Process(service.process.pid)
    whole = with_length(CHAT + LAST, long_question(2_000_000, bots))
    assert status_of(exchange(service, whole)) == 200
    memory = process.memory_info().rss
    with ExitStack() as stack:
        connections = [stack.enter_context(connect(service)) for _ in range(20)]
        for connection in connections:
            connection.sendall(whole[:-1])
        refused, _, _ = select.select(connections, [], [], 30)
        answer, body = answer_on(refused[0])
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        assert_envelope(json.loads(body), "")
        assert process.memory_info().rss - memory < 44 * MIB
        # A question of the usual length is still taken.
        assert service.chat("x" * 50_000).status_code == 200
    wait_until(lambda: status_of(exchange(service, whole)) == 200)


@pytest.fixture(scope="module")
def strict(start: Start) -> Service:
    """A service that waits half a second for the next 250 bytes of a body."""
    return start(REQUEST_BODY_TIMEOUT="0.5")


@pytest.mark.parametrize("head", [CHAT, UPLOAD], ids=["chat", "upload"])
def test_a_body_that_hardly_comes_is_refused(strict: Service, head: bytes) -> None:
    with connect(strict) as connection:
        connection.sendall(head + b"Content-Length: 1000000\r\n\r\n" + FORM[:-10])
        for _ in range(400):
            connection.sendall(b"x")
            if select.select([connection], [], [], 0.05)[0]:
                break
        answer, body = answer_on(connection)
        assert answer.status == 400
        assert json.loads(body)["message"] == "The request's body did not arrive in time."


def test_a_body_that_comes_slowly_is_taken(start: Start) -> None:
    """In longer than the service waits for a part of it, which is much longer than each part takes."""
    body = question("x" * 20_000)
    with connect(start(REQUEST_BODY_TIMEOUT="3")) as connection:
        connection.sendall(CHAT + b"Content-Length: %d\r\n\r\n" % len(body))
        for at in range(0, len(body), 2000):
            connection.sendall(body[at : at + 2000])
            time.sleep(0.3)
        assert answer_on(connection)[0].status == 200


def test_one_upload_too_many_has_to_wait(start: Start) -> None:
    service = start(MAX_CONCURRENT_UPLOADS="1")
    whole = with_length(UPLOAD + LAST, FORM)
    with connect(service) as connection:
        connection.sendall(whole[:-1])
        wait_until(lambda: status_of(exchange(service, whole)) == 503)
        answer = exchange(service, whole)
        assert b"\r\nretry-after: 5\r\n" in answer
        assert_envelope(json.loads(answer.partition(b"\r\n\r\n")[2]), "/api/v1/upload")
        assert service.chat().status_code == 200
    wait_until(lambda: status_of(exchange(service, whole)) == 200)


@pytest.fixture(scope="module")
def hasty(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose clients have two seconds to take the next 16 KiB of what waits for them."""
    arguments = changed(stalled_seconds=2, stalled_check_seconds=0.1)
    env = {
        "COZE_API_TOKEN": "pat_test",
        "COZE_API_BASE": upstream.url,
        "COZE_BOT_ID": BOT,
        "HEARTBEAT_INTERVAL": "0.05",
    }
    with running_service(tmp_path_factory.mktemp("hasty"), *arguments, **env) as running:
        yield running


def outcomes(service: Service, request_id: str) -> list[str | None]:
    """How the log says that a request's answer has ended."""
    return [line.get("outcome") for line in service.lines() if line.get("request_id") == request_id]


@pytest.mark.parametrize("stream", [True, False])
def test_who_reads_slowly_gets_everything(hasty: Service, bots: dict[str, str], stream: bool) -> None:
    """Slower than the service may wait, and than it speaks in a stream."""
    content = question("n=50 d=0 size=100000", bot_id=bots["load"], stream=stream)
    request_id = f"slow-{stream}"
    with connect(hasty, window=32 * 1024) as connection:
        connection.sendall(with_length(CHAT + LAST + f"X-Request-ID: {request_id}\r\n".encode(), content))
        answer = b""
        while part := connection.recv(32 * 1024):
            answer += part
            time.sleep(0.02)
    top, _, body = answer.partition(b"\r\n\r\n")
    if stream:
        assert body.endswith(b'data: {"type":"end"}\n\n\r\n0\r\n\r\n')
    else:
        assert len(body) == int(re.findall(rb"content-length: (\d+)", top)[0])
    wait_until(lambda: outcomes(hasty, request_id) == ["completed"])


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("stream", [True, False])
def test_who_does_not_read_is_not_waited_for(hasty: Service, bots: dict[str, str], stream: bool, last: bool) -> None:
    process = psutil.Process(hasty.process.pid)
    content = question("n=80 d=0 size=100000", bot_id=bots["load"], stream=stream)
    with connect(hasty, window=4096) as connection:
        connection.sendall(with_length(CHAT + LAST * last, content))
        assert connection.recv(1)
        ours = connection.getsockname()
        wait_until(lambda: ours not in [other.raddr for other in process.net_connections("tcp")])


@pytest.mark.parametrize("target", ["/docs?{}" + "&a=%41" * 9_000, "/docs/assets/{}" + "x" * 60_000], ids=len)
def test_the_target_of_a_request_is_forgotten(service: Service, target: str) -> None:
    """What routes and reads a target may remember the last thousand, which takes a megabyte for each."""
    process = psutil.Process(service.process.pid)
    for number in range(20):
        service.http.get(target.format(number))
    memory = process.memory_info().rss
    for number in range(20, 220):
        assert service.http.get(target.format(number)).status_code < 500
    assert process.memory_info().rss - memory < 8 * MIB


def test_a_path_has_a_bound(service: Service) -> None:
    for spare, status in ((0, 404), (1, 400)):
        path = "/docs/assets/".ljust(BOUNDS.request_path_bytes + spare, "x")
        assert_error(service.http.get(path), status)
