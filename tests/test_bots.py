"""The bots that are served: those of BOTS and the default one, by name or id, and what is told of them."""

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpx
import psutil
import pytest
from conftest import BOT, Service, Start, Upstream, changed, events_of, http, wait_until
from envelope import assert_error
from scripted_coze import ScriptedCoze, sized

from service import sandbox
from service.sandbox import CANARY

PROFILES = "GET /v1/bots/{id}"
DELETED = "7000000000000000000"


@pytest.fixture(autouse=True)
def fresh(upstream: Upstream) -> None:
    upstream.reset()
    upstream.set(delta_seconds=0)


@pytest.fixture(scope="module")
def named(start: Start, bots: dict[str, str]) -> Service:
    """A service with two bots that have names, and the default one, which has none."""
    return start(BOTS=f"helper:{bots['variables']},asker:{bots['asks-as-studio']}")


def test_a_bot_is_asked_by_its_name_or_its_id(named: Service, upstream: Upstream, bots: dict[str, str]) -> None:
    for asked, bot_id in (("helper", bots["variables"]), (bots["variables"], bots["variables"]), (BOT, BOT)):
        answer = named.chat(bot=asked)
        assert answer.status_code == 200, answer.text
        assert answer.json()["data"]["bot_id"] == bot_id
        assert events_of(named.chat(bot=asked, stream=True).text)[-2]["type"] == "chat_completed"
        assert [chat["bot_id"] for chat in upstream.state()["chats"][-2:]] == [bot_id] * 2
    assert named.chat().json()["data"]["bot_id"] == BOT


def test_any_other_bot_is_not_there_and_coze_is_not_asked(
    named: Service, upstream: Upstream, bots: dict[str, str]
) -> None:
    before = upstream.state()["chats"]
    for other in (bots["for-ever"], "7000000000000000000", "Helper", "helper ", "default"):
        for stream in (False, True):
            answer = named.chat(bot=other, stream=stream)
            assert_error(answer, 404)
            assert answer.json()["code"] == "bot_not_found"
    assert upstream.state()["chats"] == before


def test_without_a_default_bot_one_must_be_named(start: Start, bots: dict[str, str]) -> None:
    service = start(BOTS=f"helper:{bots['variables']}", COZE_BOT_ID="")
    assert_error(service.chat(), 400)
    assert_error(service.chat(bot=BOT), 404)
    assert service.chat(bot="helper").status_code == 200


def test_without_bots_any_bot_is_asked(service: Service, bots: dict[str, str]) -> None:
    assert service.chat(bot=bots["variables"]).status_code == 200


@pytest.fixture(scope="module")
def forgetful(start: Start) -> Service:
    """A service without names that asks Coze each time."""
    return start(*changed(bot_fresh_seconds=0, bot_retry_seconds=0, bot_wait_seconds=30))


def asked(upstream: Upstream) -> int:
    """How often Coze was asked what a bot is."""
    return int(upstream.state()["requests"].get(PROFILES, 0))


def bots_of(service: Service) -> list[dict[str, Any]]:
    answer = service.http.get("/api/v1/bots")
    assert answer.status_code == 200, answer.text
    data: list[dict[str, Any]] = answer.json()["data"]
    return data


def details_of(service: Service, bot: str = BOT) -> dict[str, Any]:
    answer = service.http.get(f"/api/v1/bots/{bot}")
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


def test_the_list_has_each_bot_once(start: Start, upstream: Upstream, bots: dict[str, str]) -> None:
    helper = bots["variables"]
    service = start(BOTS=f"helper:{helper},gone:{DELETED},too:{helper}")
    found = bots_of(service)
    assert [(bot["bot_id"], bot["name"], bot["title"], bot["is_default"]) for bot in found] == [
        (helper, "helper", "variables", False),
        (DELETED, "gone", None, False),
        (BOT, None, "Sandbox bot", True),
    ]
    assert found[0]["description"] == "Says its custom_variables and parameters."
    assert found[0]["icon_url"].startswith(f"{upstream.url}/sandbox/icon.svg?")
    assert (found[1]["description"], found[1]["icon_url"]) == ("", "")
    assert all(bot.keys() == {"bot_id", "name", "title", "description", "icon_url", "is_default"} for bot in found)
    assert details_of(service, "too") == details_of(service, "helper")
    (line,) = [line for line in service.lines() if line["event"] == "bot not described"]
    assert (line["bot_id"], line["code"]) == (DELETED, 4006)
    # All of this is kept.
    assert asked(upstream) == 3


