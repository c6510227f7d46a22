"""Answers on a real Valkey server: followed, stopped and gone on with by any process on any machine."""

import contextlib
import itertools
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pytest
import valkey
from conftest import Service, Start, Upstream, ValkeyServer, changed, wait_until
from envelope import assert_error
from operations import visitor
from test_answers import ANSWERS, CONTINUE, QUESTION, Event, again, asked, begin, events, read, slow, whole

from service.bounds import BOUNDS

# Such that one process is quickly missed, and goes on with answers in several steps.
QUICK = changed(
    answers_beat_seconds=0.5,
    answers_lease_seconds=2,
    answers_claimed=2,
    answers_sent_bytes=300,
    answers_read_seconds=0.001,
    recall_seconds=0.2,
    recall_longest_seconds=1,
    recall_attempts=3,
)
AWAY = "the store of the answers does not answer"
BACK = "the store of the answers answers again"


@pytest.fixture(scope="module")
def machines(valkey_server: ValkeyServer, start: Start) -> tuple[Service, Service]:
    """Two of which neither misses the other, however long it stands still."""
    calm = [*QUICK, *changed(answers_lease_seconds=3600)]
    return start(*calm, STORE=f"{valkey_server.uri()}/15"), start(*calm, STORE=f"{valkey_server.uri('redis')}/15")


@pytest.fixture(scope="module")
def quick_machines(valkey_server: ValkeyServer, start: Start) -> tuple[Service, Service]:
    """Two that soon go on with what another has left, and that nobody kills."""
    return start(*QUICK, STORE=valkey_server.uri()), start(*QUICK, STORE=valkey_server.uri("redis"))


NUMBERS = itertools.count(1)


@pytest.fixture
def store(valkey_server: ValkeyServer) -> str:
    """A part of the server that no other test's machines see."""
    return f"{valkey_server.uri()}/{next(NUMBERS)}"


def keys(store: str) -> list[bytes]:
    """The names of the keys that answers have there."""
    with valkey.Valkey.from_url(store) as client:
        return list(client.scan_iter("coze-service:answer*"))


def answer_id_of(found: list[Event]) -> str:
    return str(found[0].data["answer_id"])


def texts(found: list[Event]) -> dict[str, str]:
    """All texts of an answer, by the types of their events."""
    said: dict[str, str] = {}
    for event in found:
        kind = event.data["type"]
        said[kind] = said.get(kind, "") + event.data.get("content", "")
    return said


def logged(service: Service, event: str) -> int:
    return sum(line["event"] == event for line in service.lines())


def follow(service: Service, seen: list[Event], seconds: float = 60) -> list[Event]:
    """What comes behind the events seen, over as many connections as it takes."""
    found = list(seen)
    end = time.monotonic() + seconds
    while not found or found[-1].data["type"] != "end":
        assert time.monotonic() < end, "the answer has no end"
        with contextlib.suppress(httpx.TransportError):
            found += again(service, found[-1].id)
    return found


def on_one_connection(service: Service, seen: list[Event]) -> list[Event]:
    """What comes behind the events seen until the connection ends; nothing if the service is gone before."""
    with contextlib.suppress(httpx.TransportError):
        if seen[-1].data["type"] != "end":
            return again(service, seen[-1].id)
    return []


def test_followed_on_another_machine(
    machines: tuple[Service, Service], upstream: Upstream, bots: dict[str, str]
) -> None:
    one, other = machines
    before = asked(upstream)
    found = begin(one, slow(bots), 20)
    turn = 0
    while found[-1].data["type"] != "end":
        found += again(machines[turn := 1 - turn], found[-1].id, 30)
    text = whole(found)
    assert len(text) == 2000
    assert asked(upstream) == before + 1
    path = f"{ANSWERS}/{answer_id_of(found)}"
    assert whole(events(other.http.get(f"{path}/events").text)) == text
    said = [machine.http.get(path).json()["data"] for machine in machines]
    assert said[0] == said[1]
    assert (said[0]["status"], said[0]["content"], said[0]["last_event"]) == ("completed", text, len(found))
    for machine in machines:
        assert machine.http.get(f"{path}/events", headers={"Last-Event-ID": found[-1].id}).status_code == 204


