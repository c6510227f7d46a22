"""The rate limit: exactly so many, per client address, with headers that tell, and never in the way of the rest."""

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from conftest import Service, Start, http, wait_until
from envelope import assert_envelope, assert_error

from service.gate import rate_limit
from service.gate.rate_limit import OwnCount, RateLimiter

CONFIG = "/api/v1/config"


@pytest.fixture
def limited(start: Start) -> Service:
    return start(ENABLE_RATE_LIMIT="true", RATE_LIMIT_REQUESTS="5", RATE_LIMIT_WINDOW="3600")


def test_one_too_many(limited: Service) -> None:
    for left in (4, 3, 2, 1, 0):
        answer = limited.http.get(CONFIG)
        assert answer.status_code == 200
        assert re.fullmatch(rf'"default";r={left};t=\d+', answer.headers["ratelimit"])
        assert answer.headers["ratelimit-policy"] == '"default";q=5;w=3600'
    answer = limited.http.get(CONFIG, headers={"Origin": "https://shop.example"})
    assert answer.status_code == 429
    wait = int(answer.headers["retry-after"])
    assert 1 <= wait <= 3600
    assert answer.json() == {
        "success": False,
        "message": f"Too many requests: at most 5 in 3600 seconds. Try again in {wait} seconds.",
        "code": "rate_limited",
        "retry_after": wait,
        "data": None,
    }
    assert answer.headers["ratelimit"] == f'"default";r=0;t={wait}'
    assert answer.headers["access-control-allow-origin"] == "*"
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])
    upload = limited.http.post("/api/v1/upload", files={"file": ("a.csv", b"1")})
    assert upload.status_code == 429
    assert upload.json()["file_id"] is None


def test_what_does_not_count(limited: Service) -> None:
    preflight = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    for _ in range(10):
        for path in ("/", "/health", "/docs", "/openapi.yaml", "/openapi.json", "/openapi-3.0.json"):
            answer = limited.http.get(path)
            assert answer.status_code == 200
            assert "ratelimit" not in answer.headers
        assert limited.http.options("/api/v1/chat", headers=preflight).status_code == 204
    assert limited.http.get(CONFIG).status_code == 200


def test_failures_count(limited: Service) -> None:
    for _ in range(5):
        assert limited.http.post("/api/v1/chat", content=b"").status_code == 400
    assert limited.http.post("/api/v1/chat", content=b"").status_code == 429


def test_whatever_is_asked_there_counts(limited: Service) -> None:
    """Also what is not there, and what it cannot do. Each is answered as ever, and told what is left."""
    calls = [("GET", "/nothing", 404), ("PUT", "/chat", 405), ("HEAD", "/config", 200), ("DELETE", "/upload/", 405)]
    for left, (method, path, status) in zip((4, 3, 2, 1), calls, strict=True):
        answer = limited.http.request(method, f"{limited.url}//api/v1{path}")
        assert answer.status_code == status
        assert answer.headers["ratelimit"].startswith(f'"default";r={left};')
        assert answer.headers["ratelimit-policy"] == '"default";q=5;w=3600'
    assert assert_envelope(answer.json(), "/api/v1/upload") == "This address does not take this method."
    for status in (404, 429):
        answer = limited.http.get("/api/v1/nothing", headers={"Origin": "https://shop.example"})
        assert_error(answer, status)
    # The log says where one call too many went, as ever.
    assert limited.http.get(CONFIG).status_code == 429
    wait_until(lambda: limited.lines()[-1].get("status") == 429 and limited.lines()[-1]["route"] == CONFIG)


def test_exactly_so_many_of_a_burst_pass(start: Start) -> None:
    service = start(ENABLE_RATE_LIMIT="true", RATE_LIMIT_REQUESTS="50", RATE_LIMIT_WINDOW="3600")

    def call(_: int) -> int:
        return http.get(service.url + CONFIG, timeout=60).status_code

    with ThreadPoolExecutor(32) as pool:
        statuses = list(pool.map(call, range(200)))
    assert statuses.count(200) == 50
    assert statuses.count(429) == 150


def test_the_window_moves(start: Start) -> None:
    """However the calls lie around the edge of a window, no more than the limit pass within one."""

    async def passing(*keys: str) -> list[bool]:
        limiter = RateLimiter(3, 3600)
        async with limiter:
            return [(await limiter.hit(key))[0] for key in keys]

    assert asyncio.run(passing(*"aaaaab")) == [True, True, True, False, False, True]
    service = start(ENABLE_RATE_LIMIT="true", RATE_LIMIT_REQUESTS="1", RATE_LIMIT_WINDOW="1")
    passed = 0
    while passed < 3:
        answer = service.http.get(CONFIG)
        assert answer.status_code in (200, 429)
        passed += answer.status_code == 200


def test_a_client_that_has_gone_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(rate_limit, "time", SimpleNamespace(monotonic=lambda: now))
    count = OwnCount(2, 1)
    for number in range(1000):
        assert count.hit(f"client {number}") == (True, 1, 1)
    assert len(count) == 1000
    now += 1
    # Each call finds room for more than it takes, once the others' windows are over.
    for _ in range(600):
        count.hit("still here")
    assert len(count) == 1
    assert count.hit("client 1")[0]


def test_off(service: Service) -> None:
    answers = [service.http.get(CONFIG) for _ in range(120)]
    assert {answer.status_code for answer in answers} == {200}
    assert "ratelimit" not in answers[0].headers
