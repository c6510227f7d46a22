"""The playground in Chromium: chats, stopping, files, errors, both languages, and nothing from elsewhere."""

import hashlib
import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from browser import NARROW, keep_screenshot, page_on
from conftest import ROOT, Service, Start, Upstream, http, wait_until
from envelope import assert_error
from javascript import needs_packages, read_in_every_split
from playground import MARKDOWN, STATIC, VENDOR, answered, ask, open_at, picture, wire
from playwright.sync_api import Browser, FilePayload, Locator, expect

from service.contract import contract
from service.sandbox.bots import BOTS

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("fresh")]


@pytest.mark.parametrize("stream", [True, False])
def test_two_turns_of_a_conversation(browser: Browser, on_sandbox: Service, upstream: Upstream, stream: bool) -> None:
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        if not stream:
            page.get_by_role("switch", name="Stream the answer").uncheck()
        ask(page, "Hello! Who are you?")
        assert answered(page, 1).startswith("Hello! I am the bot of the Coze sandbox")
        conversation = page.locator("#conversation").inner_text()
        assert conversation in wire(page)[-2 if stream else -1]
        assert any('"type":"message_delta"' in row for row in wire(page)) == stream
        assert any(f'"stream":{json.dumps(stream)}' in row for row in wire(page))
        expect(page.locator(".bot .about")).to_contain_text("tokens")
        # A suggested question is asked with a click.
        page.get_by_role("button", name="What did I ask before?").click()
        assert "the last thing you asked was: Hello! Who are you?" in answered(page, 2)
        assert page.locator("#conversation").inner_text() == conversation
        expect(page.locator("#announcer")).to_contain_text("The bot answered")
        assert [chat["conversation_id"] for chat in upstream.state()["chats"]] == [conversation] * 2
        page.get_by_role("button", name="New conversation").click()
        expect(page.locator("#welcome")).to_be_visible()
        ask(page, "What did I ask before?")
        assert answered(page, 1) == "This is the first message I see here."
        assert page.locator("#conversation").inner_text() != conversation


def test_stop_frees_coze(browser: Browser, on_sandbox: Service, upstream: Upstream, bots: dict[str, str]) -> None:
    def freed(count: int) -> bool:
        chats = upstream.state()["chats"]
        return len(chats) == count and all(c["client_left"] and c["status"] == "canceled" for c in chats)

    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        page.get_by_label("Bot id").fill(bots["for-ever"])
        ask(page, "Go on")
        bubble = page.locator(".bot .bubble")
        expect(bubble).to_have_text(re.compile(".{5}"))
        before = len(bubble.inner_text())
        expect(bubble).to_have_text(re.compile(f".{{{before + 5}}}"))  # it grows as one watches
        page.get_by_role("button", name="Stop").click()
        expect(page.locator(".bot .about")).to_contain_text("Stopped")
        wait_until(lambda: freed(1))
        ask(page, "Go on")
        expect(bubble).to_have_count(2)
        expect(bubble.last).to_have_text(re.compile(".{5}"))
        page.keyboard.press("Escape")
        expect(page.get_by_role("button", name="Send")).to_be_visible()
        wait_until(lambda: freed(2))
        assert page.locator(".error").count() == 0
        # The first one was stopped before it was complete, and the second is its conversation's next turn.
        assert len({chat["conversation_id"] for chat in upstream.state()["chats"]}) == 1


