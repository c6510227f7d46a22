"""Tools that read the contract and generate no client: Prism mocks it and checks answers by it, Postman imports it."""

import contextlib
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import ROOT, Service, events_of, wait_until
from javascript import TESTS, needs_packages, node, run_tool

from service.contract import contract
from service.pages.rendition import rendition

PRISM = TESTS / "node_modules" / "@stoplight" / "prism-cli" / "dist" / "index.js"


@contextlib.contextmanager
def prism(folder: Path, command: str, *arguments: str, document: bytes | None = None) -> Iterator[httpx.Client]:
    """A client of Prism, which reads `document`, else the contract in OpenAPI 3.0."""
    needs_packages("@stoplight/prism-cli")
    (folder / "openapi.json").write_bytes(document or rendition().json)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [node(), PRISM, command, "-p", "0", "openapi.json", *arguments],
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: process.poll() is not None or "is listening on" in (folder / "log").read_text(), 60)
        text = (folder / "log").read_text()
        found = re.search(r"is listening on (http://127\.0\.0\.1:\d+)", text)
        assert found, text
        with httpx.Client(base_url=found[1], timeout=30) as client:
            yield client
    finally:
        process.terminate()
        process.wait(30)


QUESTION: dict[str, Any] = {"user_id": "u", "messages": [{"role": "user", "content": "Hello"}]}


def test_prism_mocks_a_chat_and_its_stream(tmp_path: Path) -> None:
    with prism(tmp_path, "mock") as client:
        answer = client.post("/api/v1/chat", json=QUESTION)
        assert answer.json()["data"]["content"].startswith("你好")
        stream = client.post("/api/v1/chat", json=QUESTION, headers={"accept": "text/event-stream"})
        assert stream.headers["content-type"] == "text/event-stream"
        assert [event["type"] for event in events_of(stream.text)] == [
            "chat_started",
            "message_delta",
            "chat_completed",
            "end",
        ]


def test_prism_finds_nothing_wrong_with_real_answers(service: Service, bots: dict[str, str], tmp_path: Path) -> None:
    picture = service.http.post("/api/v1/upload", files={"file": ("a.png", b"\x89PNG\r\n\x1a\n" + bytes(9))}).json()
    with prism(tmp_path, "proxy", service.url, "--errors") as client:

        def send(status: int, method: str, path: str, **options: Any) -> httpx.Response:
            answer = client.request(method, path, **options)
            assert answer.status_code == status, answer.text
            assert "sl-violations" not in answer.headers
            return answer

        for path in ("", "health", "api/v1/user/info", "api/v1/workspaces", "api/v1/config", "api/v1/test/connection"):
            send(200, "GET", f"/{path}")
        stream = send(200, "POST", "/api/v1/chat", json=QUESTION | {"stream": True})
        assert [event["type"] for event in events_of(stream.text)][-2:] == ["chat_completed", "end"]
        broken = send(200, "POST", "/api/v1/chat", json=QUESTION | {"stream": True, "bot_id": bots["reset"]})
        assert [event["type"] for event in events_of(broken.text)][-2:] == ["error", "end"]
        nulls = {"bot_id": None, "conversation_id": None, "stream": None}
        message = {"role": "user", "content": "Hello", "content_type": None}
        send(200, "POST", "/api/v1/chat", json=QUESTION | nulls | {"messages": [message]})
        for name, status in (("code-4015", 400), ("429-retry-after", 429), ("code-4100", 500), ("code-5000", 503)):
            send(status, "POST", "/api/v1/chat", json=QUESTION | {"bot_id": bots[name]})
        send(404, "POST", "/api/v1/chat", json=QUESTION | {"bot_id": "1"})
        send(200, "POST", "/api/v1/upload", files={"file": ("a.txt", b"1")}, data={"description": "x"})
        send(400, "POST", "/api/v1/upload", files={"file": ("a.exe", b"1")})
        link = picture["file_url"].removeprefix(service.url)
        assert send(200, "GET", link).headers["content-type"] == "image/png"
        send(206, "GET", link, headers={"Range": "bytes=0-3"})
        send(304, "GET", link, headers={"If-None-Match": service.http.get(link).headers["etag"]})
        send(416, "GET", link, headers={"Range": "bytes=999-"})
        send(404, "GET", f"/api/v1/files/{'A' * 72}")


def test_prism_would_find_what_is_wrong(service: Service, tmp_path: Path) -> None:
    wrong = rendition().json.replace(b'"enum":["running"]', b'"enum":["walking"]')
    with prism(tmp_path, "proxy", service.url, "--errors", document=wrong) as client:
        answer = client.get("/")
    assert answer.status_code == 500
    assert answer.json()["type"].endswith("#VIOLATIONS")


def requests(items: list[Any]) -> Iterator[tuple[tuple[str, str], Any]]:
    """Each request of a collection, by its method and path."""
    for item in items:
        if "item" in item:
            yield from requests(item["item"])
        else:
            path = "/" + "/".join(item["request"]["url"]["path"])
            yield (item["request"]["method"], path), item["request"]


@pytest.mark.parametrize("source", ["openapi.yaml", "rendition"])
def test_postman_sends_a_key_wherever_one_may_be_asked_for(source: str, tmp_path: Path) -> None:
    needs_packages("openapi-to-postmanv2")
    file = ROOT / source
    if source == "rendition":
        file = tmp_path / "openapi.json"
        file.write_bytes(rendition().json)
    run_tool(tmp_path, "openapi2postmanv2", "-s", str(file), "-o", "collection.json")
    collection = json.loads((tmp_path / "collection.json").read_text(encoding="utf-8"))
    found = dict(requests(collection["item"]))
    assert len(found) == len(contract().routes)
    for (_, path), request in found.items():
        keyed = path.startswith(("/api/v1/", "/openai/")) and not re.search("/(files|visitors)", path)
        assert (request.get("auth") or {}).get("type") == ("bearer" if keyed else None), path
