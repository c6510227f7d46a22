"""HTTP/1.1 with Coze as it may be spoken, against a server that writes whatever bytes a test wants."""

import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pytest
from conftest import Service, Start, events_of, http, text_of, wait_until
from scripted_coze import DONE, HEAD, PLAIN_HEAD, STARTED, Answer, ScriptedCoze, chunk, sized

CHAT = b"POST /behind/a%20proxy/v3/chat HTTP/1.1\r\n"
CANCEL = b"POST /behind/a%20proxy/v3/chat/cancel HTTP/1.1\r\n"
UPLOAD = b"POST /behind/a%20proxy/v1/files/upload HTTP/1.1\r\n"
STREAM = (
    STARTED
    + b'event:conversation.message.delta\ndata:{"id":"3","role":"assistant","type":"answer","content":"whole"}\n\n'
    + DONE
    + b'event:done\ndata:"[DONE]"\n\n'
)
USER = b'{"code":0,"msg":"","data":{"user_id":"7","user_name":"n","nick_name":"n","avatar_url":""}}'
CHUNKED = HEAD + b"\r\n" + chunk(STREAM) + b"0\r\n\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedCoze]:
    with ScriptedCoze() as coze:
        yield coze


@pytest.fixture(scope="module")
def service(start: Start, server: ScriptedCoze) -> Service:
    return start(COZE_API_BASE=f"{server.url}/behind/a%20proxy", HEALTH_INTERVAL="0")


@pytest.fixture
def coze(server: ScriptedCoze) -> ScriptedCoze:
    server.requests.clear()
    return server


def both_ways(service: Service) -> list[str]:
    """What a chat brings as JSON and as a stream: its text, or the message of the failure."""
    plain = service.chat().json()
    streamed = service.chat(stream=True)
    if streamed.status_code != 200:
        return [plain["message"], streamed.json()["message"]]
    events = events_of(streamed.text)
    failures = [event["message"] for event in events if event["type"] == "error"]
    return [plain["data"]["content"] if plain["data"] else plain["message"], *(failures or [text_of(events)])]


GOOD = {
    "chunked": (CHUNKED,),
    "sized": (sized(STREAM, PLAIN_HEAD),),
    "byte by byte at first": (*(CHUNKED[i : i + 1] for i in range(20)), CHUNKED[20:]),
    "head by itself": (HEAD + b"\r\n", chunk(STREAM) + b"0\r\n\r\n"),
    "until the end of the connection": (PLAIN_HEAD + b"\r\n" + STREAM, b""),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + STREAM, b""),
    "said to be the last": (HEAD + b"Connection: close\r\n\r\n" + chunk(STREAM) + b"0\r\n\r\n", b""),
    "interim answers": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nContent-Type: text/html\r\n\r\n" + CHUNKED,
    ),
    "trailers": (CHUNKED[:-2] + b"Content-Type: text/html\r\nX-Sum: 1\r\n\r\n",),
    "chunk extensions": (HEAD + b"\r\n" + chunk(STREAM).replace(b"\r\n", b";a=b\r\n", 1) + b"0\r\n\r\n",),
    "bare line feeds": (b"HTTP/1.1 200 OK\nContent-Type: text/event-stream\nConnection: close\n\n" + STREAM, b""),
    "odd characters in a header": (HEAD + b"X-Odd: \x01\xff\r\n\r\n" + chunk(STREAM) + b"0\r\n\r\n",),
    "a blank behind a chunk's size": (HEAD + b"\r\n" + chunk(STREAM).replace(b"\r\n", b" \r\n", 1) + b"0\r\n\r\n",),
    "no word for the status": (CHUNKED.replace(b" OK", b""),),
    "a header twice": (HEAD + b"Content-Type: text/html\r\n\r\n" + chunk(STREAM) + b"0\r\n\r\n",),
}


@pytest.mark.parametrize("name", GOOD)
def test_ways_to_answer(service: Service, coze: ScriptedCoze, name: str) -> None:
    coze.answer = lambda _: GOOD[name]
    assert both_ways(service) == ["whole", "whole"]