def test_a_picture_and_a_question_about_it(browser: Browser, on_sandbox: Service) -> None:
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        page.get_by_label("Attach", exact=True).set_input_files([picture(), picture(name="second.png")])
        expect(page.get_by_role("list", name="Attached files").get_by_role("listitem")).to_have_count(2)
        page.get_by_role("button", name="Remove second.png").click()
        page.get_by_label("Message", exact=True).fill("What is in this picture?")
        page.get_by_role("button", name="Send").click()  # as soon as the picture is there
        answer = answered(page, 1)
        assert "evening.png" in answer
        assert "second.png" not in answer
        assert "You said: What is in this picture?" in answer
        shown = page.get_by_role("img", name="evening.png")
        expect(shown).to_have_attribute("src", re.compile(re.escape(on_sandbox.url) + "/api/v1/files/"))
        large = page.get_by_role("link", name="evening.png")
        expect(large).to_have_attribute("href", shown.get_attribute("src") or "")
        page.wait_for_function("image => image.naturalWidth == 240", arg=shown.element_handle())
        keep_screenshot(page, "playground")


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_a_file_that_is_dropped_or_pasted(browser: Browser, on_sandbox: Service, way: str) -> None:
    event = {
        "drop": "new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true})",
        "paste": "new ClipboardEvent('paste', {clipboardData: data, bubbles: true, cancelable: true})",
    }
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        page.locator("#question").evaluate(
            f"""target => {{
              const data = new DataTransfer();
              data.items.add(new File(["some notes"], "notes.txt", {{type: "text/plain"}}));
              target.dispatchEvent({event[way]});
            }}"""
        )
        expect(page.locator("#files li")).to_contain_text("10 B")
        expect(page.get_by_placeholder("Ask about the file…")).to_be_focused()
        expect(page.get_by_role("button", name="Send")).to_be_disabled()  # Coze takes no message of files alone
        ask(page, "What is it?")
        assert "notes.txt (10 bytes" in answered(page, 1)
        link = page.get_by_role("link", name="notes.txt").get_attribute("href") or ""
        assert http.get(link).content == b"some notes"


def test_a_file_that_cannot_be_uploaded(browser: Browser, on_sandbox: Service, upstream: Upstream) -> None:
    with page_on(browser, f"{on_sandbox.url}/playground", statuses=(400,)) as page:
        open_at(page)
        page.get_by_label("Attach", exact=True).set_input_files({"name": "tool.exe", "mimeType": "", "buffer": b"MZ"})
        card = page.get_by_role("alert").last
        expect(card).to_contain_text("tool.exe was not uploaded · HTTP 400")
        expect(card).to_contain_text("Coze does not support this type of file")
        page.get_by_label("Attach", exact=True).set_input_files({"name": "void.txt", "mimeType": "", "buffer": b""})
        expect(card).to_contain_text("void.txt is empty.")
        huge: FilePayload = {"name": "huge.bin", "mimeType": "", "buffer": b"x" * (10 * 1024 * 1024 + 1)}
        page.get_by_label("Attach", exact=True).set_input_files(huge)
        expect(card).to_contain_text("huge.bin exceeds the 10 MiB limit")
        assert page.locator("#files li").count() == 0


@pytest.mark.parametrize(
    ("bot", "title", "message"),
    [
        ("429-retry-after", "Too many requests · HTTP 429", "Try again"),
        ("503-retry-after", "Not available at the moment · HTTP 503", "Try again"),
        ("code-4015", "Invalid request · HTTP 400", "published"),
        ("code-4028", "Not available at the moment · HTTP 503", "quota"),
        ("reset", "The answer broke off", "Coze"),
    ],
)
def test_an_error(
    browser: Browser, on_sandbox: Service, bots: dict[str, str], bot: str, title: str, message: str
) -> None:
    with page_on(browser, f"{on_sandbox.url}/playground", statuses=(400, 429, 503)) as page:
        open_at(page)
        if "retry-after" in bot:
            page.clock.install()
            page.clock.pause_at(datetime.now(UTC) + timedelta(minutes=1))  # a slow machine may miss the whole wait
        page.get_by_label("Bot id").fill(bots[bot])
        ask(page, "Hello")
        card = page.get_by_role("alert")
        expect(card).to_contain_text(title)
        expect(card.locator(".what")).to_contain_text(message)
        request_id = card.locator("code").inner_text()
        assert any(line.get("request_id") == request_id for line in on_sandbox.lines())
        page.get_by_label("Bot id").fill("")
        if "retry-after" in bot:
            expect(card.get_by_role("button", name=re.compile(r"Try again in \d s"))).to_be_disabled()
            page.clock.fast_forward(7000)
            page.clock.resume()
        card.get_by_role("button", name="Try again", exact=True).click()
        assert answered(page, 1).startswith("Hello! I am")
        expect(page.locator(".user")).to_have_count(1)
        assert page.get_by_role("alert").count() == 0


