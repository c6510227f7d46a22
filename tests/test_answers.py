"""Answers that outlive their connection: followed again from anywhere, asked once, stopped on purpose."""

import asyncio
import contextlib
import itertools
import json
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from conftest import Service, Start, Upstream, asking, changed, text_of, wait_until
from envelope import assert_error
from operations import Headers, visitor
from scripted_coze import DONE, HEAD, STARTED, ScriptedCoze, chunk

QUESTION = {"user_id": "u", "messages": [{"role": "user", "content": "x"}], "stream": True}
CONTINUE = {**QUESTION, "on_disconnect": "continue"}
LOAD = "n={} d={} size=10"  # so many pieces, so many seconds apart
ANSWERS = "/api/v1/answers"


def asked(upstream: Upstream) -> int:
    """How many chats Coze was asked for."""
    return int(upstream.state(0)["requests"].get("POST /v3/chat", 0))


def slow(bots: dict[str, str], pieces: int = 200, seconds: float = 0.01, **fields: Any) -> dict[str, Any]:
    """A question whose answer takes a while."""
    messages = [{"role": "user", "content": LOAD.format(pieces, seconds)}]
    return {**CONTINUE, "bot_id": bots["load"], "messages": messages, **fields}


class Event:
    """An event as it was written, its id behind its data: readers that take the id at once must have had the data."""

    def __init__(self, block: str) -> None:
        found = re.fullmatch(r"data: (.*)\nid: (\S+)", block)
        assert found, block
        self.id = found[2]
        self.data: dict[str, Any] = json.loads(found[1])

    @property
    def number(self) -> int:
        return int(self.id.partition(".")[2])


def events(text: str) -> list[Event]:
    """Whole events, without heartbeats; what is cut off at the end is left out."""
    return [Event(block.replace(": ping\n", "")) for block in text.split("\n\n")[:-1]]


def read(answer: httpx.Response, most: int = 10**9) -> list[Event]:
    """The events of a stream, so many at most."""
    text = ""
    with contextlib.suppress(httpx.TransportError):
        for piece in answer.iter_text():
            text += piece
            if len(events(text)) >= most:
                break
    return events(text)


def begin(service: Service, body: dict[str, Any], most: int, headers: Headers | None = None) -> list[Event]:
    """Asks, reads so many events or some more, and leaves."""
    with service.http.stream("POST", "/api/v1/chat", json=body, headers=headers) as answer:
        assert answer.status_code == 200, answer.read()
        seen = read(answer, most)
        assert answer.headers["answer-id"] == seen[0].data["answer_id"] == seen[0].id.partition(".")[0]
        return seen


def again(service: Service, event_id: str, most: int = 10**9, headers: Headers | None = None) -> list[Event]:
    """What follows an event, by the same POST."""
    with service.http.stream(
        "POST", "/api/v1/chat", json=CONTINUE, headers={**(headers or {}), "Last-Event-ID": event_id}
    ) as answer:
        assert answer.status_code == 200, answer.read()
        return read(answer, most)


def whole(found: list[Event]) -> str:
    """The text of an answer whose events are there from the first to the last, once and in order."""
    assert [event.number for event in found] == list(range(1, len(found) + 1))
    assert len({event.id.partition(".")[0] for event in found}) == 1
    types = [event.data["type"] for event in found]
    assert (types[0], types[-2:]) == ("chat_started", ["chat_completed", "end"])
    return text_of([event.data for event in found])


def test_an_answer_goes_on_and_is_followed_from_the_next_event_on(
    service: Service, upstream: Upstream, bots: dict[str, str]
) -> None:
    before = asked(upstream)
    found = begin(service, slow(bots), 20)
    while found[-1].data["type"] != "end":
        found += again(service, found[-1].id, 30)
    assert len(whole(found)) == 2000
    assert asked(upstream) == before + 1
    chat = upstream.state(1)["chats"][-1]
    assert (chat["status"], chat["cancel_calls"], chat["client_left"]) == ("completed", 0, False)


def test_whoever_is_there_from_the_start_sees_the_same_events(service: Service, bots: dict[str, str]) -> None:
    found = begin(service, slow(bots, 20), 10**9)
    assert len(whole(found)) == 200
    plain = service.chat("n=20 d=0 size=10", bot=bots["load"], stream=True)
    assert "answer-id" not in plain.headers
    assert "answer_id" not in plain.text


