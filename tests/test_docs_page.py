"""/docs in Chromium, offline: Scalar on the contract, in English or Chinese, and its requests to the service."""

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from browser import NARROW, chromium, keep_screenshot, page_on
from conftest import Service, Start, Upstream
from envelope import assert_envelope
from operations import OPERATIONS
from playwright.sync_api import Browser, FilePayload, Locator, Page, Response, expect

from service.contract import contract

pytestmark = pytest.mark.browser

EXAMPLES = contract().document["paths"]["/api/v1/chat"]["post"]["requestBody"]["content"]["application/json"][
    "examples"
]
TALKS_ON = "7537334510896180605"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def page(browser: Browser, service: Service, upstream: Upstream) -> Iterator[Page]:
    upstream.reset()
    upstream.set(delta_seconds=0)
    with page_on(browser, f"{service.url}/docs?lang=en", statuses=(404,)) as opened:
        expect(entry(opened, "chat")).to_be_visible()
        for group in {operation.about["tags"][0] for operation in OPERATIONS.values()} - {"Chat"}:
            opened.locator("aside").get_by_role("button", name=f"Open Group - {group}").click()
        yield opened


def entry(page: Page, operation: str) -> Locator:
    """An operation's link in the side bar."""
    _, method, path, about = OPERATIONS[operation]
    return page.locator(f"aside a[href$='#tag/{about['tags'][0].lower()}/{method}{path}']")


def section(page: Page, operation: str) -> Locator:
    """An operation's part of the page, scrolled to."""
    entry(page, operation).click()
    found = page.locator(f"section[id$='/{OPERATIONS[operation].method}{OPERATIONS[operation].path}']")
    expect(found.get_by_role("button", name="Test Request")).to_be_visible()
    return found


@contextlib.contextmanager
def tried(page: Page, operation: str, example: str | None = None, body: object = None) -> Iterator[Locator]:
    """The dialog in which an operation's request is sent: as it stands, with one of its examples, or another body."""
    shown = section(page, operation)
    if example:
        shown.get_by_test_id("example-picker").click()
        page.get_by_role("option", name=example, exact=True).click()
    shown.get_by_role("button", name="Test Request").click()
    dialog = page.get_by_role("dialog")
    if body:
        dialog.locator(".cm-content").first.click()
        page.keyboard.press("ControlOrMeta+a")
        page.keyboard.insert_text(json.dumps(body))
    yield dialog
    dialog.get_by_role("button", name="Close Client").click()
    expect(dialog).to_have_count(0)


def sent(dialog: Locator) -> tuple[Response, Locator]:
    """Sends the request: the answer, and where the page shows it."""
    with dialog.page.expect_response(lambda answer: "/api/v1/" in answer.url) as answer:
        dialog.get_by_role("button", name=re.compile("Send|发送")).first.click()
    return answer.value, dialog.locator(".response-section-content")


def test_every_operation_is_listed_and_chat_comes_first(page: Page) -> None:
    for operation in OPERATIONS:
        expect(entry(page, operation)).to_have_count(1)
    first = page.locator("aside a[href*='/api/v1/']").first
    assert first.get_attribute("href") == entry(page, "chat").get_attribute("href")
    keep_screenshot(page, "docs")


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_of_a_chat_can_be_sent_as_they_are(page: Page, name: str) -> None:
    with tried(page, "chat", example=EXAMPLES[name]["summary"]) as dialog:
        answer, shown = sent(dialog)
        assert answer.status == 200
        assert "authorization" not in answer.request.headers
        assert answer.request.post_data_json == EXAMPLES[name]["value"]
        expect(shown).to_contain_text('data: {"type":"end"}' if EXAMPLES[name]["value"].get("stream") else '"success"')


