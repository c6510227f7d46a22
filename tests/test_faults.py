"""Every way Coze can fail or be odd becomes one honest answer, as JSON and as a stream.

The sandbox has a bot for each. A streamed fault that comes before anything good has the JSON answer's status and
envelope; after a good start it is an `error` event and then `end`.
"""

import asyncio
import contextlib
import itertools
import math
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from conftest import Service, Start, Upstream, changed, events_of, text_of, wait_until
from envelope import assert_error
from operations import OPERATIONS, operations
from scripted_coze import DONE, HEAD, PLAIN_HEAD, STARTED, Answer, ScriptedCoze, chunk, sized

from generated.models import ChatMessage, ChatRequest
from service import settings
from service.coze import ChatEvent, Coze
from service.lifecycle import Lifecycle
from service.observe.coze_observer import CozeObserver

HALF = "This is the first half of an answer"
JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
WHOLE = "This is the first half of an answer, and this is its second half."

# Coze's codes, as JSON in place of a stream: the status the caller gets.
CODES = {
    400: (4000, 4003, 4004, 4005, 4010, 4014, 4015, 4104, 4105, 4201, 4300, 4301, 4303, 4304, 4315),
    404: (4001, 4002, 4006, 4200, 4314),
    413: (4302,),
    429: (4008, 4016, 4020),
    500: (4007, 4012, 4021, 4100, 4101),
    503: (4009, 4011, 4013, 4019, 4022, 4027, 4028, 4029, 4102, 5000),
}

# Before anything good: one status for both forms.
FAIL_FIRST = {
    "401-no-permission": 500,
    "401-invalid": 500,
    "403-html": 500,
    "token-invalid": 500,
    "500-json": 503,
    "502-html": 503,
    "504-empty": 503,
    "503-retry-after": 503,
    "200-empty": 503,
    "200-html": 503,
    "wrong-content-type": 503,
    "json-code-0": 503,
    "json-truncated": 503,
    "json-array": 503,
    "json-null": 503,
    "redirect": 500,
    "code-negative": 503,
    "code-unknown": 503,
    "code-701231": 503,
    "code-no-msg": 400,
    "error-as-stream": 400,
    "code-odd-body": 429,
    "429": 429,
    "429-retry-after": 429,
    "error-first-4000": 400,
    "error-first-4016": 429,
    "error-first-4028": 503,
    "error-first-4101": 500,
    "error-first-4200": 404,
    "error-first-5000": 503,
    "error-first-unknown": 503,
    "failed-first": 503,
    "hang": 503,
    "hang-after-headers": 503,
    "reset-first": 503,
    "eof-empty": 503,
}

# After a good start: the status of the JSON form, and the text that a stream brings before its error.
FAIL_LATER = {
    "eof-early": (503, ""),
    "eof-midway": (503, HALF),
    "reset": (503, HALF),
    "stall": (503, HALF),
    "stall-after-start": (503, ""),
    "bad-json": (503, HALF),
    "error-after-start": (503, ""),
    "error-midway-5000": (503, HALF),
    "error-midway-4028": (503, HALF),
    "failed-5000": (503, ""),
    "failed-4028": (503, ""),
    "failed-midway-4028": (503, HALF),
    "failed-bare": (503, ""),
    "failed-bare-midway": (503, HALF),
    "failed-unexplained": (503, ""),
    "failed-null-code": (503, ""),
    "canceled-event": (503, HALF),
    "requires-function": (500, ""),
    "failed-as-completed": (503, HALF),
    "endless-line": (503, ""),
}

