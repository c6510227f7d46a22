"""The rate limit: exactly so many, per client address, with headers that tell, and never in the way of the rest."""

import re
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from conftest import Service, Start

from service.rate_limit import RateLimiter

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
        for path in ("/", "/health", "/docs", "/openapi.yaml", "/openapi.json"):
            answer = limited.http.get(path)
            assert answer.status_code == 200
            assert "ratelimit" not in answer.headers
        assert limited.http.options("/api/v1/chat", headers=preflight).status_code == 204
    assert limited.http.get(CONFIG).status_code == 200


def test_failures_count(limited: Service) -> None:
    for _ in range(5):
        assert limited.http.post("/api/v1/chat", content=b"").status_code == 400
    assert limited.http.post("/api/v1/chat", content=b"").status_code == 429


def test_exactly_so_many_of_a_burst_pass(start: Start) -> None:
    service = start(ENABLE_RATE_LIMIT="true", RATE_LIMIT_REQUESTS="50", RATE_LIMIT_WINDOW="3600")

    def call(_: int) -> int:
        return httpx.get(service.url + CONFIG, timeout=60).status_code

    with ThreadPoolExecutor(32) as pool:
        statuses = list(pool.map(call, range(200)))
    assert statuses.count(200) == 50
    assert statuses.count(429) == 150


def test_the_window_moves(start: Start) -> None:
    """However the calls lie around the edge of a window, no more than the limit pass within one."""
    limiter = RateLimiter(3, 3600)
    assert [limiter.hit("a")[0] for _ in range(5)] == [True, True, True, False, False]
    assert limiter.hit("b")[0]
    service = start(ENABLE_RATE_LIMIT="true", RATE_LIMIT_REQUESTS="1", RATE_LIMIT_WINDOW="1")
    passed = 0
    while passed < 3:
        answer = service.http.get(CONFIG)
        assert answer.status_code in (200, 429)
        passed += answer.status_code == 200


def test_off(service: Service) -> None:
    answers = [service.http.get(CONFIG) for _ in range(120)]
    assert {answer.status_code for answer in answers} == {200}
    assert "ratelimit" not in answers[0].headers


def test_forwarded_addresses_do_not_count_by_default(limited: Service) -> None:
    statuses = [
        limited.http.get(CONFIG, headers={"X-Forwarded-For": f"203.0.113.{number}"}).status_code for number in range(6)
    ]
    assert statuses == [200] * 5 + [429]


def test_forwarded_addresses_count_from_a_named_proxy(start: Start) -> None:
    service = start(ENABLE_RATE_LIMIT="true", RATE_LIMIT_REQUESTS="1", FORWARDED_ALLOW_IPS="127.0.0.0/8, 10.0.0.1")

    def status(forwarded: str) -> int:
        return service.http.get(CONFIG, headers={"X-Forwarded-For": forwarded}).status_code

    assert status("203.0.113.1") == 200
    assert status("203.0.113.2") == 200
    assert status("203.0.113.1") == 429
    # What the client itself puts in front is not believed.
    assert status("198.51.100.9, 203.0.113.1") == 429
    # A second proxy that is named as well is passed over.
    assert status("203.0.113.2, 10.0.0.1") == 429
    assert service.lines()[-1]["client"] == "203.0.113.2"