def test_one_machine_s_failures_are_the_other_s(
    machines: tuple[Service, Service], upstream: Upstream, bots: dict[str, str]
) -> None:
    one, other = machines
    before = asked(upstream)
    headers = {"Idempotency-Key": f"failing-{before}"}
    body = {**QUESTION, "bot_id": bots["code-4016"]}
    said = {assert_error(machine.http.post("/api/v1/chat", json=body, headers=headers), 429) for machine in machines}
    assert len(said) == 1
    first = begin(one, {**CONTINUE, "bot_id": bots["error-midway-5000"]}, 10**9)
    path = f"{ANSWERS}/{answer_id_of(first)}"
    assert [event.id for event in events(other.http.get(f"{path}/events").text)] == [event.id for event in first]
    assert other.http.get(path).json() == one.http.get(path).json()
    assert other.http.get(path).json()["data"]["status"] == "failed"


def test_stopped_from_another_machine(
    machines: tuple[Service, Service], upstream: Upstream, bots: dict[str, str]
) -> None:
    one, other = machines
    first = begin(one, {**CONTINUE, "bot_id": bots["for-ever"]}, 3)
    path = f"{ANSWERS}/{answer_id_of(first)}"
    with ThreadPoolExecutor(2) as pool:
        followers = [pool.submit(again, machine, first[-1].id) for machine in machines]
        wait_until(lambda: other.http.get(path).json()["data"]["last_event"] > 10)
        assert other.http.post(f"{path}/stop").status_code == 200
        for follower in followers:
            *_, error, end = follower.result(30)
            assert (error.data["code"], end.data) == ("answer_stopped", {"type": "end"})
    assert other.http.post(f"{path}/stop").status_code == 200
    assert one.http.get(path).json()["data"]["status"] == "canceled"
    wait_until(lambda: upstream.state(1)["chats"][-1]["cancel_calls"] == 1)


def test_a_key_asks_once_on_all_machines(
    machines: tuple[Service, Service], upstream: Upstream, bots: dict[str, str]
) -> None:
    for number in range(5):
        before = asked(upstream)
        body = {**slow(bots, 20), "on_disconnect": None}
        headers = {"Idempotency-Key": f"shared-{before}-{number}"}
        with ThreadPoolExecutor(6) as pool:
            answers = [
                pool.submit(machine.http.post, "/api/v1/chat", json=body, headers=headers) for machine in machines * 3
            ]
            assert len({whole(events(answer.result().text)) for answer in answers}) == 1
        assert asked(upstream) == before + 1
        changed_body = {**body, "messages": [{"role": "user", "content": "another"}]}
        for machine in machines:
            assert_error(machine.http.post("/api/v1/chat", json=changed_body, headers=headers), 400)
            as_json = machine.http.post("/api/v1/chat", json=body, headers=headers)
            assert as_json.headers["answer-id"]


def test_an_answer_is_its_user_s_on_all_machines(machines: tuple[Service, Service]) -> None:
    one, other = machines
    ann, bob = visitor(one.http), visitor(other.http)
    body = {name: value for name, value in CONTINUE.items() if name != "user_id"}
    first = begin(one, body, 10**9, ann)
    path = f"{ANSWERS}/{answer_id_of(first)}"
    for headers in (bob, {}):
        unknown = assert_error(other.http.get(f"{ANSWERS}/{'x' * 24}", headers=headers), 404)
        assert assert_error(other.http.get(path, headers=headers), 404) == unknown
        assert_error(other.http.get(f"{path}/events", headers=headers), 404)
        assert_error(other.http.post(f"{path}/stop", headers=headers), 404)
    assert other.http.get(path, headers=ann).json()["data"]["status"] == "completed"


