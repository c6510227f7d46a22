"""Callers with keys, where the operator asks for them; and the websites that may call."""

import hashlib
import json
import re
import socket
import subprocess
import sys

import httpx
import pytest
from conftest import Service, Start, Upstream, events_of, wait_until
from envelope import assert_envelope
from operations import Operation, each_operation

CONFIG = "/api/v1/config"
KEY, OLD_KEY, OTHER_KEY = "key-of-the-shop", "old-key-of-the-shop", "key-of-nobody-known"
SHOP = "https://shop.example"


def entry(name: str, key: str) -> str:
    return f"{name}:{hashlib.sha256(key.encode()).hexdigest()}"


KEYS = f"{entry('shop', KEY)}, {entry('shop', OLD_KEY)},{hashlib.sha256(OTHER_KEY.encode()).hexdigest().upper()}"


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture(scope="module")
def keyed(start: Start) -> Service:
    return start(API_KEYS=KEYS, CORS_ALLOW_ORIGINS=f"{SHOP}, http://localhost:5173", LOG_LEVEL="DEBUG")


def assert_unauthorized(answer: httpx.Response, challenge: str) -> None:
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == challenge
    assert_envelope(answer.json(), answer.request.url.path)


MISSING = 'Bearer realm="coze-service"'
WRONG = f'{MISSING}, error="invalid_token"'


@each_operation()
def test_a_call_needs_a_key_if_the_contract_says_so(keyed: Service, operation: Operation) -> None:
    answer = operation.call(keyed.http, operation.nowhere)
    if {"apiKey": []} in operation.about.get("security", []):
        assert_unauthorized(answer, MISSING)
    else:
        assert answer.status_code != 401


@pytest.mark.parametrize("path", [CONFIG, "//api/v1/config", "/api/v1/config/"])
def test_a_call_needs_a_key(keyed: Service, path: str) -> None:
    url = keyed.url + path
    assert_unauthorized(keyed.http.get(url), MISSING)
    assert_unauthorized(keyed.http.get(url, headers=bearer("wrong")), WRONG)
    assert keyed.http.get(url, headers=bearer(KEY)).status_code == 200


@pytest.mark.parametrize(
    ("headers", "challenge"),
    [
        ([("Authorization", KEY)], MISSING),
        ([("Authorization", f"Basic {KEY}")], MISSING),
        ([("Authorization", "Bearer")], MISSING),
        ([("Authorization", f"Bearer {KEY} {KEY}")], MISSING),
        ([("Authorization", f"Bearer {KEY}"), ("Authorization", "Bearer wrong")], MISSING),
        ([("Authorization", f"Bearer {KEY}x")], WRONG),
        ([("Authorization", f"Bearer {KEY.upper()}")], WRONG),
        ([("Authorization", "Bearer " + hashlib.sha256(KEY.encode()).hexdigest())], WRONG),
        ([("Authorization", "Bearer ünï".encode("latin-1"))], MISSING),
        ([("X-Api-Key", KEY)], MISSING),
    ],
)
def test_what_is_no_key(keyed: Service, headers: list[tuple[str, str]], challenge: str) -> None:
    assert_unauthorized(keyed.http.get(CONFIG, headers=headers), challenge)


def test_the_upload_says_so_in_its_own_way(keyed: Service) -> None:
    assert_unauthorized(keyed.http.post("/api/v1/upload", files={"file": ("a.csv", b"1")}), MISSING)
    answer = keyed.http.post("/api/v1/upload", files={"file": ("a.csv", b"1")}, headers=bearer(KEY))
    assert answer.status_code == 200