def test_a_question_that_is_asked_again(browser: Browser, on_sandbox: Service, bots: dict[str, str]) -> None:
    """Not while another one is answered; then it moves to the end, and half an answer makes room for the whole one."""
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        page.get_by_label("Bot id").fill(bots["reset"])
        ask(page, "The first question")
        again = page.get_by_role("alert").get_by_role("button", name="Try again")
        expect(again).to_be_enabled()
        page.get_by_label("Bot id").fill(bots["for-ever"])
        ask(page, "The second question")
        expect(again).to_be_disabled()
        page.keyboard.press("Escape")
        page.get_by_label("Bot id").fill("")
        again.click()
        expect(page.locator(".bot[aria-busy=false]")).to_have_count(2)
        bubbles = page.locator(".bubble").all_inner_texts()
        assert [bubbles[0], bubbles[2:]] == [
            "The second question",
            ["The first question", "You said: The first question"],
        ]
        assert page.get_by_role("alert").count() == 0


def test_an_empty_answer(browser: Browser, on_sandbox: Service, bots: dict[str, str]) -> None:
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        page.get_by_label("Bot id").fill(bots["empty-answer"])
        ask(page, "Hello")
        assert answered(page, 1) == "The bot said nothing."
        expect(page.locator("#announcer")).to_have_text("The bot answered. The bot said nothing.")


def test_another_bot_in_mid_chat(
    browser: Browser, on_sandbox: Service, upstream: Upstream, bots: dict[str, str]
) -> None:
    """A conversation belongs to its bot: a line says where the next one begins."""
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        ask(page, "Hello")
        answered(page, 1)
        page.get_by_label("Bot id").fill(bots["reasoning"])
        ask(page, "And you?")
        answered(page, 2)
        shown = page.locator("#turns > *").evaluate_all("all => all.map((one) => one.className)")
        assert shown == ["message user", "message bot", "divider", "message user", "message bot"]
        expect(page.locator(".divider")).to_have_text("New conversation")
        assert len({chat["conversation_id"] for chat in upstream.state()["chats"]}) == 2


def test_a_conversation_that_does_not_begin_has_one_line(
    browser: Browser, on_sandbox: Service, bots: dict[str, str]
) -> None:
    with page_on(browser, f"{on_sandbox.url}/playground", statuses=(400,)) as page:
        open_at(page)
        ask(page, "Hello")
        answered(page, 1)
        page.get_by_label("Bot id").fill(bots["code-4015"])
        ask(page, "And you?")
        page.get_by_role("button", name="Try again").click()
        expect(page.get_by_role("button", name="Try again")).to_be_enabled()
        ask(page, "And now?")
        expect(page.get_by_role("alert")).to_have_count(2)
        expect(page.locator(".divider")).to_have_count(1)


def test_a_picture_does_not_end_the_following(browser: Browser, on_sandbox: Service) -> None:
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        for turn in range(1, 6):
            ask(page, f"Question {turn}")
            answered(page, turn)
        page.get_by_label("Attach", exact=True).set_input_files(picture())
        page.get_by_label("Message", exact=True).fill("What is in this picture?")
        page.get_by_role("button", name="Send").click()
        answered(page, 6)
        page.get_by_role("img", name="evening.png").evaluate("image => image.decode()")
        expect(page.locator(".bot .suggestions, .bot .about").last).to_be_in_viewport(ratio=1)


def test_a_service_that_is_gone(browser: Browser, start: Start) -> None:
    service = start()
    with page_on(browser, f"{service.url}/playground", refused=True) as page:
        open_at(page)
        service.stop()
        ask(page, "Hello")
        expect(page.get_by_role("alert")).to_contain_text("No connection")


def test_an_input_method_keeps_its_enter(browser: Browser, on_sandbox: Service, upstream: Upstream) -> None:
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        page.locator("#question").fill("ni hao")
        page.locator("#question").dispatch_event("keydown", {"key": "Enter", "isComposing": True})
        assert page.locator(".message").count() == 0
        page.locator("#question").press("Enter")
        answered(page, 1)
        assert len(upstream.state()["chats"]) == 1


def test_an_input_method_keeps_its_escape(browser: Browser, on_sandbox: Service, bots: dict[str, str]) -> None:
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        page.get_by_label("Bot id").fill(bots["for-ever"])
        ask(page, "Hello")
        expect(page.locator(".bot .bubble")).to_contain_text("1 2")
        page.locator("#question").fill("ni hao")
        for more in ("isComposing: true", "keyCode: 229"):
            key = f'new KeyboardEvent("keydown", {{ key: "Escape", bubbles: true, {more} }})'
            page.locator("#question").evaluate(f"field => field.dispatchEvent({key})")
        expect(page.get_by_role("button", name="Stop")).to_be_visible()
        page.locator("#question").press("Escape")
        expect(page.get_by_role("button", name="Stop")).to_be_hidden()