def test_a_reader_that_sleeps_for_too_long(
    quick_machines: tuple[Service, Service], upstream: Upstream, bots: dict[str, str]
) -> None:
    """Another has gone on meanwhile: it adds nothing more, and does not end the chat that it was reading."""
    sleeping, other = quick_machines
    before, taken_over = asked(upstream), logged(other, "answer taken over")
    first = begin(sleeping, slow(bots, 120, 0.05), 3)
    with ThreadPoolExecutor(2) as pool:
        here, there = (pool.submit(follow, machine, first) for machine in quick_machines)
        wait_until(lambda: other.http.get(f"{ANSWERS}/{answer_id_of(first)}").json()["data"]["last_event"] > 10)
        sleeping.process.send_signal(signal.SIGSTOP)
        wait_until(lambda: logged(other, "answer taken over") > taken_over)
        sleeping.process.send_signal(signal.SIGCONT)
        assert len(whole(here.result(60))) == len(whole(there.result(60))) == 1200
    assert asked(upstream) == before + 1
    chat = upstream.state(1)["chats"][-1]
    assert (chat["status"], chat["cancel_calls"]) == ("completed", 0)


def test_a_reader_is_killed(
    valkey_server: ValkeyServer,
    quick_machines: tuple[Service, Service],
    start: Start,
    upstream: Upstream,
    bots: dict[str, str],
) -> None:
    """At a random point of several answers, while some follow elsewhere and others have to come back."""
    other = quick_machines[0]
    upstream.set(delta_seconds=0.05)
    try:
        for _ in range(2):
            reader = start(*QUICK, STORE=valkey_server.uri())
            before = asked(upstream)
            bodies = [slow(bots, 60, 0.05), slow(bots, 40, 0.1)]
            bodies += [{**CONTINUE, "bot_id": bots[name]} for name in ("reasoning", "two-answers", "default")]
            plain = [texts(begin(other, body, 10**9)) for body in bodies]
            with ThreadPoolExecutor(10) as pool:
                firsts = [begin(reader, body, random.randint(1, 5)) for body in bodies]
                elsewhere = [pool.submit(follow, other, first) for first in firsts]
                cut = [pool.submit(on_one_connection, reader, first) for first in firsts]
                time.sleep(random.random())
                reader.process.kill()
                reader.process.wait()
                found = [one.result(60) for one in elsewhere]
                came_back = [follow(other, first + one.result(60)) for first, one in zip(firsts, cut, strict=True)]
            for here, there, whole_one in zip(found, came_back, plain, strict=True):
                assert whole(here) == whole(there)
                assert texts(here) == texts(there) == whole_one
            assert asked(upstream) == before + 2 * len(bodies)
    finally:
        upstream.set(delta_seconds=0)
    chats = upstream.state(10)["chats"]
    assert [(chat["status"], chat["cancel_calls"]) for chat in chats] == [("completed", 0)] * 10


def test_a_reader_that_leaves_hands_its_answers_over(
    store: str, start: Start, upstream: Upstream, bots: dict[str, str]
) -> None:
    """With what does not end within the grace another process goes on."""
    leaving, other = start(STORE=store, SHUTDOWN_GRACE="0"), start(*QUICK, STORE=store)
    before = asked(upstream)
    long = begin(leaving, slow(bots, 200, 0.02), 3)
    alone = begin(leaving, slow(bots, 200, 0.02), 3)
    path, last = f"{ANSWERS}/{answer_id_of(long)}/events", {"Last-Event-ID": long[-1].id}
    with ThreadPoolExecutor(1) as pool, leaving.http.stream("GET", path, headers=last) as cut:
        elsewhere = pool.submit(follow, other, long)
        assert leaving.stop() == 0
        seen = long + read(cut)
        assert seen[-1].data["type"] == "message_delta"
        assert len(whole(elsewhere.result(60))) == len(whole(follow(other, seen))) == 2000
    assert len(whole(follow(other, alone))) == 2000
    assert asked(upstream) == before + 2
    assert [(chat["status"], chat["cancel_calls"]) for chat in upstream.state(2)["chats"]] == [("completed", 0)] * 2
    assert logged(leaving, "answer handed over") == 2
    assert logged(other, "answer taken over") == 2