def test_a_chat_with_a_key(keyed: Service) -> None:
    question = {"user_id": "u", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
    assert_unauthorized(keyed.http.post("/api/v1/chat", json=question), MISSING)
    answer = keyed.http.post("/api/v1/chat", json=question, headers={"authorization": f"bearer  {OTHER_KEY}"})
    assert events_of(answer.text)[-1] == {"type": "end"}


def test_what_needs_no_key(keyed: Service) -> None:
    for path in ("/", "/health", "/docs", "/openapi.yaml", "/openapi.json", "/openapi-3.0.yaml", "/playground"):
        assert keyed.http.get(path).status_code == 200, path
    # Whatever is served there, its links are signed.
    assert keyed.http.get("/api/v1/files/1").status_code != 401
    preflight = {
        "Origin": SHOP,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    answer = keyed.http.options("/api/v1/chat", headers=preflight)
    assert answer.status_code == 204
    assert "authorization" in answer.headers["access-control-allow-headers"].split(", ")


def test_the_log_names_the_caller_and_holds_no_key(keyed: Service, upstream: Upstream) -> None:
    keyed.http.get(CONFIG, headers={**bearer(OLD_KEY), "X-Request-ID": "with-the-old-key"})
    keyed.http.get(CONFIG, headers={**bearer(OTHER_KEY), "X-Request-ID": "without-a-name"})
    keyed.http.get(CONFIG, headers={"X-Request-ID": "without-a-key"})
    expected = {"with-the-old-key": "shop", "without-a-name": "key-3", "without-a-key": None}

    def callers() -> dict[str, str | None]:
        requests = [line for line in keyed.lines() if line["event"] == "request" and line["request_id"] in expected]
        return {line["request_id"]: line.get("caller") for line in requests}

    wait_until(lambda: callers() == expected)
    # Nor does Coze get to see one.
    seen = keyed.output() + json.dumps(upstream.state())
    for key in (KEY, OLD_KEY, OTHER_KEY):
        assert key not in seen
        assert hashlib.sha256(key.encode()).hexdigest() not in seen


def test_each_caller_has_a_limit_of_its_own_and_guesses_are_limited(start: Start) -> None:
    service = start(API_KEYS=KEYS, ENABLE_RATE_LIMIT="true", RATE_LIMIT_REQUESTS="3", RATE_LIMIT_WINDOW="3600")

    def statuses(*keys: str) -> list[int]:
        return [service.http.get(CONFIG, headers=bearer(key)).status_code for key in keys]

    assert statuses("guess-1", "guess-2", "guess-3", "guess-4") == [401, 401, 401, 429]
    assert statuses(KEY, OLD_KEY, KEY, OLD_KEY) == [200, 200, 200, 429]
    assert statuses(OTHER_KEY) == [200]


def test_a_key_is_ignored_where_none_is_asked_for(service: Service) -> None:
    assert service.http.get(CONFIG, headers=bearer("whatever")).status_code == 200


def test_the_operator_makes_a_key(start: Start) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "service", "--new-api-key", "app-2"], env={}, capture_output=True, text=True, check=True
    )
    found = re.fullmatch(r".*: (\S{43})\nFor the service: API_KEYS=(app-2:[0-9a-f]{64})\n", made.stdout)
    assert found, made.stdout
    key, keys = found.groups()
    service = start(API_KEYS=keys)
    assert service.http.get(CONFIG, headers=bearer(key)).status_code == 200
    wait_until(lambda: service.lines()[-1].get("caller") == "app-2")
    assert service.http.get(CONFIG).status_code == 401
    bad = [sys.executable, "-m", "service", "--new-api-key", "a:b"]
    assert subprocess.run(bad, capture_output=True, text=True, check=False).returncode == 2


def test_only_named_websites_may_call(keyed: Service) -> None:
    for path, status in ((CONFIG, 401), ("/health", 200), ("/nowhere", 404)):
        for origin in (SHOP, "http://localhost:5173"):
            answer = keyed.http.get(path, headers={"Origin": origin})
            assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, origin)
            assert answer.headers["vary"] == "Origin"
            assert "www-authenticate" in answer.headers["access-control-expose-headers"].lower()
            assert "access-control-allow-credentials" not in answer.headers
        for origin in ("https://other.example", "https://shop.example.evil", "http://shop.example", "null"):
            answer = keyed.http.get(path, headers={"Origin": origin})
            assert "access-control-allow-origin" not in answer.headers
    for headers in ({}, {"Origin": SHOP}, {"Origin": "https://other.example"}):
        for path in (CONFIG, "/nowhere", "/docs", "/api/v1/files/1"):
            answer = keyed.http.get(path, headers={**bearer(KEY), **headers})
            assert "Origin" in answer.headers["vary"].split(", "), path
    for origin, allowed in ((SHOP, True), ("https://other.example", False)):
        preflight = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        answer = keyed.http.options("/api/v1/chat", headers=preflight)
        assert (answer.headers.get("access-control-allow-origin") == origin) == allowed
        assert answer.status_code == (204 if allowed else 400)
        assert answer.headers["vary"] == "Origin"
    assert assert_envelope(answer.json(), "/api/v1/chat") == "This website may not call from a browser."