def test_a_failing_call(page: Page) -> None:
    question = {"bot_id": "1", "user_id": "docs", "messages": [{"role": "user", "content": "Hello"}]}
    with tried(page, "chat", body=question) as dialog:
        answer, shown = sent(dialog)
        assert answer.status == 404
        assert_envelope(answer.json(), "/api/v1/chat")
        expect(shown).to_contain_text('"bot_not_found"')


def test_an_upload(page: Page) -> None:
    with tried(page, "uploadFile") as dialog:
        with page.expect_file_chooser() as chooser:
            dialog.get_by_role("button", name="File").first.click()
        file: FilePayload = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"some notes"}
        chooser.value.set_files(file)
        answer, shown = sent(dialog)
        assert answer.status == 200
        assert (answer.json()["file_name"], answer.json()["bytes"]) == ("notes.txt", 10)
        expect(shown).to_contain_text('"notes.txt"')


def test_a_bot(page: Page) -> None:
    with tried(page, "getBot") as dialog:
        answer, shown = sent(dialog)
        assert answer.status == 200
        expect(shown).to_contain_text('"is_default"')


@pytest.mark.parametrize(("client", "sample"), [("Fetch", "fetch('"), ("Requests", "requests.post(")])
def test_samples(page: Page, client: str, sample: str) -> None:
    shown = section(page, "chat")
    expect(shown).to_contain_text("curl ")
    shown.get_by_test_id("client-picker").click()
    page.get_by_role("option", name=client, exact=True).first.click()
    expect(shown).to_contain_text(sample)
    shown.get_by_test_id("client-picker").click()
    page.get_by_role("option", name="Curl", exact=True).click()


def test_search(page: Page) -> None:
    page.keyboard.press("ControlOrMeta+k")
    page.keyboard.insert_text("rename")
    page.get_by_role("option").filter(has_text="Rename a conversation").first.click()
    expect(page).to_have_url(re.compile("#tag/conversations/PATCH"))


def test_a_stream_is_seen_as_it_comes(page: Page, service: Service) -> None:
    # It would go on for ten minutes.
    question = {
        "bot_id": TALKS_ON,
        "user_id": "docs",
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
    }
    with tried(page, "chat", body=question | {"on_disconnect": "continue"}) as dialog:
        answer, shown = sent(dialog)
        expect(shown).to_contain_text('data: {"type":"message_delta"')
        keep_screenshot(page, "docs-stream")
        service.http.post(f"/api/v1/answers/{answer.headers['answer-id']}/stop")
        expect(shown).to_contain_text('data: {"type":"end"}')


def test_in_chinese_dark_on_a_phone_with_a_key(browser: Browser, start: Start) -> None:
    service = start(API_KEYS=hashlib.sha256(b"key-of-the-docs").hexdigest())
    context: dict[str, Any] = {"locale": "zh-CN", "color_scheme": "dark", "viewport": NARROW}
    with page_on(browser, f"{service.url}/docs#tag/system/GET/api/v1/config", statuses=(401,), **context) as page:
        expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
        shown = page.locator("section[id$='/GET/api/v1/config']")
        expect(shown.get_by_role("heading", name="查询配置")).to_be_visible()
        ground = page.evaluate("getComputedStyle(document.querySelector('header')).backgroundColor")
        assert max(map(int, re.findall(r"\d+", ground)[:3])) < 64, ground
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        keep_screenshot(page, "docs-zh-dark-narrow")

        shown.get_by_role("button", name="测试请求").click()
        dialog = page.get_by_role("dialog")
        answer, _ = sent(dialog)
        assert answer.status == 401
        assert_envelope(answer.json(), "/api/v1/config")
        dialog.get_by_role("button", name="身份验证").first.click()
        dialog.get_by_role("button", name="选择身份验证类型").click()
        page.get_by_role("option", name="apiKey").click()
        dialog.get_by_placeholder("令牌").fill("key-of-the-docs")
        answer, _ = sent(dialog)
        assert (answer.status, answer.json()["success"]) == (200, True)
        keep_screenshot(page, "docs-key")
