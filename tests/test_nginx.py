"""The example configuration for nginx, in real nginx before the service with two workers."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import psutil
import pytest
import yaml
from browser import chromium, page_on
from conftest import ROOT, Service, Start, Upstream, asking, events_of, http, wait_until
from envelope import assert_envelope
from playwright.sync_api import expect

pytestmark = pytest.mark.nginx

EXAMPLE = ROOT / "examples" / "nginx" / "coze.conf"
# Debian keeps it where only root looks.
NGINX = shutil.which("nginx", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
LIMIT = 10 * 1024 * 1024


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def nginx(folder: Path, service_port: int, port: int = 0, under: str = "/") -> Iterator[str]:
    """nginx with the example as it is but for its ports, all it writes in `folder`; its base URL.

    `under` another path than `/` it strips that path, as the example says how.
    """
    if NGINX is None:
        pytest.skip("nginx is not installed (on Debian: apt install nginx)")
    port, example = port or free_port(), EXAMPLE.read_text()
    changes = [("listen 80;", f"listen 127.0.0.1:{port};"), ("127.0.0.1:2026", f"127.0.0.1:{service_port}")]
    if under != "/":
        changes += [
            ("location / {", f"location {under} {{"),
            ("proxy_pass http://coze_service;", "proxy_pass http://coze_service/;"),
        ]
    for stands, comes in changes:
        assert example.count(stands) == 1
        example = example.replace(stands, comes)
    (folder / "coze.conf").write_text(example)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    # As Debian's own nginx.conf goes on, whose workers could not enter the folder.
    (folder / "nginx.conf").write_text(
        ("user root;\n" if os.geteuid() == 0 else "")
        + f"worker_processes 2; pid {folder}/pid; error_log stderr; events {{ worker_connections 1024; }}\nhttp {{\n"
        + "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
        + "access_log off; gzip on;\ninclude coze.conf;\n}\n"
    )
    command = [NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr", "-g", "daemon off;"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:

        def answers() -> bool:
            assert process.poll() is None, (folder / "log").read_text()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                return True
            return False

        wait_until(answers)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(30)


@pytest.fixture(scope="module")
def behind(start: Start) -> Service:
    return start(WORKERS="2", FORWARDED_ALLOW_IPS="127.0.0.1", HEARTBEAT_INTERVAL="0.3")


@pytest.fixture(scope="module")
def front(behind: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of nginx before `behind`."""
    port = int(behind.url.rpartition(":")[2])
    with (
        nginx(tmp_path_factory.mktemp("nginx"), port) as url,
        httpx.Client(base_url=url, timeout=60, headers={"Origin": "https://frontend.example"}) as client,
    ):
        yield client


@pytest.fixture(autouse=True)
def fresh(upstream: Upstream) -> Iterator[None]:
    upstream.reset()
    upstream.set(delta_seconds=0)
    yield
    # A stream that ends after the next reset would be missing from its count.
    wait_until(lambda: upstream.state(0)["streams"] == 0)


def chat(bot: str, content: str = "Hello", *, stream: bool = True) -> dict[str, Any]:
    return {"user_id": "u", "bot_id": bot, "stream": stream, "messages": [{"role": "user", "content": content}]}


def test_events_arrive_while_the_chat_still_runs_and_a_client_that_leaves_frees_coze(
    front: httpx.Client, upstream: Upstream, bots: dict[str, str]
) -> None:
    with front.stream("POST", "/api/v1/chat", json=chat(bots["for-ever"])) as answer:
        lines = (line for line in answer.iter_lines() if line)
        assert next(lines).startswith('data: {"type":"chat_started"')
        for _ in range(3):
            assert next(lines).startswith('data: {"type":"message_delta"')
            assert upstream.state(0)["streams"] == 1
        assert "content-encoding" not in answer.headers
    wait_until(lambda: upstream.state(0)["streams"] == 0)
    wait_until(lambda: [chat["cancel_calls"] for chat in upstream.state()["chats"]] == [1])


def test_a_json_chat_that_is_left_frees_coze(front: httpx.Client, upstream: Upstream, bots: dict[str, str]) -> None:
    with asking((front.base_url.host, front.base_url.port or 80), chat(bots["for-ever"], stream=False)):
        wait_until(lambda: upstream.state()["chats"])
    wait_until(lambda: [chat["cancel_calls"] for chat in upstream.state()["chats"]] == [1])


def test_a_heartbeat_passes_at_once(front: httpx.Client, upstream: Upstream, bots: dict[str, str]) -> None:
    with front.stream("POST", "/api/v1/chat", json=chat(bots["stall"])) as answer:
        lines = answer.iter_lines()  # held, for the connection closes with it
        assert any(line.startswith(": ping") for line in lines)
        assert upstream.state(0)["streams"] == 1