def test_what_ends_within_the_grace_is_not_handed_over(
    store: str, start: Start, upstream: Upstream, bots: dict[str, str]
) -> None:
    leaving, other = start(STORE=store, SHUTDOWN_GRACE="60"), start(*QUICK, STORE=store)
    before = asked(upstream)
    short = begin(leaving, slow(bots, 30, 0.02), 3)
    assert leaving.stop() == 0
    assert len(whole(follow(other, short))) == 300
    assert asked(upstream) == before + 1
    assert [(chat["status"], chat["cancel_calls"]) for chat in upstream.state(1)["chats"]] == [("completed", 0)]
    assert logged(leaving, "answer handed over") == logged(other, "answer taken over") == 0


def test_a_reader_is_killed_before_coze_has_named_the_chat(
    valkey_server: ValkeyServer, quick_machines: tuple[Service, Service], start: Start, upstream: Upstream
) -> None:
    """Nobody has had anything of the answer, and nobody can find it: the key asks again."""
    other = quick_machines[0]
    reader = start(*QUICK, STORE=valkey_server.uri())
    before = asked(upstream)
    headers = {"Idempotency-Key": f"nameless-{before}"}
    upstream.set(fail={"/v3/chat": {"kind": "slow", "seconds": 30}})
    try:
        with ThreadPoolExecutor(1) as pool:
            lost = pool.submit(httpx.post, f"{reader.url}/api/v1/chat", json=CONTINUE, headers=headers, timeout=60)
            wait_until(lambda: asked(upstream) == before + 1)
            reader.process.kill()
            reader.process.wait()
            assert isinstance(lost.exception(30), httpx.TransportError)
    finally:
        upstream.set(fail={})
    told = other.http.post("/api/v1/chat", json=CONTINUE, headers=headers)
    assert_error(told, 503)
    assert told.json()["code"] == "answer_lost"
    repeated = [machine.http.post("/api/v1/chat", json=CONTINUE, headers=headers) for machine in quick_machines]
    assert len({whole(events(answer.text)) for answer in repeated}) == 1
    assert asked(upstream) == before + 2


def test_a_restart_of_the_workers_loses_nothing(
    store: str, start: Start, upstream: Upstream, bots: dict[str, str]
) -> None:
    service = start(*QUICK, STORE=store, WORKERS="2", SHUTDOWN_GRACE="1")
    before = asked(upstream)
    found = [begin(service, slow(bots, 250, 0.02), 3) for _ in range(6)]
    workers = {process.pid for process in psutil.Process(service.process.pid).children()}
    with ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(follow, service, seen) for seen in found]
        service.process.send_signal(signal.SIGHUP)
        assert {len(whole(answer.result(60))) for answer in answers} == {2500}
    assert asked(upstream) == before + 6
    wait_until(lambda: not workers & {process.pid for process in psutil.Process(service.process.pid).children()}, 60)
    # Nor does a stop of all and another start.
    first = begin(service, slow(bots, 150, 0.02), 3)
    assert service.stop() == 0
    assert len(whole(follow(start(*QUICK, STORE=store), first))) == 1500
    assert asked(upstream) == before + 7


def test_a_store_that_goes_away_and_comes_back(start: Start, upstream: Upstream, bots: dict[str, str]) -> None:
    """Whoever follows where Coze is read goes on; the others wait, and miss nothing. The store has lost its memory."""
    server = ValkeyServer()
    server.start()
    try:
        reader, other = start(STORE=server.uri()), start(STORE=server.uri())
        first = begin(reader, slow(bots, 300, 0.03), 5)
        path = f"{ANSWERS}/{answer_id_of(first)}"
        with ThreadPoolExecutor(2) as pool:
            here, there = (pool.submit(follow, machine, first) for machine in (reader, other))
            wait_until(lambda: other.http.get(path).json()["data"]["last_event"] > 20)
            server.kill()
            wait_until(lambda: logged(reader, AWAY) and logged(other, AWAY))
            for machine in (reader, other):
                refused = machine.http.post("/api/v1/chat", json=CONTINUE)
                assert_error(refused, 503)
                assert refused.headers["retry-after"]
                assert machine.chat().status_code == 200
            assert_error(other.http.get(f"{ANSWERS}/{'x' * 24}"), 503)
            last = reader.http.get(path).json()["data"]["last_event"]
            wait_until(lambda: reader.http.get(path).json()["data"]["last_event"] > last + 10)
            server.start()
            assert len(whole(here.result(60))) == len(whole(there.result(60))) == 3000
        wait_until(lambda: logged(reader, BACK) and logged(other, BACK))
        for machine in (reader, other):
            assert machine.http.get(path).json()["data"]["status"] == "completed"
            assert len(whole(begin(machine, CONTINUE, 10**9))) > 10
            assert not [line for line in machine.lines() if line["level"] == "error"]
    finally:
        server.kill()
        server.client.connection_pool.disconnect()