BROKE_OFF = "Coze broke off before the answer was complete. Try again in a moment."
UNAVAILABLE = "Coze is not available just now. Try again in a moment."
NOT_UNDERSTOOD = "Coze gave an answer that could not be understood. Try again in a moment."
CUT = STREAM[: STREAM.index(b"event:conversation.chat.completed")]
BAD: dict[str, tuple[Answer, str]] = {
    "no HTTP": ((b"220 smtp.example.com ESMTP\r\n",), NOT_UNDERSTOOD),
    "another protocol": (
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nnonsense",),
        NOT_UNDERSTOOD,
    ),
    "a status that is none": ((b"HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n",), UNAVAILABLE),
    "a long header": ((b"HTTP/1.1 200 OK\r\nX-Long: ", b"x" * 40_000), NOT_UNDERSTOOD),
    "many headers": ((b"HTTP/1.1 200 OK\r\n", b"X-Many: x\r\n" * 4_000), NOT_UNDERSTOOD),
    "interim answers without end": (
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Go\r\n\r\n" * 4_000),
        NOT_UNDERSTOOD,
    ),
    "nothing": ((b"",), BROKE_OFF),
    "half a head": ((HEAD, b""), BROKE_OFF),
    "a short body": ((PLAIN_HEAD + b"Content-Length: 9999\r\n\r\n" + CUT, b""), BROKE_OFF),
    "chunks without an end": ((HEAD + b"\r\n" + chunk(CUT), b""), BROKE_OFF),
    "half a stream": ((PLAIN_HEAD + b"\r\n" + CUT, b""), BROKE_OFF),
    "a chunk's size without end": ((HEAD + b"\r\n" + chunk(CUT), b"5;" + b"x" * 40_000), BROKE_OFF),
    "a length twice": ((PLAIN_HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n" + CUT,), NOT_UNDERSTOOD),
    "trailers without end": ((HEAD + b"\r\n" + chunk(CUT) + b"0\r\n", b"X-Many: x\r\n" * 4_000), BROKE_OFF),
}


@pytest.mark.parametrize("name", BAD)
def test_answers_that_are_none(service: Service, coze: ScriptedCoze, name: str) -> None:
    """All of them at once, not only when time is up."""
    answer, message = BAD[name]
    coze.answer = lambda _: answer
    assert both_ways(service) == [message, message]
    # None of their connections is good for another request.
    first, second = coze.numbers(CHAT)
    assert first != second


def test_connections_serve_one_chat_after_the_other(service: Service, coze: ScriptedCoze) -> None:
    coze.answer = lambda _: (CHUNKED,)
    for _ in range(3):
        assert both_ways(service) == ["whole", "whole"]
    numbers = coze.numbers(CHAT)
    # Another may come back meanwhile from the cancelling of a chat before.
    assert len(set(numbers)) < len(numbers) == 6


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("more", [CHUNKED, b"nonsense", b"\r\n\r\nHTTP/1.1 408 Request Timeout\r\n"])
def test_what_comes_behind_an_answer_is_nobody_s_answer(
    service: Service, coze: ScriptedCoze, more: bytes, late: bool
) -> None:
    mine = CHUNKED.replace(b"whole", b"mine!")
    coze.answer = lambda _: (mine, more) if late else (mine + more,)
    for _ in range(3):
        assert service.chat().json()["data"]["content"] == "mine!"
        time.sleep(0.2)
    assert len(set(coze.numbers(CHAT))) == 3


def test_an_answer_that_cannot_be_to_this_request_ends_the_connection(service: Service, coze: ScriptedCoze) -> None:
    """The right one is still to come, and would be taken for the answer to the next."""

    def answer(request: bytes) -> Answer:
        name = re.search(rb'"content":"(first|other|third)"', request)
        assert name
        mine = CHUNKED.replace(b"whole", name[1])
        return (sized(b"x"), mine) if name[1] == b"other" else (mine,)

    coze.answer = answer
    assert service.chat("first").json()["data"]["content"] == "first"
    assert service.chat("other").status_code == 503
    assert service.chat("third").json()["data"]["content"] == "third"


def test_an_answer_of_a_length_nobody_told_ends_with_its_connection(service: Service, coze: ScriptedCoze) -> None:
    coze.answer = lambda _: (b"HTTP/1.1 200 OK\r\n\r\n" + USER[:9], USER[9:], b"")
    assert service.http.get("/api/v1/user/info").status_code == 200
    coze.answer = lambda _: (b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n" + USER, b"")
    assert service.http.get("/api/v1/user/info").json()["message"] == BROKE_OFF


def test_what_only_asks_is_asked_again_if_the_connection_was_just_closed(service: Service, coze: ScriptedCoze) -> None:
    coze.answer = lambda _: (b"",) if len(coze.numbers(b"GET ")) == 1 else (sized(USER),)
    assert service.http.get("/api/v1/user/info").status_code == 200
    first, second = coze.numbers(b"GET ")
    assert first != second


def test_what_does_something_is_not_asked_again(service: Service, coze: ScriptedCoze) -> None:
    coze.answer = lambda _: (b"",)
    assert service.chat().status_code == 503
    assert service.http.post("/api/v1/upload", files={"file": ("a.csv", b"1,2")}).status_code == 503
    assert len(coze.numbers(CHAT)) == len(coze.numbers(UPLOAD)) == 1


def test_an_upload_that_is_answered_before_it_has_come(service: Service, coze: ScriptedCoze) -> None:
    """Its connection, with the rest of the file on it, serves nothing else."""
    refusal = sized(b'{"code":4303,"msg":"no"}')
    coze.answer = lambda request: (refusal,) if b"/files/" in request else (sized(USER),)
    file = {"file": ("a.csv", b"1,2\n" * 2_000_000)}
    assert service.http.post("/api/v1/upload", files=file).status_code == 400
    assert service.http.get("/api/v1/user/info").status_code == 200
    ((upload,), (info,)) = coze.numbers(UPLOAD), coze.numbers(b"GET ")
    assert upload != info


def refused(service: Service, file: bytes) -> str:
    """The message that an upload fails with."""
    answer = service.http.post("/api/v1/upload", files={"file": ("a.csv", file)})
    assert answer.status_code == 503
    return str(answer.json()["message"])


def test_an_upload_that_is_answered_without_end(service: Service, coze: ScriptedCoze) -> None:
    """While nobody reads it. The answer is bounded like any other."""
    process = psutil.Process(service.process.pid)
    before = process.memory_info().rss
    coze.answer = lambda _: (PLAIN_HEAD + b"\r\n", b"x" * 300_000_000)
    with ThreadPoolExecutor(1) as beside:
        upload = beside.submit(refused, service, b"1,2\n" * 2_000_000)
        while not upload.done():
            assert process.memory_info().rss - before < 60_000_000
            time.sleep(0.01)
    assert upload.result() == NOT_UNDERSTOOD


def test_an_upload_that_coze_does_not_take(start: Start, coze: ScriptedCoze) -> None:
    """In time, or before its client leaves: both are no more than that, and nothing of it outlives a stop."""
    over = threading.Event()

    def answer(request: bytes) -> Answer:
        if request.startswith(UPLOAD):
            over.wait(60)
        return (sized(USER),)

    coze.answer = answer
    service = start(COZE_API_BASE=f"{coze.url}/behind/a%20proxy", COZE_UPLOAD_TIMEOUT="1")
    file = b"1,2\n" * 2_000_000
    assert "too long" in refused(service, file)
    with pytest.raises(httpx.ReadTimeout):
        http.post(f"{service.url}/api/v1/upload", files={"file": ("a.csv", file)}, timeout=0.5)
    wait_until(lambda: [line for line in service.lines() if line.get("status") == 499])
    assert service.http.get("/api/v1/user/info").status_code == 200
    assert not [line for line in service.lines() if line["level"] == "error"]
    assert service.stop(timeout=10) == 0
    over.set()


def test_a_cancel_is_asked_again_if_the_connection_was_just_closed(service: Service, coze: ScriptedCoze) -> None:
    def answer(request: bytes) -> Answer:
        if request.startswith(CANCEL):
            return (b"",) if len(coze.numbers(CANCEL)) == 1 else (sized(b'{"code":0}'),)
        return (HEAD + b"\r\n" + chunk(CUT), *([chunk(b": go on\n\n")] * 100))

    coze.answer = answer
    question = {"user_id": "u", "stream": True, "messages": [{"role": "user", "content": "?"}]}
    with http.stream("POST", f"{service.url}/api/v1/chat", json=question) as streamed:
        lines = streamed.iter_lines()
        next(lines)
    wait_until(lambda: len(coze.numbers(CANCEL)) == 2)


def test_connections_that_have_all_gone_bad_fail_nobody(service: Service, coze: ScriptedCoze) -> None:
    mine = CHUNKED.replace(b"whole", b"mine!")
    together = threading.Barrier(8)

    def answer(_: bytes) -> Answer:
        together.wait(30)
        return (mine, b"HTTP/1.1 408 Request Timeout\r\n\r\n")

    coze.answer = answer
    with ThreadPoolExecutor(8) as many:
        for answered in [many.submit(service.chat) for _ in range(8)]:
            assert answered.result().json()["data"]["content"] == "mine!"
    time.sleep(0.2)
    coze.answer = lambda _: (CHUNKED,)
    assert both_ways(service) == ["whole", "whole"]


def test_the_request(service: Service, coze: ScriptedCoze) -> None:
    coze.answer = lambda _: (CHUNKED,)
    service.chat("你好", bot="1", conversation_id="7 &?#\r\nX-Mine: 1")
    (request,) = [request for _, request in coze.requests if b"conversation_id=" in request]
    head, body = request.split(b"\r\n\r\n", 1)
    line, *fields = head.decode("ascii").split("\r\n")
    assert line == "POST /behind/a%20proxy/v3/chat?conversation_id=7+%26%3F%23%0D%0AX-Mine%3A+1 HTTP/1.1"
    headers = dict(field.split(": ", 1) for field in fields)
    assert len(headers) == len(fields)
    assert headers["Host"] == coze.url.removeprefix("http://")
    assert headers["Authorization"] == "Bearer pat_test"
    assert headers["Accept-Encoding"] == "identity"
    assert headers["Content-Type"] == "application/json"
    assert int(headers["Content-Length"]) == len(body)
    assert "你好" in body.decode()


@pytest.mark.parametrize("status", [300, 301, 302, 303, 305, 307, 308, 400, 404, 405, 407, 410, 426])
def test_what_only_the_operator_can_mend(service: Service, coze: ScriptedCoze, status: int) -> None:
    """Coze redirects, or is asked what it does not know. To try again does not help, even if Coze says so."""
    head = b"HTTP/1.1 %d Odd\r\nLocation: https://api.coze.example/v3/chat\r\nRetry-After: 7\r\n" % status
    coze.answer = lambda _: (sized(b"<html>odd</html>", head),)
    upload = service.http.post("/api/v1/upload", files={"file": ("a.csv", b"1,2")})
    others = [service.http.get(f"/api/v1/{path}") for path in ("user/info", "workspaces", "test/connection")]
    for answer in [service.chat(), service.chat(stream=True), upload, *others]:
        if status == 400 and answer not in others:
            continue  # what the client sent is wrong, as it may be
        assert answer.status_code == 500, answer.text
        assert "operator" in answer.json()["message"]
        assert "retry-after" not in answer.headers
    health = service.http.get("/health")
    assert health.status_code == 503
    assert "operator" in health.json()["message"]
    assert "retry-after" not in health.headers


NO_SESSION = sized(b'{"code":401,"msg":"missing session_key in cookie"}', b"HTTP/1.1 401 Unauthorized\r\n")
OLD_NO_SESSION = sized(b'{"code":700012006,"msg":"missing session_key in cookie"}')
NO_ROUTE = sized(b'{"code":404,"msg":"not found"}', b"HTTP/1.1 404 Not Found\r\n")
NO_BOT = sized(b'{"code":400,"msg":"invalid value for bot_id"}', b"HTTP/1.1 400 Bad Request\r\n")
NO_TOKEN = sized(b'{"code":700012006,"msg":"authentication failed: invalid token"}')
DOWN = sized(b"<html>", b"HTTP/1.1 502 Bad Gateway\r\n")
# The answers to a look at the account and to a chat; a part of what is said of it, if it is not healthy.
HEALTH = {
    "the cloud": (sized(USER), DOWN, None),
    "a Studio": (NO_SESSION, NO_BOT, None),
    "an older Studio": (OLD_NO_SESSION, NO_BOT, None),
    "another of its kind": (NO_ROUTE, NO_BOT, None),
    "one that answers with the cloud's code": (NO_ROUTE, sized(b'{"code":4000,"msg":"bot_id"}'), None),
    "one that answers with a stream": (NO_SESSION, sized(STREAM, PLAIN_HEAD), None),
    "a path too much": (NO_ROUTE, NO_ROUTE, "COZE_API_BASE"),
    "a path too much at a Studio": (NO_SESSION, NO_SESSION, "COZE_API_BASE"),
    "a Studio at a path of its pages": (NO_SESSION, sized(b"", b"HTTP/1.1 405 Not Allowed\r\n"), "operator"),
    "a Studio that does not know the token": (NO_SESSION, NO_TOKEN, "does not accept the service's token"),
    "a Studio that is down": (NO_SESSION, DOWN, "not available"),
    "a Studio that breaks off": (NO_SESSION, b"", "broke off"),
}


@pytest.mark.parametrize("name", HEALTH)
def test_health_is_that_of_chats(service: Service, coze: ScriptedCoze, name: str) -> None:
    account, chat, problem = HEALTH[name]
    coze.answer = lambda request: (chat,) if request.startswith(CHAT) else (account,)
    health = service.http.get("/health")
    assert (health.status_code, health.json()["status"]) == ((503, "unhealthy") if problem else (200, "healthy"))
    assert (problem or "working") in health.json()["message"]
    # Where the account can be seen, chats are left alone.
    assert bool(coze.numbers(CHAT)) == (account != sized(USER))


def test_addresses_of_coze_s_that_are_none_of_the_web_go_no_further(service: Service, coze: ScriptedCoze) -> None:
    bad = b"javascript:alert(1)"

    def answer(request: bytes) -> Answer:
        if b"/files/" in request:
            return (sized(b'{"code":0,"data":{"id":"7","url":"%b"}}' % bad),)
        if b"/workspaces" in request:
            return (sized(b'{"code":0,"data":{"workspaces":[{"id":"7","name":"n","icon_url":"%b"}]}}' % bad),)
        return (sized(USER.replace(b'avatar_url":"', b'avatar_url":"' + bad)),)

    coze.answer = answer
    upload = service.http.post("/api/v1/upload", files={"file": ("a.csv", b"1,2")}).json()
    assert service.http.get(upload["file_url"]).content == b"1,2"
    assert service.http.get("/api/v1/workspaces").json()["data"][0]["icon_url"] == ""
    assert service.http.get("/api/v1/user/info").json()["data"]["user"]["avatar_url"] == ""


def page_of(request: bytes) -> Answer:
    """One of very many full pages of workspaces, slowly."""
    number = re.search(rb"page_num=([0-9]+)", request)
    assert number
    rows = b",".join(b'{"id":"%b-%d"}' % (number[1], row) for row in range(50))
    return (sized(b'{"code":0,"data":{"total_count":1000000,"workspaces":[%b]}}' % rows),)


def test_workspaces_are_asked_for_in_one_time_limit(start: Start, coze: ScriptedCoze) -> None:
    service = start(COZE_API_BASE=coze.url, COZE_REQUEST_TIMEOUT="1.5")
    coze.answer = page_of
    answer = service.http.get("/api/v1/workspaces")
    assert answer.status_code == 503
    assert "too long" in answer.json()["message"]
    assert 1 < len(coze.requests) < 50


def test_a_client_that_leaves_ends_what_is_asked_for_it(service: Service, coze: ScriptedCoze) -> None:
    over = threading.Event()

    def answer(request: bytes) -> Answer:
        if b"/workspaces" in request:
            return page_of(request)
        over.wait(60)
        return (b"",)

    coze.answer = answer

    def left() -> int:
        return sum(line.get("status") == 499 for line in service.lines())

    before = left()
    for path in ("workspaces", "user/info", "test/connection"):
        with pytest.raises(httpx.ReadTimeout):
            http.get(f"{service.url}/api/v1/{path}", timeout=0.5)
    wait_until(lambda: left() == before + 3, 10)
    seen = len(coze.requests)
    over.set()
    time.sleep(0.3)
    assert len(coze.requests) == seen
