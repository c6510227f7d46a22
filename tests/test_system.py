"""User info, workspaces, configuration, connection test, health and root."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import BOT, Service, Start, Upstream, http
from envelope import assert_error

from service.contract import contract


@pytest.fixture(autouse=True)
def fresh(upstream: Upstream) -> None:
    upstream.reset()
    upstream.set(delta_seconds=0)


def test_root(service: Service) -> None:
    body = service.http.get("/").json()
    assert body["status"] == "running"
    assert body["message"] == "Coze SDK API Service is running"
    assert body["version"] == contract().version


def test_root_asks_nobody(service: Service, upstream: Upstream) -> None:
    service.http.get("/")
    assert upstream.state()["total"] == 0


def test_health_asks_coze_seldom(start: Start, upstream: Upstream) -> None:
    service = start(HEALTH_INTERVAL="3600")
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: http.get(f"{service.url}/health", timeout=60), range(64)))
    assert {answer.status_code for answer in answers} == {200}
    assert answers[0].json()["message"] == "Service is healthy and CozeClient is working"
    assert upstream.state()["requests"] == {"GET /v1/users/me": 1}


def test_health_recovers(start: Start, upstream: Upstream) -> None:
    service = start(HEALTH_INTERVAL="0")
    upstream.set(fail={"/v1/users/me": {"status": 200, "code": 4100, "msg": "x"}})
    answer = service.http.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (503, "unhealthy")
    assert "token" in answer.json()["message"]
    upstream.set(fail={})
    assert service.http.get("/health").json()["status"] == "healthy"


def test_user_info(service: Service, upstream: Upstream) -> None:
    body = service.http.get("/api/v1/user/info", params={"user_id": "ignored"}).json()
    user = body["data"]["user"]
    assert body["message"] == "User info retrieved successfully"
    assert body["data"]["user_info"] == f"User(id='{user['user_id']}', name='{user['nick_name']}')"
    assert body["data"]["response_logid"]


def test_workspaces_from_all_pages(service: Service, upstream: Upstream) -> None:
    for count in (0, 1, 50, 51, 120):
        upstream.set(workspaces=count)
        body = service.http.get("/api/v1/workspaces").json()
        assert body["message"] == "Workspaces retrieved successfully"
        assert len({workspace["id"] for workspace in body["data"]}) == len(body["data"]) == count


def test_an_odd_workspace_spoils_nothing(service: Service, upstream: Upstream) -> None:
    upstream.set(workspaces=3, odd_workspace=True)
    body = service.http.get("/api/v1/workspaces").json()
    assert body["success"] is True
    assert len(body["data"]) >= 3
    for workspace in body["data"]:
        assert all(isinstance(workspace[name], str) for name in ("id", "name", "icon_url", "role_type"))


@pytest.mark.parametrize("data", ["text", ["a list"], 7, {"user_id": {}}], ids=ascii)
def test_a_user_that_makes_no_sense(service: Service, upstream: Upstream, data: object) -> None:
    upstream.set(fail={"/v1/users/me": {"kind": "body", "body": {"code": 0, "data": data}}})
    try:
        assert_error(service.http.get("/api/v1/user/info"), 503)
    finally:
        upstream.set(fail={})


def test_config(start: Start, upstream: Upstream) -> None:
    service = start(COZE_USER_ID="someone", ENVIRONMENT="staging", LOG_LEVEL="info")
    assert service.http.get("/api/v1/config").json() == {
        "success": True,
        "message": "Configuration retrieved successfully",
        "data": {
            "api_base": upstream.url,
            "default_bot_id": BOT,
            "default_user_id": "someone",
            "log_level": "INFO",
            "environment": "staging",
            "version": contract().version,
            "features": {"chat": True, "file_upload": True, "user_management": True, "workspace_management": True},
        },
    }


def test_connection(service: Service) -> None:
    body = service.http.get("/api/v1/test/connection").json()
    assert body["message"] == "Connection test successful"
    assert body["data"]["connected"] is True
    assert body["data"]["user_id"] == service.http.get("/api/v1/user/info").json()["data"]["user"]["user_id"]


def test_on_the_sandbox_it_says_so(start: Start) -> None:
    service = start("--sandbox", SANDBOX_DELTA_SECONDS="0", COZE_API_TOKEN="", COZE_API_BASE="https://api.coze.cn")
    health = service.http.get("/health").json()
    assert health["status"] == "healthy"
    assert "sandbox" in health["message"]
    config = service.http.get("/api/v1/config").json()["data"]
    assert config["environment"] == "sandbox"
    assert config["default_bot_id"] == BOT
    assert config["api_base"].startswith("http://127.0.0.1:")
    assert service.chat().json()["success"] is True