def test_chinese_dark_and_narrow(browser: Browser, on_sandbox: Service) -> None:
    url = f"{on_sandbox.url}/playground"
    light, dark = "rgb(244, 245, 249)", "rgb(16, 18, 26)"
    with page_on(browser, url, locale="zh-CN", color_scheme="dark", viewport=NARROW) as page:
        open_at(page)
        assert page.locator("html").get_attribute("lang") == "zh-CN"
        expect(page.locator("body")).to_have_css("background-color", dark)
        page.get_by_role("button", name="您是谁？").click()
        assert answered(page, 1).startswith("您好！")
        for role, name in (("button", "发送"), ("button", "新会话"), ("textbox", "消息"), ("switch", "流式回答")):
            assert page.get_by_role(role, name=name).count() == 1, name  # type: ignore[arg-type]
        assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
        # All that is written in English in the HTML has a translation.
        texts = page.locator("[data-text]").all_inner_texts()
        assert [text for text in texts if text.isascii()] == []
        keep_screenshot(page, "playground-zh-dark-narrow")
    with page_on(browser, url, locale="en-GB", color_scheme="light") as page:
        open_at(page)
        assert page.locator("html").get_attribute("lang") == "en"
        expect(page.locator("body")).to_have_css("background-color", light)


def test_every_control_has_a_name_and_the_keyboard_reaches_it(browser: Browser, on_sandbox: Service) -> None:
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        expect(page.locator("#question")).to_be_focused()
        names = {"Attach", "Bot id", "User id", "Stream the answer", "New conversation", "Clear"}
        reached = set()
        for _ in range(20):
            page.keyboard.press("Tab")
            reached.add(page.evaluate("(e => e.labels?.[0]?.innerText ?? e.innerText)(document.activeElement)").strip())
        assert names <= reached
        for control in page.locator("button, input, textarea").all():
            assert control.evaluate("e => (e.labels?.[0]?.innerText ?? e.innerText) || e.ariaLabel"), control


def test_the_keyboard_goes_on_where_a_button_was(browser: Browser, on_sandbox: Service, bots: dict[str, str]) -> None:
    def press(button: Locator, focused: str = "log") -> None:
        expect(button).to_be_enabled()
        button.press("Enter")
        page.wait_for_timeout(50)  # a button that is switched off loses the keyboard a frame later
        assert page.evaluate("document.activeElement.id") == focused

    with page_on(browser, f"{on_sandbox.url}/playground", "https://example.com", statuses=(503,), lost=True) as page:
        page.route("https://example.com/**", lambda route: route.fulfill(body=picture()["buffer"]))
        open_at(page)
        press(page.get_by_role("button", name="Who are you?"))
        answered(page, 1)
        press(page.get_by_role("button", name="Who are you?"))
        answered(page, 2)
        press(page.get_by_role("button", name="Ask again").first)
        answered(page, 3)
        page.get_by_label("Bot id").fill(bots["code-4028"])
        ask(page, "Again and again")
        again = page.get_by_role("alert").get_by_role("button", name="Try again")
        expect(again).to_be_enabled()
        page.get_by_label("Bot id").fill(bots["markdown"])
        press(again)
        answered(page, 4)
        press(page.get_by_role("button", name="A wave: show the picture"))
        expect(page.get_by_role("img", name="A wave")).to_be_visible()
        page.route("**/api/v1/upload", lambda route: route.abort(), times=1)
        page.get_by_label("Attach", exact=True).set_input_files(picture())
        press(page.get_by_role("alert").get_by_role("button", name="Try again"))
        expect(page.locator("#files li")).to_contain_text("872 B")
        press(page.get_by_role("button", name="Remove evening.png"), "question")
        page.get_by_label("Bot id").fill(bots["for-ever"])
        ask(page, "Go on")
        press(page.get_by_role("button", name="Stop"), "question")