# Odd, but good.
GOOD = {
    "late": WHOLE,
    "late-headers": WHOLE,
    "silence": WHOLE,
    "drip": WHOLE,
    "no-done": WHOLE,
    "open-end": WHOLE,
    "unknown-events": WHOLE,
    "unknown-types": WHOLE,
    "unknown-statuses": WHOLE,
    "tools": WHOLE,
    "reasoning": WHOLE,
    "audio": WHOLE,
    "no-deltas": WHOLE,
    "two-answers": "The first answer.\n\nThe second answer.",
    "empty-answer": "",
    "int-ids": WHOLE,
    "null-content": WHOLE,
    "odd-chat": WHOLE,
    "done-object": WHOLE,
    "extra-fields": WHOLE,
    "separators": "Raw separators: line\u2028paragraph\u2029next\u0085unit\u001c\u000bend",
    "comments": WHOLE,
    "crlf": WHOLE,
    "cr": WHOLE,
    "two-data-lines": WHOLE,
    "id-retry": WHOLE,
    "bom": WHOLE,
    "spaces": WHOLE,
    "data-first": WHOLE,
    "no-content-type": WHOLE,
    "charset": WHOLE,
    "no-final-blank": WHOLE,
    "no-data": WHOLE,
    "bad-utf8": WHOLE,
    "blank-lines": WHOLE,
    "huge-delta": "0123456789abcdef" * 65536,
    "many-deltas": "".join(f"{number} " for number in range(20_000)),
    "asks": "Which city do you want to go to?",
    "asks-as-studio": "Which city do you want to go to?",
    "asks-as-sample": "Which city do you want to go to?",
    "cut-bytes": "Hi 😀!",
    "cut-pairs": "Hi 😀!",
    "broken-characters": "a\ufffdbc\ufffdde\ufffd",
    "broken-unseen": WHOLE,
    "odd-values": WHOLE,
    "late-thoughts": WHOLE,
    "two-ids": WHOLE,
}

# The operations that ask Coze nothing; all others fail as it does. One that is about a conversation asks nothing if the
# conversation is not the user's; tests/test_conversations.py has those that do.
WITHOUT_COZE = (
    *("getRoot", "getFile", "getConfig", "createVisitor", "listConversations", "listModels"),
    *(name for name, about in OPERATIONS.items() if re.search("{(conversation|answer)_id}", about.path)),
)

# In no table: their outcome depends on how the network cuts the bytes, or they have a test of their own.
ELSEWHERE = {"default", "half-chunk", "load", "for-ever", "variables", "markdown"}


@pytest.fixture(scope="module")
def impatient(start: Start) -> Service:
    return start(COZE_FIRST_EVENT_TIMEOUT="2", COZE_EVENT_TIMEOUT="2", COZE_CHAT_TIMEOUT="20", HEARTBEAT_INTERVAL="0.3")


@pytest.fixture(scope="module")
def patient(start: Start) -> Service:
    """A service that waits for whatever comes, and fills each silence."""
    return start(HEARTBEAT_INTERVAL="0.05")


@pytest.fixture(scope="module")
def scripted(start: Start) -> Iterator[tuple[ScriptedCoze, Service]]:
    """A service with the default time-outs, and what stands in Coze's place for it."""
    with ScriptedCoze() as coze:
        yield coze, start(COZE_API_BASE=coze.url)