def test_what_a_slow_store_creates_too_late_is_given_up(start: Start, upstream: Upstream) -> None:
    """It does what it was asked for once it comes round. Nobody reads such an answer, and it would be in progress."""
    with ValkeyServer() as server:
        service = start(*QUICK, *changed(store_seconds=0.5), STORE=server.uri())
        bodies = [{**CONTINUE, "user_id": f"u{number}"} for number in range(30)]
        with ThreadPoolExecutor(len(bodies)) as pool:

            def all_answered() -> bool:
                answers = list(pool.map(lambda body: service.http.post("/api/v1/chat", json=body), bodies))
                return {answer.status_code for answer in answers} == {200}

            # Only what has a connection already is sent. Half a second may be too short for so many at once.
            wait_until(all_answered)
            before = asked(upstream)
            server.process.send_signal(signal.SIGSTOP)
            try:
                tries = [CONTINUE] * BOUNDS.answers_of_a_user
                for refused in pool.map(lambda body: service.http.post("/api/v1/chat", json=body), tries):
                    assert_error(refused, 503)
            finally:
                server.process.send_signal(signal.SIGCONT)
        wait_until(lambda: service.http.post("/api/v1/chat", json=CONTINUE).status_code == 200)
        assert asked(upstream) == before + 1
        wait_until(lambda: not server.client.keys("coze-service:answers-of:*"))
        assert not [line for line in service.lines() if line["level"] == "error"]


def test_what_nobody_follows_on_any_machine_is_cancelled_and_leaves_nothing(
    store: str, start: Start, upstream: Upstream, bots: dict[str, str]
) -> None:
    short = changed(answers_clean_seconds=0.2, answers_of_a_user=1000)
    env = {"STORE": store, "ANSWER_IDLE_SECONDS": "2"}
    one, other = start(*short, **env), start(*short, **env)
    upstream.reset()
    body = {**CONTINUE, "bot_id": bots["for-ever"]}
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(httpx.Client(timeout=60))
        with client.stream("POST", f"{one.url}/api/v1/chat", json=body) as first:
            answer_id = first.headers["answer-id"]
            # Somebody is there all the time, however long it takes to come.
            stream = stack.enter_context(client.stream("GET", f"{other.url}{ANSWERS}/{answer_id}/events"))
        pieces = stream.iter_text()
        for _ in range(50):  # five seconds, with nobody on the machine that reads Coze
            next(pieces)
        assert one.http.get(f"{ANSWERS}/{answer_id}").json()["data"]["status"] == "in_progress"
        others = [begin(one, body, 3) for _ in range(20)]
        wait_until(lambda: sum(chat["cancel_calls"] for chat in upstream.state()["chats"]) == len(others))
        assert one.http.get(f"{ANSWERS}/{answer_id}").json()["data"]["status"] == "in_progress"
    wait_until(lambda: sum(chat["cancel_calls"] for chat in upstream.state()["chats"]) == 1 + len(others))
    path = f"{ANSWERS}/{answer_id}"
    wait_until(lambda: {machine.http.get(path).status_code for machine in (one, other)} == {404})
    for machine in (one, other):
        assert machine.stop() == 0
    wait_until(lambda: not keys(store))
