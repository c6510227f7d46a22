"""Keys for callers, and the web pages that may call: both only where the operator wants them."""

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from browser import chromium, keep_screenshot, page_on
from conftest import ROOT, Service, Start
from envelope import assert_error
from playwright.sync_api import expect

from service.contract import contract

CONFIG = "/api/v1/config"
ORIGIN = "https://shop.example"


def new_key(name: str) -> tuple[str, str]:
    """A key and its entry in API_KEYS, as an operator gets them."""
    command = [sys.executable, "-W", "ignore", "-m", "service", "--new-api-key", name]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    key, entry = (line.split()[-1] for line in printed.splitlines())
    return key, entry


@pytest.fixture(scope="module")
def keys() -> list[tuple[str, str]]:
    return [new_key("web"), new_key("app")]


@pytest.fixture(scope="module")
def guarded(start: Start, keys: list[tuple[str, str]]) -> Service:
    return start(API_KEYS=", ".join(entry for _, entry in keys), CORS_ALLOW_ORIGINS=f"{ORIGIN},http://localhost:5173")


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_every_call_of_the_api_needs_a_key(guarded: Service, keys: list[tuple[str, str]]) -> None:
    for method, path in contract().routes:
        answer = guarded.http.request(method, path.replace("{", "").replace("}", ""))
        if path.startswith("/api/v1/"):
            assert assert_error(answer, 401).startswith("This service asks for a key")
            assert answer.headers["www-authenticate"] == 'Bearer realm="coze-service"'
        else:
            assert answer.status_code == 200
    for path in ("/docs", "/openapi.yaml", "/openapi.json", "/playground"):
        assert guarded.http.get(path).status_code == 200
    for key, _ in keys:
        assert guarded.http.get(CONFIG, headers=bearer(key)).status_code == 200
        assert guarded.http.get(CONFIG, headers={"authorization": f"bearer  {key}"}).status_code == 200
    body = {"user_id": "u", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
    answer = guarded.http.post("/api/v1/chat", json=body, headers=bearer(keys[0][0]))
    assert answer.text.endswith('data: {"type":"end"}\n\n')


@pytest.mark.parametrize(
    "given", ["Bearer", "Bearer a b", "Basic dTpw", "Bearer ü", "{key}", "Bearer {key}x", "Bearer {entry}"]
)
def test_a_wrong_key(guarded: Service, keys: list[tuple[str, str]], given: str) -> None:
    header = given.format(key=keys[0][0], entry=keys[0][1].partition(":")[2]).encode()
    for path in (CONFIG, "/api/v1/upload"):
        method = "POST" if path.endswith("upload") else "GET"
        answer = guarded.http.request(method, path, headers={b"Authorization": header, b"Origin": ORIGIN.encode()})
        assert answer.status_code == 401
        assert answer.json()["message"] == "The service does not know this key."
        assert ("file_id" in answer.json()) == path.endswith("upload")
        assert answer.headers["www-authenticate"] == 'Bearer realm="coze-service", error="invalid_token"'
        assert answer.headers["access-control-allow-origin"] == ORIGIN


def test_the_log_names_the_caller_and_never_the_key(guarded: Service, keys: list[tuple[str, str]]) -> None:
    for key, _ in keys:
        guarded.http.get(CONFIG, headers=bearer(key))
    assert [line["caller"] for line in guarded.lines()[-2:]] == ["web", "app"]
    guarded.http.get(CONFIG)
    assert "caller" not in guarded.lines()[-1]
    for key, entry in keys:
        assert key not in guarded.output()
        assert entry.partition(":")[2] not in guarded.output()


def test_the_limit_counts_per_key_and_guesses_per_address(start: Start, keys: list[tuple[str, str]]) -> None:
    rotated = new_key("web")  # the old and the new key of one caller
    entries = ",".join(entry for _, entry in (*keys, rotated))
    service = start(API_KEYS=entries, ENABLE_RATE_LIMIT="true", RATE_LIMIT_REQUESTS="2", RATE_LIMIT_WINDOW="3600")

    def statuses(*keys: str) -> list[int]:
        return [service.http.get(CONFIG, headers=bearer(key)).status_code for key in keys]

    (web, _), (app, _) = keys
    assert statuses(web, rotated[0], web, rotated[0]) == [200, 200, 429, 429]
    assert statuses(app) == [200]
    assert statuses("guess1", "guess2", "guess3") == [401, 401, 429]
    assert statuses(app, app) == [200, 429]


def test_only_the_named_pages_may_call(guarded: Service, keys: list[tuple[str, str]]) -> None:
    preflight = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    for origin, allowed in ((ORIGIN, True), ("http://localhost:5173", True), ("https://evil.example", False)):
        asked = guarded.http.options("/api/v1/chat", headers={"Origin": origin, **preflight})
        answer = guarded.http.get(CONFIG, headers={"Origin": origin, **bearer(keys[0][0])})
        assert (asked.status_code == 204) == allowed
        for headers in (asked.headers, answer.headers):
            assert headers.get("access-control-allow-origin") == (origin if allowed else None)
            assert "access-control-allow-credentials" not in headers
        if allowed:
            assert "authorization" in asked.headers["access-control-allow-headers"].lower()
            assert answer.headers["vary"] == "Origin"


@pytest.mark.parametrize("value", ["web", ",", "web:12", f"web:{'g' * 64}", f"a b:{'0' * 64}", f"web:{'0' * 64},"])
def test_bad_keys_end_the_start_and_are_not_shown(tmp_path: Path, value: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "service"],
        cwd=tmp_path,
        env={"COZE_API_TOKEN": "pat_1", "API_KEYS": value, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert "API_KEYS takes name:hash" in ended.stderr
    assert "0000" not in ended.stderr


def test_the_pages_take_a_key(guarded: Service, keys: list[tuple[str, str]]) -> None:
    key = keys[0][0]
    with chromium() as browser:
        with page_on(browser, f"{guarded.url}/docs", statuses=(401,)) as docs:
            docs.get_by_role("button", name="Authorize").first.click()
            docs.get_by_label("Value").fill(key)
            docs.locator(".auth-btn-wrapper").get_by_role("button", name="Apply credentials").click()
            docs.get_by_role("button", name="Close").click()
            block = docs.locator("#operations-System-getConfig")
            block.locator(".opblock-summary-control").click()
            block.get_by_role("button", name="Execute").click()
            expect(block.locator(".live-responses-table .response-col_status").last).to_contain_text("200")
        with page_on(browser, f"{guarded.url}/playground", statuses=(401,)) as playground:
            field = playground.get_by_label("API key")
            expect(field).to_be_visible()
            playground.get_by_label("Message").fill("Hello")
            playground.get_by_role("button", name="Send").click()
            expect(playground.get_by_role("alert")).to_contain_text("The service asks for a key")
            field.fill(key)
            playground.get_by_role("button", name="Try again").click()
            expect(playground.locator(".message.bot .bubble")).to_contain_text("Hello!")
            expect(playground.locator("#events")).not_to_contain_text(key)
            keep_screenshot(playground, "playground-key")
            playground.reload()
            expect(playground.get_by_label("API key")).to_have_value(key)


def test_without_keys_none_is_asked_for(service: Service) -> None:
    answer = httpx.get(service.url + CONFIG, headers={"Authorization": "Bearer anything", "Origin": ORIGIN})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    assert json.loads(answer.text)["success"]