def test_the_default_bot_may_have_a_name(start: Start) -> None:
    (only,) = bots_of(start(BOTS=f"main:{BOT}"))
    assert (only["name"], only["is_default"]) == ("main", True)


def test_without_names_the_default_bot_is_the_list(start: Start, forgetful: Service, upstream: Upstream) -> None:
    (only,) = bots_of(forgetful)
    assert (only["bot_id"], only["name"], only["title"], only["is_default"]) == (BOT, None, "Sandbox bot", True)
    upstream.reset()
    assert bots_of(start(COZE_BOT_ID="")) == []
    assert asked(upstream) == 0


def test_a_bot_says_how_it_opens(named: Service, bots: dict[str, str]) -> None:
    by_name, by_id = details_of(named, "helper"), details_of(named, bots["variables"])
    assert by_name == by_id
    assert by_name["prologue"].startswith("您好！我是扣子沙盒里的智能体。")
    assert by_name["suggested_questions"] == ["Who are you?", "Help", "您是谁？", "帮助"]
    opening = {"prologue", "suggested_questions"}
    assert {name: value for name, value in by_name.items() if name not in opening} in bots_of(named)


def test_a_bot_that_is_not_served_is_not_there_and_coze_is_not_asked(
    named: Service, upstream: Upstream, bots: dict[str, str]
) -> None:
    for other in (bots["for-ever"], DELETED, "Helper", "helper%20", "default", "%2e%2e", "a%2fb", "%00", "x" * 5000):
        answer = named.http.get(f"/api/v1/bots/{other}")
        assert_error(answer, 404)
    assert answer.json()["code"] == "bot_not_found"
    assert asked(upstream) == 0


def test_without_names_any_number_is_asked_for_and_nothing_else(
    forgetful: Service, upstream: Upstream, bots: dict[str, str]
) -> None:
    found = details_of(forgetful, bots["variables"])
    assert (found["name"], found["title"], found["is_default"]) == (None, "variables", False)
    assert assert_error(forgetful.http.get(f"/api/v1/bots/{DELETED}"), 404) == (
        "The bot does not exist or belongs to another account."
    )
    assert asked(upstream) == 2
    odd = ("x", "-1", "1e5", "1.0", "%EF%BC%91", "1%0a", "9" * 19, "9" * 200, "1%2f..%2f..%2fv3%2fchat", "1%3fx=y")
    for other in odd:
        assert_error(forgetful.http.get(f"/api/v1/bots/{other}"), 404)
    assert asked(upstream) == 2
    assert upstream.state()["requests"].keys() == {PROFILES}


def test_the_operators_id_stays_one_part_of_the_path(start: Start, upstream: Upstream) -> None:
    service = start(COZE_BOT_ID="1/../../users/me?x=y#z")
    (only,) = bots_of(service)
    assert only["title"] is None
    assert upstream.state()["requests"] == {PROFILES: 1}


def test_an_unpublished_bot_says_so(forgetful: Service, bots: dict[str, str]) -> None:
    answer = forgetful.http.get(f"/api/v1/bots/{bots['code-4015']}")
    assert assert_error(answer, 400) == "The bot is not published for use through the API."


def at_once(*calls: Callable[[], httpx.Response]) -> list[httpx.Response]:
    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(lambda call: call(), calls))


def test_many_callers_make_one_call_also_if_it_fails(start: Start, upstream: Upstream, bots: dict[str, str]) -> None:
    bounds = changed(bot_fresh_seconds=0, bot_retry_seconds=0)

    def answers_of(service: Service) -> list[httpx.Response]:
        paths = ("bots", f"bots/{BOT}", f"bots/{bots['variables']}")
        return at_once(*(partial(http.get, f"{service.url}/api/v1/{path}") for path in paths for _ in range(8)))

    # Nothing is kept as yet.
    upstream.set(fail={PROFILES: {"kind": "hang"}})
    answers = answers_of(start(*bounds, COZE_REQUEST_TIMEOUT="3"))
    assert {answer.status_code for answer in answers} == {503}
    assert asked(upstream) == 2
    # As slow as this, no call is given up.
    upstream.set(fail={PROFILES: {"kind": "slow", "seconds": 2}})
    answers = answers_of(start(*bounds))
    assert {answer.status_code for answer in answers} == {200}
    assert asked(upstream) == 4


