"""Behind proxies: each client has a limit and a line in the log of its own."""

import pytest
from conftest import Service, Start, wait_until


@pytest.fixture(scope="module")
def behind(start: Start) -> Service:
    limit = {"ENABLE_RATE_LIMIT": "true", "RATE_LIMIT_REQUESTS": "1", "RATE_LIMIT_WINDOW": "3600"}
    return start(**limit, FORWARDED_ALLOW_IPS="127.0.0.0/8, 10.0.0.1")


def status(service: Service, forwarded: str, **more: str) -> int:
    return service.http.get("/api/v1/config", headers={"X-Forwarded-For": forwarded, **more}).status_code


def clients(service: Service) -> list[str]:
    return [line["client"] for line in service.lines() if line["event"] == "request"]


def test_each_client_behind_a_proxy_has_a_limit_of_its_own(behind: Service) -> None:
    assert status(behind, "203.0.113.1") == 200
    assert status(behind, "203.0.113.2") == 200
    assert status(behind, "203.0.113.1") == 429
    assert status(behind, "198.51.100.9, 203.0.113.1") == 429
    assert status(behind, "203.0.113.2, 10.0.0.1") == 429
    assert status(behind, "203.0.113.2", Forwarded="for=198.51.100.9") == 200  # the proxy's own address counts
    assert status(behind, "203.0.113.3", Forwarded="for=198.51.100.9") == 429
    wait_until(lambda: clients(behind)[-3:] == ["203.0.113.2", "127.0.0.1", "127.0.0.1"])


def test_an_ipv6_subscriber_is_one_client(behind: Service) -> None:
    assert status(behind, "2001:db8:1:2::1") == 200
    assert status(behind, "2001:db8:1:2:ffff::9") == 429
    assert status(behind, "2001:db8:1:3::1") == 200
    assert status(behind, "::ffff:203.0.113.77") == 200
    assert status(behind, "203.0.113.77") == 429
    assert "2001:db8:1:2:ffff::9" in clients(behind)


def test_nobody_is_believed_by_default(start: Start) -> None:
    service = start(ENABLE_RATE_LIMIT="true", RATE_LIMIT_REQUESTS="3", RATE_LIMIT_WINDOW="3600")
    assert [status(service, f"203.0.113.{number}") for number in range(4)] == [200] * 3 + [429]
    assert status(service, "203.0.113.9", Forwarded="for=203.0.113.9") == 429
    wait_until(lambda: clients(service) == ["127.0.0.1"] * 5)
