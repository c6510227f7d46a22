"""/docs in Chromium, offline: Swagger UI lists every operation, and "Try it out" executes them."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from browser import chromium, keep_screenshot, page_on
from conftest import Service, Start, Upstream
from envelope import assert_envelope
from operations import Headers, Operation, each_operation, visitor
from playwright.sync_api import Browser, FilePayload, Locator, Page, expect

from service.contract import contract

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def page(browser: Browser, service: Service, upstream: Upstream) -> Iterator[Page]:
    upstream.reset()
    upstream.set(delta_seconds=0)
    with page_on(browser, f"{service.url}/docs", statuses=(404,)) as opened:
        expect(opened.locator(".opblock")).to_have_count(len(contract().routes))
        yield opened


def opened(page: Page, tag: str, operation: str) -> Locator:
    """An operation of the page, unfolded and ready to be tried. The one before is folded.

    Swagger UI draws all that are unfolded anew at each key and each click, which takes seconds with many.
    """
    block = page.locator(f"#operations-{tag}-{operation}")
    before = page.locator(f".opblock.is-open:not(#operations-{tag}-{operation})")
    if before.count():
        before.locator(".opblock-summary").click()
    if "is-open" not in (block.get_attribute("class") or ""):
        block.locator(".opblock-summary").click()
    expect(block.get_by_role("button", name="Execute")).to_be_visible()
    return block


def executed(block: Locator) -> tuple[int, str]:
    """Presses "Execute": the answer's status and its body as shown."""
    if block.get_by_role("button", name="Clear", exact=True).count():
        block.get_by_role("button", name="Clear", exact=True).click()
    block.get_by_role("button", name="Execute").click()
    answer = block.locator(".live-responses-table .response")
    expect(answer.locator("pre").first).to_be_visible()
    return int(answer.locator(".response-col_status").inner_text().split()[0]), answer.locator("pre").first.inner_text()


def test_every_operation_is_listed(page: Page) -> None:
    listed = {
        (block.locator(".opblock-summary-method").inner_text(), block.locator("[data-path]").get_attribute("data-path"))
        for block in page.locator(".opblock").all()
    }
    assert listed == contract().routes
    keep_screenshot(page, "docs")


def test_a_chat(page: Page) -> None:
    status, body = executed(opened(page, "Chat", "chat"))
    assert status == 200
    answer: dict[str, Any] = json.loads(body)
    assert answer["data"]["content"].startswith("你好！我是扣子沙盒里的智能体")


def test_a_streamed_chat(page: Page) -> None:
    block = opened(page, "Chat", "chat")
    question = {"user_id": "docs", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
    block.locator("textarea").fill(json.dumps(question))
    status, body = executed(block)
    assert status == 200
    assert '"message_delta"' in body
    assert body.rstrip().endswith('data: {"type":"end"}')


def test_a_failing_call(page: Page) -> None:
    block = opened(page, "Chat", "chat")
    question = {"bot_id": "1", "user_id": "docs", "messages": [{"role": "user", "content": "Hello"}]}
    block.locator("textarea").fill(json.dumps(question))
    status, body = executed(block)
    assert status == 404
    assert_envelope(json.loads(body), "/api/v1/chat")
    keep_screenshot(page, "docs-failing")


def test_an_upload(page: Page) -> None:
    block = opened(page, "Files", "uploadFile")
    file: FilePayload = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"some notes"}
    block.locator("input[type=file]").set_input_files(file)
    block.locator("tr", has_text="description").locator("input[type=text]").fill("My notes")
    status, body = executed(block)
    assert status == 200
    answer = json.loads(body)
    assert (answer["file_name"], answer["bytes"], answer["description"]) == ("notes.txt", 10, "My notes")


@pytest.fixture(scope="module")
def user(page: Page, service: Service) -> Headers:
    """A visitor, whom the page calls as from here on."""
    headers = visitor(service.http)
    page.locator(".auth-wrapper .authorize").first.click()
    page.locator(".modal-ux input").last.fill(headers["Authorization"].removeprefix("Bearer "))
    page.locator(".modal-ux .authorize").last.click()
    page.locator(".modal-ux .btn-done").last.click()
    return headers


@each_operation("chat", "uploadFile")
def test_the_others(page: Page, service: Service, user: Headers, operation: Operation) -> None:
    (tag,) = operation.about["tags"]
    block = opened(page, tag, operation.name)
    for name, value in operation.arguments(service.http, user).items():
        block.locator(f"tr[data-param-name={name}] input").fill(value)
    status, body = executed(block)
    assert (status, bool(body)) == (200, True)


def test_a_service_that_asks_for_a_key(browser: Browser, start: Start) -> None:
    service = start(API_KEYS=hashlib.sha256(b"key-of-the-docs").hexdigest())
    with page_on(browser, f"{service.url}/docs", statuses=(401,)) as page:
        status, body = executed(opened(page, "System", "getConfig"))
        assert status == 401
        assert_envelope(json.loads(body), "/api/v1/config")
        page.locator(".auth-wrapper .authorize").first.click()
        page.locator(".modal-ux input").first.fill("key-of-the-docs")
        page.locator(".modal-ux .authorize").first.click()
        page.locator(".modal-ux .btn-done").first.click()
        status, body = executed(opened(page, "System", "getConfig"))
        assert (status, json.loads(body)["success"]) == (200, True)