def test_every_bot_of_the_sandbox_is_expected_here(bots: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    codes = {f"code-{code}" for group in CODES.values() for code in group}
    assert set(bots) == codes | set(FAIL_FIRST) | set(FAIL_LATER) | set(GOOD) | ELSEWHERE
    with capsys.disabled():
        faults = len(codes) + len(FAIL_FIRST) + len(FAIL_LATER)
        print(f"\n{faults} faults of Coze and {len(GOOD)} odd but good chats, each as JSON and as a stream")


@pytest.mark.parametrize(("code", "status"), [(code, status) for status, codes in CODES.items() for code in codes])
def test_code(service: Service, bots: dict[str, str], code: int, status: int) -> None:
    assert_error(service.chat(bot=bots[f"code-{code}"]), status)
    assert_error(service.chat(bot=bots[f"code-{code}"], stream=True), status)


@pytest.mark.parametrize("name", FAIL_FIRST)
def test_fails_first(impatient: Service, bots: dict[str, str], name: str) -> None:
    assert_error(impatient.chat(bot=bots[name]), FAIL_FIRST[name])
    assert_error(impatient.chat(bot=bots[name], stream=True), FAIL_FIRST[name])


@pytest.mark.parametrize("name", FAIL_LATER)
def test_fails_later(impatient: Service, bots: dict[str, str], name: str) -> None:
    status, text = FAIL_LATER[name]
    plain = impatient.chat(bot=bots[name])
    assert_error(plain, status)
    answer = impatient.chat(bot=bots[name], stream=True)
    assert answer.status_code == 200
    events = events_of(answer.text)
    assert text_of(events) == text
    assert [event["type"] for event in events[-2:]] == ["error", "end"]
    assert [event["type"] for event in events].count("error") == 1
    assert [event["type"] for event in events].count("end") == 1
    assert "chat_completed" not in [event["type"] for event in events]
    said = {name: value for name, value in plain.json().items() if name in ("message", "code", "retry_after")}
    assert events[-2] == {"type": "error", "timestamp": events[-2]["timestamp"], **said}


@pytest.mark.parametrize("name", GOOD)
def test_good(patient: Service, bots: dict[str, str], name: str) -> None:
    plain = patient.chat("pause=1", bot=bots[name])
    assert plain.status_code == 200, plain.text
    assert plain.json()["data"]["content"] == GOOD[name]
    events = events_of(patient.chat("pause=1", bot=bots[name], stream=True).text)
    assert text_of(events) == GOOD[name]
    assert [event["type"] for event in events[-2:]] == ["chat_completed", "end"]
    assert "error" not in [event["type"] for event in events]


def test_a_chunk_cut_in_two_is_a_failure_whenever_it_is_noticed(impatient: Service, bots: dict[str, str]) -> None:
    assert_error(impatient.chat(bot=bots["half-chunk"]), 503)
    answer = impatient.chat(bot=bots["half-chunk"], stream=True)
    if answer.status_code == 200:
        assert [event["type"] for event in events_of(answer.text)[-2:]] == ["error", "end"]
    else:
        assert_error(answer, 503)


def test_retry_after_is_coze_s_own_where_it_gives_one(impatient: Service, bots: dict[str, str]) -> None:
    for name, seconds in (("429-retry-after", 7), ("503-retry-after", 3)):
        answer = impatient.chat(bot=bots[name])
        assert (answer.headers["retry-after"], answer.json()["retry_after"]) == (str(seconds), seconds)


def test_a_chat_without_end_is_ended(start: Start, bots: dict[str, str]) -> None:
    hasty = start(COZE_CHAT_TIMEOUT="1")
    assert_error(hasty.chat(bot=bots["for-ever"]), 503)
    events = events_of(hasty.chat(bot=bots["for-ever"], stream=True).text)
    assert [event["type"] for event in events[-2:]] == ["error", "end"]
    assert text_of(events)


def test_silence_is_filled_with_comments(patient: Service, bots: dict[str, str]) -> None:
    text = patient.chat("pause=1", bot=bots["silence"], stream=True).text
    assert text.count(": ping\n") >= 2
    # A blank line behind it would be the end of an event to some readers.
    assert ": ping\n\n" not in text
    assert text_of(events_of(text)) == WHOLE


def test_long_deltas_come_in_short_events(impatient: Service, bots: dict[str, str]) -> None:
    blocks = impatient.chat(bot=bots["huge-delta"], stream=True).content.split(b"\n\n")
    assert max(map(len, blocks)) < 16 * 1024


@pytest.mark.parametrize(("code", "status"), [(4006, 500), (4015, 500), (4200, 500), (4000, 400), (4016, 429)])
def test_the_configured_bot_is_the_operator_s_to_mend(
    scripted: tuple[ScriptedCoze, Service], code: int, status: int
) -> None:
    coze, service = scripted
    coze.answer = lambda _: [sized(b'{"code":%d,"msg":"no"}' % code, JSON_HEAD)]
    assert_error(service.chat(), status)
    assert_error(service.chat(stream=True), status)


@pytest.mark.parametrize(
    "base", ["http://127.0.0.1:1", "http://nowhere.invalid"], ids=["refused connection", "unknown host"]
)
def test_coze_out_of_reach(start: Start, base: str) -> None:
    service = start(COZE_API_BASE=base)
    for stream in (False, True):
        assert_error(service.chat(stream=stream), 503)
    for operation in operations(*WITHOUT_COZE, "getHealth"):
        assert_error(operation.call(service.http, operation.nowhere), 503)
    health = service.http.get("/health")
    assert health.status_code == 503
    assert health.json()["status"] == "unhealthy"
    assert service.http.get("/").status_code == 200


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That of a server on localhost, which nobody has signed; its key lies beside it."""
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -keyout key.pem -out cert.pem"
    subprocess.run(
        [*command.split(), "-addext", "subjectAltName=DNS:localhost"], cwd=folder, check=True, capture_output=True
    )
    return folder / "cert.pem"


@pytest.fixture(scope="module")
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    return context


def test_a_certificate_that_nobody_signed(start: Start, tls: ssl.SSLContext) -> None:
    with ScriptedCoze(tls=tls) as coze:
        service = start(COZE_API_BASE=coze.url)
        assert_error(service.chat(), 503)
        wait_until(lambda: service.lines()[-1].get("cause") == "a certificate that is not trusted")


STREAM_HEAD = HEAD + b"\r\n"
QUOTA = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{"code":4028,"msg":"quota"}'
GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<html>Bad gateway</html>"


class EndingCoze(ScriptedCoze):
    """Answers the question of a chat over TLS and ends, `at_once` in one piece; closes only after the other side."""

    at_once = True

    def __init__(self, tls: ssl.SSLContext) -> None:
        super().__init__(tls=tls)
        self._context = tls

    def serve(self, number: int, plain: socket.socket) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        inside = self._context.wrap_bio(incoming, outgoing, server_side=True)
        asked = b""
        while b'"stream":true' not in asked:
            try:
                asked += inside.read(65536)
            except ssl.SSLWantReadError:
                plain.sendall(outgoing.read())
                incoming.write(plain.recv(65536))
        inside.write(b"".join(self.answer(asked)))
        if not self.at_once:
            plain.sendall(outgoing.read())
            time.sleep(0.2)
        with contextlib.suppress(ssl.SSLWantReadError):
            inside.unwrap()
        plain.sendall(outgoing.read())
        while plain.recv(65536):
            pass


@pytest.fixture(scope="module")
def ending(start: Start, tls: ssl.SSLContext, certificate: Path) -> Iterator[tuple[EndingCoze, Service]]:
    with EndingCoze(tls) as coze:
        yield coze, start(COZE_API_BASE=coze.url, SSL_CERT_FILE=str(certificate))


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize(
    ("answer", "says"),
    [(QUOTA, "quota"), (GATEWAY, "not available"), (STREAM_HEAD, "broke off"), (STREAM_HEAD + b"zz\r\n", "")],
    ids=["json", "gateway", "no-event", "malformed"],
)
def test_an_answer_over_tls_that_ends_at_once(
    ending: tuple[EndingCoze, Service], answer: bytes, says: str, at_once: bool
) -> None:
    """The head, the body and the end come in one piece; the other side closes only after this one."""
    coze, service = ending
    coze.answer, coze.at_once = lambda _: (answer,), at_once
    for stream in (True, False):
        chat = service.chat(stream=stream)
        assert_error(chat, 503)
        assert says in chat.json()["message"]
        assert "too long" not in chat.json()["message"]


def test_the_other_endpoints_when_coze_fails(upstream: Upstream, start: Start) -> None:
    seldom = {"HEALTH_INTERVAL": "0", "COZE_REQUEST_TIMEOUT": "1", "COZE_UPLOAD_TIMEOUT": "1"}
    service = start(*changed(bot_retry_seconds=0), **seldom)
    faults: list[tuple[dict[str, Any], int]] = [
        ({"status": 401, "code": 4101, "msg": "no"}, 500),
        ({"status": 200, "code": 4100, "msg": "no"}, 500),
        ({"status": 200, "code": 4000, "msg": "no"}, 500),
        ({"status": 200, "code": 4013, "msg": "no"}, 503),
        ({"status": 200, "code": 4020, "msg": "no"}, 429),
        ({"kind": "html502"}, 503),
        ({"kind": "hang"}, 503),
        ({"kind": "close"}, 503),
        ({"kind": "empty"}, 503),
        ({"kind": "not_json"}, 503),
    ]
    try:
        for fault, status in faults:
            asked = ("/v1/users/me", "/v1/workspaces", "/v1/files/upload", "GET /v1/bots/{id}")
            upstream.set(fail=dict.fromkeys(asked, fault))
            for operation in operations(*WITHOUT_COZE, "getHealth", "chat", "createChatCompletion", "uploadFile"):
                assert_error(operation.call(service.http, operation.nowhere), status)
            health = service.http.get("/health")
            assert (health.status_code, health.json()["status"]) == (503, "unhealthy")
            upload = service.http.post("/api/v1/upload", files={"file": ("a.csv", b"1,2")})
            assert_error(upload, 400 if fault.get("code") == 4000 else status)
    finally:
        upstream.set(fail={})
    assert service.http.get("/health").status_code == 200


@pytest.mark.parametrize("after", [b"ZZZ\r\nnonsense\r\n", b"5\r\ntoo long for five\r\n"], ids=["size", "end"])
def test_a_malformed_chunk_is_noticed_at_once(scripted: tuple[ScriptedCoze, Service], after: bytes) -> None:
    coze, service = scripted
    # With the default time-outs it would take two minutes to find out otherwise.
    coze.answer = lambda _: (STREAM_HEAD + chunk(STARTED), after)
    assert_error(service.chat(), 503)
    answer = service.chat(stream=True)
    if answer.status_code == 200:
        assert [event["type"] for event in events_of(answer.text)[-2:]] == ["error", "end"]
    else:
        assert_error(answer, 503)


def test_a_malformed_chunk_is_noticed_at_once_over_tls(start: Start, tls: ssl.SSLContext, certificate: Path) -> None:
    """Also if the other side does not close when it is told to."""
    over = threading.Event()

    def answer(_: bytes) -> Answer:
        yield STREAM_HEAD + chunk(STARTED)
        time.sleep(0.2)
        yield b"ZZZ\r\n"
        over.wait(60)

    with ScriptedCoze(answer, tls) as coze:
        service = start(COZE_API_BASE=coze.url, SSL_CERT_FILE=str(certificate), COZE_REQUEST_TIMEOUT="1")
        chat = service.chat(stream=True)
        assert chat.status_code == 200
        assert [event["type"] for event in events_of(chat.text)] == ["chat_started", "error", "end"]
        assert_error(service.chat(), 503)
        over.set()


def test_what_comes_over_tls_while_a_client_is_slow(tls: ssl.SSLContext, certificate: Path) -> None:
    """And the end of the connection behind it."""
    delta = b'event:conversation.message.delta\ndata:{"id":"3","role":"assistant","type":"answer","content":"x"}\n\n'
    ended = threading.Event()

    def answer(_: bytes) -> Answer:
        yield STREAM_HEAD
        for events in (STARTED + delta, delta * 50, DONE):
            yield chunk(events)
            time.sleep(0.2)
        yield chunk(b"")
        yield b""
        ended.set()

    async def main(base: str) -> list[ChatEvent]:
        heard: list[ChatEvent] = []
        trusted = {"SSL_CERT_FILE": str(certificate)}
        chosen = settings.read({"COZE_API_TOKEN": "pat_test", "COZE_API_BASE": base, "COZE_BOT_ID": "1", **trusted})
        asked = ChatRequest(user_id="u", messages=[ChatMessage(role="user", content="?")])
        async with Coze(chosen, CozeObserver(), Lifecycle()) as coze:
            chat = coze.chat(asked)
            await chat.open()
            chat.listen(heard.extend)
            chat.pause()
            await asyncio.to_thread(ended.wait, 30)
            assert len(heard) == 2
            chat.resume()
            assert await chat.completed(math.inf)
            chat.leave()
        return heard

    with ScriptedCoze(answer, tls) as coze, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        heard = runner.run(main(coze.url))
    assert len(heard) == 53


def test_comments_alone_are_no_good_start(start: Start) -> None:
    def answer(_: bytes) -> Answer:
        yield PLAIN_HEAD + b"\r\n"
        yield from itertools.repeat(b": ping\n\n")

    with ScriptedCoze(answer) as coze:
        service = start(COZE_API_BASE=coze.url, COZE_FIRST_EVENT_TIMEOUT="1", COZE_EVENT_TIMEOUT="1")
        assert_error(service.chat(stream=True), 503)