def test_the_sandbox_offers_its_bots_and_coze_does_not(browser: Browser, on_sandbox: Service, service: Service) -> None:
    offered = "[...document.querySelectorAll('#bots option')].map(option => option.value)"
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        expect(page.locator("#bots option")).not_to_have_count(0)
        ids = page.evaluate(offered)
        assert len(ids) > 5
        assert set(ids) <= set(BOTS)
    with page_on(browser, f"{service.url}/playground") as page:
        open_at(page)
        expect(page.locator("#bot")).to_have_attribute("placeholder", re.compile(r"\d+"))
        assert page.evaluate(offered) == []


def test_the_page_and_its_policy(service: Service) -> None:
    page = service.http.get("/playground")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    accept = "".join(f".{extension}," for extension in contract().file_extensions).rstrip(",")
    assert f'type="file" multiple accept="{accept}"' in page.text
    assert policy["default-src"] == "'none'"
    assert (policy["require-trusted-types-for"], policy["trusted-types"]) == ("'script'", "'none'")
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    files = [*STATIC.iterdir(), *MARKDOWN.iterdir()]
    assert sum(file.stat().st_size for file in files) < 150_000
    for file in files:
        answer = service.http.get(f"/{file.parent.parent.name}/assets/{file.name}")
        assert answer.content == file.read_bytes()
        assert answer.headers["cache-control"] == "no-cache"
        text = file.read_text(encoding="utf-8")
        assert set(re.findall(r"https?://[^\s\"']+", text)) <= {"http://www.w3.org/2000/svg"}
        # From the root of the host it would lead wrong where a proxy serves the page under a path.
        assert not re.findall(r"""["'`]/\w.*""", text)


def test_what_others_made_is_as_they_published_it(service: Service) -> None:
    """With its licence, and that of what it bundles. npm's copy is there to be looked after like other packages."""
    licences = (VENDOR / "LICENCES.txt").read_text()
    packages = json.loads((VENDOR / "vendored.json").read_text())
    assert {file.name for file in VENDOR.iterdir()} == {
        "LICENCES.txt",
        "vendored.json",
        *(one["file"] for one in packages),
    }
    for package in packages:
        content = (VENDOR / package["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == package["sha256"]
        answer = service.http.get(f"/markdown/vendor/{package['file']}")
        assert answer.content == content
        assert "javascript" in answer.headers["content-type"]
        for part in (package, *package["bundles"]):
            assert f"==== {part['name']} {part['version']}\n" in licences
        pinned = json.loads((ROOT / "tests" / "package-lock.json").read_text())["packages"]
        assert pinned[f"node_modules/{package['name']}"]["integrity"] == package["integrity"]


@pytest.mark.npm
def test_npm_has_the_same() -> None:
    needs_packages("markdown-it")
    (package,) = json.loads((VENDOR / "vendored.json").read_text())
    published = ROOT / "tests" / "node_modules" / package["name"] / package["path"].removeprefix("package/")
    assert published.read_bytes() == (VENDOR / package["file"]).read_bytes()


def test_where_only_a_website_may_call_the_page_may(browser: Browser, start: Start, upstream: Upstream) -> None:
    """And no form of another website's page, which no browser asks about beforehand."""
    service = start(CORS_ALLOW_ORIGINS="https://shop.example")
    with page_on(browser, f"{service.url}/playground") as page:
        open_at(page)
        ask(page, "Hello")
        assert "Hello" in answered(page, 1)
    form = f"""const form = document.createElement("form");
        Object.assign(form, {{ action: "{service.url}/api/v1/upload", method: "post" }});
        form.enctype = "multipart/form-data";
        document.body.append(form);
        form.submit();"""
    with page_on(browser, f"{upstream.url}/sandbox/bots", service.url, statuses=(400, 404)) as page:
        with page.expect_navigation():
            page.evaluate(form)
        expect(page.locator("body")).to_contain_text("This website may not call from a browser.")


def test_it_can_be_switched_off(start: Start) -> None:
    service = start(PLAYGROUND="false")
    for path in ("/playground", "/playground/assets/playground.js"):
        assert_error(http.get(f"{service.url}{path}"), 404)


def test_chinese_is_polite() -> None:
    for file in (*STATIC.iterdir(), ROOT / "service" / "pages" / "widget" / "static" / "widget.js"):
        assert "你" not in file.read_text(encoding="utf-8")


def test_the_reader_survives_every_split() -> None:
    read_in_every_split(STATIC / "sse.js", "eventsOf", "{ data }")