def test_the_limit_of_an_upload_is_the_service_s(front: httpx.Client, upstream: Upstream) -> None:
    def upload(size: int) -> httpx.Response:
        return front.post("/api/v1/upload", files={"file": ("a.csv", b"x" * size)})

    assert upload(LIMIT).status_code == 200
    assert upstream.state()["uploads"][-1]["bytes"] == LIMIT
    for size, code in ((LIMIT + 1, "file_too_large"), (4 * LIMIT, "body_too_large")):
        refused = upload(size)
        assert refused.status_code == 413
        assert_envelope(refused.json(), "/api/v1/upload")
        assert refused.json()["code"] == code
        assert refused.headers["access-control-allow-origin"] == "*"
        assert refused.headers["x-request-id"]
    assert_envelope(front.post("/api/v1/chat", content=bytes(4 * LIMIT)).json(), "/api/v1/chat")


def test_the_client_s_address_is_its_own_whatever_it_claims(front: httpx.Client, behind: Service) -> None:
    claims = {
        "X-Forwarded-For": "203.0.113.9",
        "Forwarded": "for=203.0.113.9;host=evil.example;proto=https",
        "X-Real-IP": "203.0.113.9",
    }
    transport = httpx.HTTPTransport(local_address="127.0.0.7")
    with httpx.Client(base_url=front.base_url, transport=transport, timeout=60) as client:
        answer = client.get("/api/v1/config", headers={**claims, "X-Request-ID": "whose-1"})
    assert answer.headers["x-request-id"] == "whose-1"

    def logged() -> list[str]:
        return [line["client"] for line in behind.lines() if line.get("request_id") == "whose-1"]

    # nginx may pass the answer on before the service has said so.
    wait_until(logged)
    assert logged() == ["127.0.0.7"]
    assert front.get("/").headers["x-request-id"]


def test_metrics_are_not_for_the_outside(front: httpx.Client) -> None:
    for path in ("/metrics", "/metrics/", "//metrics", "/%6detrics"):
        answer = front.get(front.base_url.copy_with(raw_path=path.encode()))
        assert (answer.status_code, answer.json()["data"]) == (404, None), path


def test_all_of_it_works_under_a_path(start: Start, tmp_path: Path) -> None:
    """What one thing says of where another is leads right there: pages, what they load and ask, the contract, links."""
    port = free_port()
    base = f"http://127.0.0.1:{port}/ai/coze"
    service = start(FORWARDED_ALLOW_IPS="127.0.0.1", PUBLIC_BASE_URL=base)
    with nginx(tmp_path, int(service.url.rpartition(":")[2]), port, "/ai/coze/"):
        contract = f"{base}/openapi.yaml"
        server = urljoin(contract, yaml.safe_load(http.get(contract).content)["servers"][0]["url"])
        assert http.get(urljoin(server, "health")).json()["status"] == "healthy"
        uploaded = http.post(f"{base}/api/v1/upload", files={"file": ("a.txt", b"1")}).json()
        assert uploaded["file_url"].startswith(f"{base}/api/v1/files/")
        assert http.get(uploaded["file_url"]).content == b"1"
        for path in ("docs/", "docs//", "playground/"):
            answer = http.get(f"{base}/{path}", follow_redirects=True)
            assert (answer.status_code, str(answer.url)) == (200, f"{base}/{path.rstrip('/')}")
        with chromium() as browser:
            with page_on(browser, f"{base}/playground") as page:
                page.wait_for_selector("html[data-ready]")
                page.locator("#question").fill("Hello")
                page.locator("#question").press("Enter")
                expect(page.locator(".bot[aria-busy=false] .bubble")).to_contain_text("Hello")
            with page_on(browser, f"{base}/docs?lang=en#tag/system/GET/api/v1/config") as page:
                page.locator("section[id$='/config']").get_by_role("button", name="Test Request").click()
                with page.expect_response(f"{base}/api/v1/config") as sent:
                    page.get_by_role("dialog").get_by_role("button", name="Send").first.click()
                assert sent.value.status == 200


def test_a_service_that_is_away_is_said_in_the_envelope(tmp_path: Path) -> None:
    with nginx(tmp_path, free_port()) as url:
        answer = http.get(f"{url}/health")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert_envelope(answer.json(), "/health")
    assert answer.json()["retry_after"] == 5


def test_a_restart_of_the_service_under_load_refuses_nobody(front: httpx.Client, behind: Service) -> None:
    def workers() -> set[int]:
        return {process.pid for process in psutil.Process(behind.process.pid).children()}

    wait_until(lambda: len(workers()) == 2)
    before = workers()
    behind.process.send_signal(signal.SIGHUP)

    def one(number: int) -> list[str]:
        ends = []
        while len(workers()) != 2 or workers() & before:
            answer = front.post("/api/v1/chat", json={**chat("", "Hello", stream=True), "user_id": f"u{number}"})
            assert answer.status_code == 200, answer.text
            ends.append(events_of(answer.text)[-2]["type"])
        return ends

    with ThreadPoolExecutor(6) as clients:
        ends = [end for ends in clients.map(one, range(6)) for end in ends]
    assert set(ends) == {"chat_completed"}