def test_of_many_bots_few_are_asked_for_at_once(start: Start, upstream: Upstream, bots: dict[str, str]) -> None:
    many = [f"{name}:{bot_id}" for name, bot_id in bots.items()][:8]
    service = start(*changed(bots_at_once=3), BOTS=",".join(many))
    upstream.set(fail={PROFILES: {"kind": "hang"}})
    with socket.create_connection(service.address) as connection:
        connection.sendall(b"GET /api/v1/bots HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: asked(upstream) >= 3)
        assert asked(upstream) == 3
    # It would go on to ask for the others while the next tests count.
    service.process.kill()
    service.process.wait()


def test_who_leaves_ends_it_for_nobody_else(start: Start) -> None:
    left = threading.Event()

    def answer(_: bytes) -> Iterator[bytes]:
        left.wait(60)
        yield sized(b'{"code":0,"msg":"","data":{"bot_id":"%b","name":"A bot"}}' % BOT.encode())

    with ScriptedCoze(answer) as coze, ThreadPoolExecutor(1) as pool:
        service = start(COZE_API_BASE=coze.url)

        def callers() -> int:
            connections = psutil.Process(service.process.pid).net_connections()
            return sum(bool(one.raddr) and one.laddr.port == service.address[1] for one in connections)

        with socket.create_connection(service.address) as leaver:
            leaver.sendall(b"GET /api/v1/bots HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_until(lambda: coze.requests)
            stays = pool.submit(http.get, f"{service.url}/api/v1/bots/{BOT}")
            wait_until(lambda: callers() == 2)
        wait_until(lambda: callers() == 1)
        left.set()
        assert stays.result().json()["data"]["title"] == "A bot"
        assert len(coze.requests) == 1


def test_while_coze_is_away_the_last_answer_is_served_on(start: Start, upstream: Upstream) -> None:
    service = start(*changed(bot_fresh_seconds=0, bot_retry_seconds=0, bot_wait_seconds=0.3))
    paths = ("/api/v1/bots", f"/api/v1/bots/{BOT}")

    def failures() -> int:
        return [line["event"] for line in service.lines()].count("bot not described")

    before = [service.http.get(path) for path in paths]
    # The last one would hold up its callers for as long as COZE_REQUEST_TIMEOUT says.
    for fault in ("html502", "close", "empty", "not_json", "hang"):
        said = failures()
        upstream.set(fail={PROFILES: {"kind": fault}})
        for path, old in zip(paths, before, strict=True):
            answer = service.http.get(path, timeout=10)
            assert (answer.status_code, answer.content) == (200, old.content), fault
            assert answer.headers["etag"] == old.headers["etag"]
        # Whoever has the last answer may have it before Coze has failed.
        wait_until(lambda: fault == "hang" or failures() > said)  # noqa: B023


def test_what_changed_at_coze_is_told(forgetful: Service, upstream: Upstream) -> None:
    before = forgetful.http.get("/api/v1/bots")
    upstream.set(bots={BOT: {"name": "Another"}})
    after = forgetful.http.get("/api/v1/bots", headers={"If-None-Match": before.headers["etag"]})
    assert (after.status_code, after.json()["data"][0]["title"]) == (200, "Another")
    assert after.headers["etag"] != before.headers["etag"]


def test_a_bot_that_is_deleted_is_gone_and_its_name_stays(start: Start, upstream: Upstream) -> None:
    service = start(*changed(bot_fresh_seconds=0, bot_retry_seconds=0), BOTS=f"main:{BOT}")
    assert bots_of(service)[0]["title"] == "Sandbox bot"
    upstream.set(fail={PROFILES: {"status": 200, "code": 4006, "msg": "gone"}})
    assert [(bot["name"], bot["title"]) for bot in bots_of(service)] == [("main", None)]
    assert_error(service.http.get("/api/v1/bots/main"), 404)
    upstream.set(fail={PROFILES: {"kind": "html502"}})
    assert_error(service.http.get("/api/v1/bots"), 503)
    upstream.set(fail={})
    assert details_of(service, "main")["title"] == "Sandbox bot"


def test_one_bot_that_fails_takes_no_other_along(start: Start, upstream: Upstream, bots: dict[str, str]) -> None:
    helper, asker = bots["variables"], bots["asks-as-studio"]
    service = start(BOTS=f"helper:{helper},asker:{asker}")
    upstream.set(fail={f"/v1/bots/{helper}": {"status": 200, "code": 5000, "msg": "no"}})
    assert [bot["title"] for bot in bots_of(service)] == [None, "asks-as-studio", "Sandbox bot"]
    assert_error(service.http.get("/api/v1/bots/helper"), 503)


def test_a_client_asks_again_without_being_sent_it_again(named: Service) -> None:
    for path in ("/api/v1/bots", "/api/v1/bots/helper"):
        whole = named.http.get(path)
        etag = whole.headers["etag"]
        assert whole.headers["cache-control"] == "private, no-cache"
        for condition in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            for method in ("GET", "HEAD"):
                answer = named.http.request(method, path, headers={"If-None-Match": condition})
                assert (answer.status_code, answer.content) == (304, b""), condition
                assert answer.headers["etag"] == etag
                assert answer.headers["cache-control"] == "private, no-cache"
                assert answer.headers["x-request-id"]
        for other in ("", '"other"', etag.strip('"')):
            assert named.http.get(path, headers={"If-None-Match": other}).content == whole.content


def test_of_the_bots_that_callers_name_few_are_kept(start: Start, upstream: Upstream, bots: dict[str, str]) -> None:
    service = start(*changed(bots_kept=2))
    bots_of(service)
    first, second, third = bots["variables"], bots["load"], bots["late"]
    for bot, calls in ((first, 2), (second, 3), (third, 4), (first, 5), (third, 5), (second, 6), (third, 6), (BOT, 6)):
        details_of(service, bot)
        assert asked(upstream) == calls, bot


@pytest.mark.parametrize("data", [{}, {"data": None}, {"data": []}, {"data": "x"}, {"data": 7}, [], None])
def test_what_is_no_bot_is_not_understood(forgetful: Service, upstream: Upstream, data: Any) -> None:
    upstream.set(fail={PROFILES: {"kind": "body", "body": {"code": 0, **data} if isinstance(data, dict) else data}})
    answer = forgetful.http.get("/api/v1/bots/1")
    assert_error(answer, 503)
    assert answer.json()["code"] == "coze_not_understood"


def test_of_an_odd_bot_the_rest_is_told(forgetful: Service, upstream: Upstream) -> None:
    odd: dict[str, Any] = {"name": 7, "description": ["x"], "icon_url": "javascript:alert(1)", "onboarding_info": "x"}
    upstream.set(bots={BOT: odd})
    empty: dict[str, Any] = {
        "title": None,
        "description": "",
        "icon_url": "",
        "prologue": "",
        "suggested_questions": [],
    }
    assert details_of(forgetful) == {"bot_id": BOT, "name": None, "is_default": True, **empty}
    capital = {"Prologue": "Hi {{user_name}}", "SuggestedQuestions": ["Why?", 7, None, " "], "OnboardingMode": 2}
    upstream.set(bots={BOT: {"onboarding_info": capital}})
    found = details_of(forgetful)
    assert (found["title"], found["prologue"]) == ("Sandbox bot", "Hi {{user_name}}")
    assert found["suggested_questions"] == ["Why?"]


@pytest.mark.parametrize("flavour", ["coze", "studio"])
def test_nothing_of_a_bots_making_leaves_the_service(start: Start, bots: dict[str, str], flavour: Any) -> None:
    with sandbox.running(delta_seconds=0, flavour=flavour) as url:
        coze = Upstream(url)
        onboarding = {"prologue": "Hi", "suggested_questions": [], "onboarding_mode": CANARY, "PrologueMode": CANARY}
        coze.set(bots={BOT: {"onboarding_info": onboarding, "more": CANARY}})
        service = start(
            *changed(bot_fresh_seconds=0, bot_retry_seconds=0),
            COZE_API_BASE=url,
            BOTS=",".join(f"{name}:{bot_id}" for name, bot_id in bots.items()),
            LOG_LEVEL="DEBUG",
        )
        raw = http.get(f"{url}/v1/bots/{BOT}", headers={"Authorization": "Bearer pat_test"}).text
        assert raw.count(CANARY) > 5
        answers = [service.http.get("/api/v1/bots"), *(service.http.get(f"/api/v1/bots/{name}") for name in bots)]
        assert {answer.status_code for answer in answers} == {200, 404 if flavour == "studio" else 400}
        coze.set(fail={PROFILES: {"status": 200, "code": 4006, "msg": CANARY}})
        answers += [service.http.get("/api/v1/bots"), service.http.get("/api/v1/bots/variables")]
        for answer in answers:
            assert CANARY not in answer.text + str(answer.headers)
        assert answers[0].json()["data"][0]["title"] is not None
        assert CANARY not in service.output()


def test_studio_knows_no_bot_that_is_not_its_users(start: Start) -> None:
    with sandbox.running(delta_seconds=0, flavour="studio") as url:
        assert_error(start(COZE_API_BASE=url).http.get("/api/v1/bots/1"), 404)
        foreign = start(COZE_API_BASE=url, COZE_API_TOKEN="pat_other", BOTS=f"main:{BOT}")
        assert_error(foreign.http.get("/api/v1/bots/main"), 404)
        assert bots_of(foreign)[0]["title"] is None