def test_by_get_with_the_header_or_a_number(service: Service, bots: dict[str, str]) -> None:
    first = begin(service, slow(bots), 5)
    answer_id = first[0].data["answer_id"]
    rest = events(service.http.get(f"{ANSWERS}/{answer_id}/events", headers={"Last-Event-ID": first[-1].id}).text)
    text = whole(first + rest)
    assert whole(events(service.http.get(f"{ANSWERS}/{answer_id}/events").text)) == text
    by_number = service.http.get(f"{ANSWERS}/{answer_id}/events", params={"after": first[-1].number})
    assert whole(first + events(by_number.text)) == text
    # Behind the end there is nothing, and readers that reconnect by themselves stop.
    for options in ({"headers": {"Last-Event-ID": rest[-1].id}}, {"params": {"after": 10**8}}):
        assert service.http.get(f"{ANSWERS}/{answer_id}/events", **options).status_code == 204
    assert service.http.post("/api/v1/chat", json=CONTINUE, headers={"Last-Event-ID": rest[-1].id}).status_code == 204


def test_where_it_stands(start: Start) -> None:
    looked_at = threading.Event()

    def answer(_: bytes) -> Iterator[bytes]:
        delta = b'event:conversation.message.delta\ndata:{"role":"assistant","type":"answer","content":"piece "}\n\n'
        yield HEAD + b"\r\n" + chunk(STARTED + delta)
        looked_at.wait(60)
        yield chunk(delta + DONE) + chunk(b"")

    with ScriptedCoze(answer) as coze:
        service = start(COZE_API_BASE=coze.url)
        first = begin(service, CONTINUE, 2)
        answer_id = first[0].data["answer_id"]
        data = service.http.get(f"{ANSWERS}/{answer_id}").json()["data"]
        assert (data["status"], data["answer_id"]) == ("in_progress", answer_id)
        assert data["chat_id"] == first[0].data["chat_id"]
        looked_at.set()
        rest = again(service, first[-1].id)
    data = service.http.get(f"{ANSWERS}/{answer_id}").json()["data"]
    assert (data["status"], data["content"]) == ("completed", whole(first + rest))
    assert data["last_event"] == len(first + rest)
    assert data["conversation_id"] == first[0].data["conversation_id"]


def test_stopping_is_told_to_whoever_follows(service: Service, upstream: Upstream, bots: dict[str, str]) -> None:
    first = begin(service, {**CONTINUE, "bot_id": bots["for-ever"]}, 3)
    answer_id = first[0].data["answer_id"]
    with ThreadPoolExecutor(2) as pool:
        followers = [pool.submit(again, service, first[-1].id) for _ in range(2)]
        wait_until(lambda: service.http.get(f"{ANSWERS}/{answer_id}").json()["data"]["last_event"] > 10)
        assert service.http.post(f"{ANSWERS}/{answer_id}/stop").json()["success"] is True
        for follower in followers:
            *_, error, end = follower.result(30)
            assert (error.data["type"], error.data["code"], end.data) == ("error", "answer_stopped", {"type": "end"})
    assert service.http.post(f"{ANSWERS}/{answer_id}/stop").status_code == 200
    data = service.http.get(f"{ANSWERS}/{answer_id}").json()["data"]
    assert (data["status"], data["error"]) == ("canceled", "answer_stopped")
    wait_until(lambda: upstream.state(1)["chats"][-1]["cancel_calls"] == 1)


def test_a_question_behind_a_stop_is_answered(service: Service, bots: dict[str, str]) -> None:
    """Coze refuses it until it has ended the chat before."""
    question = {**CONTINUE, "bot_id": bots["for-ever"]}
    for _ in range(3):
        first = begin(service, question, 3)
        question["conversation_id"] = first[0].data["conversation_id"]
        assert service.http.post(f"{ANSWERS}/{first[0].data['answer_id']}/stop").json()["success"] is True
        assert service.chat("And?", conversation_id=question["conversation_id"]).status_code == 200


def test_all_answers_have_a_bound(start: Start, bots: dict[str, str]) -> None:
    service = start(*changed(answers=2, answers_bytes=100_000))
    assert begin(service, {**CONTINUE, "user_id": "a"}, 10**9)
    big = {**CONTINUE, "bot_id": bots["load"], "messages": [{"role": "user", "content": "n=20 d=0 size=10000"}]}
    found = begin(service, {**big, "user_id": "b"}, 10**9)
    assert len(whole(found)) == 200_000, "one that is taken is never cut"
    answers = [service.http.post("/api/v1/chat", json={**CONTINUE, "user_id": "c"})]
    service = start(*changed(answers=1))
    assert begin(service, CONTINUE, 10**9)
    answers.append(service.http.post("/api/v1/chat", json=CONTINUE))
    for answer in answers:
        assert_error(answer, 503)
    assert service.chat().status_code == 200


@pytest.fixture(scope="module")
def brief(start: Start) -> Service:
    """A service that does not keep an answer for long."""
    return start(*changed(answers_clean_seconds=0.1), ANSWER_IDLE_SECONDS="1")