APPS = [
    *("capacitor://localhost", "ionic://localhost", "tauri://localhost", "app://.", "file://", "null"),
    *("chrome-extension://abcdefghijklmnopabcdefghijklmnop", "moz-extension://1b9c2f0e-93e7-4a2f-8f43-0d5f6d1f7a10"),
    *("safari-web-extension://E5E0A1B2-93E7-4A2F-8F43-0D5F6D1F7A10", "http://localhost:5173", "http://[::1]:8080"),
]


@pytest.fixture(scope="module")
def named(start: Start) -> Service:
    """A service for named websites and apps, written with the ports that browsers leave out."""
    names = ["https://shop.example:443", "http://shop.example:80", *APPS]
    return start(CORS_ALLOW_ORIGINS=",".join(names), PUBLIC_BASE_URL="https://public.example/coze")


@pytest.mark.parametrize("origin", [SHOP, "http://shop.example", *APPS])
def test_apps_and_extensions_may_be_named(named: Service, origin: str) -> None:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-a,,x b,x(c)",
    }
    preflight = named.http.options("/api/v1/chat", headers=headers)
    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (204, origin)
    assert (
        preflight.headers["access-control-allow-headers"]
        == "Accept, Accept-Language, Content-Language, Content-Type, x-a"
    )
    answer = named.http.post("/api/v1/upload", files={"file": ("a.csv", b"1")}, headers={"Origin": origin})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, origin)


def assert_foreign(answer: httpx.Response) -> None:
    assert answer.status_code == 400
    assert assert_envelope(answer.json(), answer.request.url.path) == "This website may not call from a browser."
    assert "access-control-allow-origin" not in answer.headers


FOREIGN = ["https://other.example", "capacitor://other", "http://localhost:5174", "x", "https://shop.example.evil"]


@pytest.mark.parametrize("origin", FOREIGN)
def test_a_page_of_another_website_changes_nothing(named: Service, upstream: Upstream, origin: str) -> None:
    """Nor by what a browser sends without asking: a form, or text. What comes from no page passes."""
    before = upstream.state()["requests"]
    headers = {"Origin": origin, "Sec-Fetch-Site": "cross-site"}
    assert_foreign(named.http.post("/api/v1/upload", files={"file": ("a.csv", b"1")}, headers=headers))
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json"):
        question = {"user_id": "u", "messages": [{"role": "user", "content": "Hello"}]}
        content = json.dumps(question).encode()
        answer = named.http.post("/api/v1/chat", content=content, headers={**headers, "Content-Type": kind})
        assert_foreign(answer)
    assert upstream.state()["requests"] == before
    assert named.http.get(CONFIG, headers=headers).status_code == 200
    request_id = answer.headers["x-request-id"]
    wait_until(lambda: [line for line in named.lines() if line.get("request_id") == request_id])
    (line,) = (line for line in named.lines() if line.get("request_id") == request_id)
    assert line["cause"] == "a page whose origin CORS_ALLOW_ORIGINS does not name"


def test_a_page_without_an_origin_of_its_own_changes_nothing_either(keyed: Service) -> None:
    """A sandboxed frame's, or one of a file."""
    assert_foreign(keyed.http.post("/api/v1/upload", headers={**bearer(KEY), "Origin": "null"}))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "OWN"},
        {"Origin": "https://OWN"},
        {"Origin": "https://public.example"},
        {"Origin": "https://before-a-proxy.example", "Sec-Fetch-Site": "same-origin"},
    ],
    ids=str,
)
def test_the_service_s_own_pages_may_call(named: Service, headers: dict[str, str]) -> None:
    own = {
        name: value.replace("OWN", named.url if value == "OWN" else named.url[7:]) for name, value in headers.items()
    }
    assert named.http.post("/api/v1/upload", files={"file": ("a.csv", b"1")}, headers=own).status_code == 200


@pytest.mark.parametrize("narrowed", [True, False])
def test_what_is_no_request_is_answered_for_the_same_websites(service: Service, keyed: Service, narrowed: bool) -> None:
    with socket.create_connection((keyed if narrowed else service).address, timeout=30) as connection:
        connection.sendall(b"hello\r\n\r\n")
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert (b"access-control-allow-origin: *" in answer) is not narrowed