def test_what_nobody_follows_is_stopped_and_then_forgotten(
    brief: Service, upstream: Upstream, bots: dict[str, str]
) -> None:
    answer_id = begin(brief, {**CONTINUE, "bot_id": bots["for-ever"]}, 3)[0].data["answer_id"]
    wait_until(lambda: upstream.state(1)["chats"][-1]["cancel_calls"] == 1)
    wait_until(lambda: brief.http.get(f"{ANSWERS}/{answer_id}").status_code == 404)
    assert_error(brief.http.get(f"{ANSWERS}/{answer_id}/events"), 404)
    gone = brief.http.post("/api/v1/chat", json=CONTINUE, headers={"Last-Event-ID": f"{answer_id}.3"})
    assert assert_error(gone, 404) == "The answer does not exist, or is not kept any more."
    lines = [line for line in brief.lines() if line["event"] == "answer"]
    assert lines[-1]["outcome"] == "left"


def test_who_waits_for_the_first_event_follows_too(brief: Service, upstream: Upstream) -> None:
    upstream.set(fail={"/v3/chat": {"kind": "slow", "seconds": 3}})
    try:
        assert whole(begin(brief, CONTINUE, 10**9))
    finally:
        upstream.set(fail={})


def test_a_user_has_few_at_once(start: Start, bots: dict[str, str]) -> None:
    # However long the test takes, what nobody follows meanwhile is not stopped.
    service = start(*changed(answers_of_a_user=2))
    running = [begin(service, {**CONTINUE, "bot_id": bots["for-ever"], "user_id": "many"}, 3) for _ in range(2)]
    full = service.http.post("/api/v1/chat", json={**CONTINUE, "user_id": "many"})
    assert_error(full, 429)
    assert full.headers["retry-after"]
    assert begin(service, {**CONTINUE, "user_id": "another"}, 10**9)
    for first in running:
        service.http.post(f"{ANSWERS}/{first[0].data['answer_id']}/stop")
    wait_until(lambda: service.http.post("/api/v1/chat", json={**CONTINUE, "user_id": "many"}).status_code == 200)


# The same question twice


def test_a_key_asks_once(service: Service, upstream: Upstream, bots: dict[str, str]) -> None:
    """Also while the first has not named its answer, and after it has ended; as a stream or whole."""
    before = asked(upstream)
    body = {**slow(bots, 50), "on_disconnect": None}
    headers = {"Idempotency-Key": f"key-{before}"}
    with ThreadPoolExecutor(4) as pool:
        answers = [
            pool.submit(service.http.post, "/api/v1/chat", json=body, headers=headers, timeout=30) for _ in range(4)
        ]
        texts = {whole(events(answer.result().text)) for answer in answers}
    assert len(texts) == 1
    assert whole(events(service.http.post("/api/v1/chat", json=body, headers=headers).text)) in texts
    assert asked(upstream) == before + 1
    assert_error(
        service.http.post("/api/v1/chat", json={**body, "user_id": "u"} | {"stream": None}, headers=headers), 400
    )
    other = service.http.post("/api/v1/chat", json={**body, "user_id": "another user"}, headers=headers)
    assert other.status_code == 200
    assert asked(upstream) == before + 2


def test_a_key_repeats_a_failure(service: Service, upstream: Upstream, bots: dict[str, str]) -> None:
    before = asked(upstream)
    body, headers = {**QUESTION, "bot_id": bots["code-4016"]}, {"Idempotency-Key": f"failing-{before}"}
    said = {assert_error(service.http.post("/api/v1/chat", json=body, headers=headers), 429) for _ in range(3)}
    assert len(said) == 1
    assert asked(upstream) == before + 1


@pytest.mark.parametrize("key", ["", "a b", "x" * 129, "é".encode()], ids=repr)
def test_what_is_no_key(service: Service, key: str | bytes) -> None:
    headers = {b"Idempotency-Key": key if isinstance(key, bytes) else key.encode()}
    assert_error(service.http.post("/api/v1/chat", json=QUESTION, headers=headers), 400)


@pytest.mark.parametrize(("other", "status"), [("the-same", 200), ("another", 400)])
def test_two_keys(service: Service, other: str, status: int) -> None:
    headers = [("Idempotency-Key", "the-same"), ("Idempotency-Key", other)]
    assert service.http.post("/api/v1/chat", json=QUESTION, headers=headers).status_code == status


def test_as_json(service: Service, upstream: Upstream, bots: dict[str, str]) -> None:
    """One who leaves before a whole answer is there finds it later."""
    before = asked(upstream)
    body = {**slow(bots, 50), "stream": False}
    headers = {"Idempotency-Key": f"json-{before}"}
    with asking(service.address, body, **headers):
        wait_until(lambda: asked(upstream) == before + 1)
    answer = service.http.post("/api/v1/chat", json=body, headers=headers)
    assert len(answer.json()["data"]["content"]) == 500
    answer_id = answer.headers["answer-id"]
    assert service.http.get(f"{ANSWERS}/{answer_id}").json()["data"]["content"] == answer.json()["data"]["content"]
    assert asked(upstream) == before + 1


# Whose it is


def test_an_answer_is_its_user_s(service: Service) -> None:
    ann, bob = visitor(service.http), visitor(service.http)
    body = {name: value for name, value in CONTINUE.items() if name != "user_id"}
    first = begin(service, body, 10**9, ann)
    answer_id = first[0].data["answer_id"]
    path = f"{ANSWERS}/{answer_id}"
    for headers in (bob, {}):
        unknown = assert_error(service.http.get(f"{ANSWERS}/{'x' * 24}", headers=headers), 404)
        assert assert_error(service.http.get(path, headers=headers), 404) == unknown
        assert_error(service.http.get(f"{path}/events", headers=headers), 404)
        assert_error(service.http.post(f"{path}/stop", headers=headers), 404)
        resumed = service.http.post(
            "/api/v1/chat",
            json=CONTINUE if not headers else body,
            headers={**headers, "Last-Event-ID": f"{answer_id}.1"},
        )
        assert_error(resumed, 404)
    assert service.http.get(path, headers=ann).json()["data"]["status"] == "completed"
    assert service.http.get(f"{path}/events", headers=ann).status_code == 200


# Others


def test_with_several_workers_an_answer_ends_with_its_connection(start: Start) -> None:
    service = start(WORKERS="2")
    said = assert_error(service.http.post("/api/v1/chat", json=CONTINUE), 503, retry=False)
    assert "WORKERS" in said
    assert service.chat().status_code == 200


def test_a_stop_of_the_service_tells_followers(start: Start, upstream: Upstream, bots: dict[str, str]) -> None:
    service = start(SHUTDOWN_GRACE="0")
    first = begin(service, {**CONTINUE, "bot_id": bots["for-ever"]}, 3)
    alone = begin(service, {**CONTINUE, "bot_id": bots["for-ever"]}, 3)
    path, last = f"{ANSWERS}/{first[0].data['answer_id']}/events", {"Last-Event-ID": first[-1].id}
    with service.http.stream("GET", path, headers=last) as follower:
        assert service.stop() == 0
        *_, error, end = read(follower)
    assert (error.data["code"], end.data["type"]) == ("service_stopping", "end")
    ours = {first[0].data["chat_id"], alone[0].data["chat_id"]}
    wait_until(lambda: all(chat["cancel_calls"] for chat in upstream.state()["chats"] if chat["id"] in ours))
    lines = [line for line in service.lines() if line["event"] == "answer"]
    assert [line.get("cause") for line in lines] == ["the service stopped"] * 2


def test_what_ends_within_the_grace_is_whole_at_coze(start: Start, upstream: Upstream, bots: dict[str, str]) -> None:
    """Though nobody follows it."""
    service = start(SHUTDOWN_GRACE="60")
    found = begin(service, slow(bots, 20, 0.05), 3)
    assert service.stop() == 0
    (chat,) = [chat for chat in upstream.state()["chats"] if chat["id"] == found[0].data["chat_id"]]
    assert (chat["status"], chat["cancel_calls"]) == ("completed", 0)
    (line,) = [line for line in service.lines() if line["event"] == "answer"]
    assert line.get("cause") is None


def test_a_slow_follower_holds_up_nobody(service: Service, upstream: Upstream, bots: dict[str, str]) -> None:
    body = {**CONTINUE, "bot_id": bots["load"], "messages": [{"role": "user", "content": "n=3000 d=0 size=1000"}]}
    with (
        httpx.Client(base_url=service.url, timeout=60) as client,
        client.stream("POST", "/api/v1/chat", json=body) as one,
    ):
        pieces = one.iter_text()
        text = next(pieces)
        answer_id = one.headers["answer-id"]
        quick = events(service.http.get(f"{ANSWERS}/{answer_id}/events").text)
        assert len(whole(quick)) == 3_000_000
        assert whole(events(text + "".join(pieces))) == whole(quick)


def test_many_followers_of_one_answer(service: Service, upstream: Upstream, bots: dict[str, str]) -> None:
    before = asked(upstream)
    answer_id = begin(service, slow(bots, 100, 0.02), 3)[0].data["answer_id"]

    async def follow_all() -> list[str]:
        limits = httpx.Limits(max_connections=300)
        async with httpx.AsyncClient(base_url=service.url, timeout=60, limits=limits) as client:
            paths = itertools.repeat(f"{ANSWERS}/{answer_id}/events", 200)
            return [answer.text for answer in await asyncio.gather(*(client.get(path) for path in paths))]

    texts = asyncio.run(follow_all())
    assert {whole(events(text)) for text in texts} == {whole(events(texts[0]))}
    assert asked(upstream) == before + 1
