"""The playground in daily use: copy, ask again, edit, follow, wait; errors in both languages; what is hard to see."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from browser import keep_nothing, page_on
from conftest import Service, Start, Upstream, wait_until
from javascript import node, run_tool
from playground import STATIC, answered, ask, bubbles, focused, open_at, picture, visitor_token
from playwright.sync_api import Browser, FilePayload, Route, expect

from service.contract import contract

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("fresh")]
READ_CLIPBOARD = "navigator.clipboard.readText()"
CLIPBOARD = ["clipboard-read", "clipboard-write"]


def test_an_answer_is_copied_and_a_question_asked_again_or_edited(
    browser: Browser, on_sandbox: Service, upstream: Upstream
) -> None:
    with page_on(browser, f"{on_sandbox.url}/playground", permissions=CLIPBOARD) as page:
        open_at(page)
        page.get_by_label("Attach", exact=True).set_input_files(picture())
        page.get_by_label("Message", exact=True).fill("What **is** it?")
        page.get_by_role("button", name="Send").click()
        answered(page, 1)
        page.get_by_role("button", name="Copy the answer").click()
        wait_until(lambda: page.evaluate(READ_CLIPBOARD).endswith("You said: What **is** it?"))
        page.get_by_role("button", name="Ask again").press("Enter")
        assert "evening.png" in answered(page, 2)
        expect(page.locator(".user img")).to_have_count(2)
        page.reload()
        expect(bubbles(page)).to_have_count(4)
        page.get_by_role("button", name="Edit the question").first.press("Enter")
        assert focused(page) == "Message"
        expect(page.locator("#question")).to_have_value("What **is** it?")
        expect(page.get_by_role("list", name="Attached files").get_by_role("img")).to_have_count(0)
        expect(page.locator("#files li img")).to_have_count(1)
        page.keyboard.type(" And where?")
        page.keyboard.press("Enter")
        answer = answered(page, 3)
        assert "evening.png" in answer
        assert "What is it? And where?" in answer
        assert len({chat["conversation_id"] for chat in upstream.state()["chats"]}) == 1


def test_a_question_that_was_not_sent_is_there_after_a_reload(browser: Browser, on_sandbox: Service) -> None:
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        page.locator("#question").fill("A long\nthought")
        page.reload()
        open_at(page)
        expect(page.locator("#question")).to_have_value("A long\nthought")
        page.get_by_role("button", name="Send").click()
        answered(page, 1)
        page.reload()
        open_at(page)
        expect(page.locator("#question")).to_have_value("")


def test_one_chats_with_a_browser_that_keeps_nothing(browser: Browser, start: Start) -> None:
    service = start(API_KEYS=f"page:{hashlib.sha256(b'key-of-the-page').hexdigest()}")
    with page_on(browser, f"{service.url}/playground", statuses=(401,)) as page:
        keep_nothing(page)
        open_at(page)
        ask(page, "Hello")
        page.get_by_role("button", name="Enter a key").click()
        page.get_by_label("API key").fill("key-of-the-page")
        page.get_by_label("API key").press("Enter")
        ask(page, "Hello")
        answered(page, 1)


def test_all_scripts_are_asked_for_at_once(browser: Browser, on_sandbox: Service) -> None:
    """And each of them once."""
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if request.resource_type == "script" else None)
        page.reload()
        open_at(page)
        listed = page.evaluate("[...document.querySelectorAll('link[rel=modulepreload]')].map(({ href }) => href)")
        assert sorted(asked) == sorted(listed)
        assert len(asked) > 20


def test_one_goes_to_the_newest(browser: Browser, on_sandbox: Service) -> None:
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        ask(page, "line\n\n" * 60)
        answered(page, 1)
        newest = page.get_by_role("button", name="↓ Newest")
        expect(newest).to_be_hidden()
        page.locator("#log").hover()
        page.mouse.wheel(0, -600)
        newest.click()
        expect(newest).to_be_hidden()
        expect(page.locator(".bot .about")).to_be_in_viewport()


def test_it_says_how_long_one_has_waited(browser: Browser, on_sandbox: Service, bots: dict[str, str]) -> None:
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        page.get_by_label("Bot id").fill(bots["for-ever"])
        ask(page, "Hello")
        waited = page.locator(".bot .about")
        # Each number stands for a second, in which a slow machine may not look.
        expect(waited).to_have_text(re.compile(r"^\d+ s$"))
        before = int(waited.inner_text().removesuffix(" s"))
        wait_until(lambda: int(waited.inner_text().removesuffix(" s")) > before)
        page.keyboard.press("Escape")
        expect(waited).to_have_text(re.compile("^Stopped · "))


@pytest.mark.parametrize("caller", ["claimed", "visitor"])
def test_the_request_is_copied_as_code_that_runs(
    browser: Browser, on_sandbox: Service, upstream: Upstream, tmp_path: Path, caller: str
) -> None:
    question = 'It\'s "quoted" \\ $HOME `x` 你好 🎉 true null\nand a second line'
    with page_on(browser, f"{on_sandbox.url}/playground", permissions=CLIPBOARD) as page:
        open_at(page)
        expect(page.get_by_role("group", name="Copy the request as")).to_be_hidden()
        if caller == "claimed":
            page.get_by_label("User id").fill("o'alice")
            page.get_by_label("User id").blur()
        ask(page, question)
        answered(page, 1)
        page.evaluate("navigator.clipboard.writeText('')")  # there may be what another test has copied
        snippets: dict[str, str] = {}
        for name in ("cURL", "JavaScript", "Python"):
            page.get_by_role("group", name="Copy the request as").get_by_role("button", name=name).click()
            wait_until(lambda: page.evaluate(READ_CLIPBOARD) not in ("", *snippets.values()))
            snippets[name] = page.evaluate(READ_CLIPBOARD)
        token = visitor_token(page)
    assert all(token not in text for text in snippets.values())
    assert all(("YOUR_TOKEN" in text) == (caller == "visitor") for text in snippets.values())
    commands = {"cURL": ["sh"], "JavaScript": [node(), "--input-type=module"], "Python": [sys.executable]}
    for name, text in snippets.items():
        code = text.replace("YOUR_TOKEN", token)
        done = subprocess.run(commands[name], input=code, capture_output=True, text=True, cwd=tmp_path, timeout=60)
        assert done.returncode == 0, done.stderr
        assert '"type":"end"' in done.stdout
    assert [chat["messages"][-1]["content"] for chat in upstream.state()["chats"]] == [question] * 4


def test_every_code_has_a_chinese_text() -> None:
    listed = run_tool(
        STATIC, node(), "--input-type=module", "-e", 'import { CODES } from "./errors.js"; console.log(CODES.join())'
    )
    assert set(listed.strip().split(",")) == set(contract().document["components"]["schemas"]["ErrorCode"]["enum"])


@pytest.mark.parametrize("locale", ["en", "zh-CN"])
def test_errors_in_the_reader_s_language(
    browser: Browser, on_sandbox: Service, bots: dict[str, str], locale: str
) -> None:
    with page_on(browser, f"{on_sandbox.url}/playground", statuses=(400, 503), locale=locale) as page:
        open_at(page)
        bots_and_errors = (
            ("code-4028", "The Coze account behind the service has used up its quota.", "额度已用尽"),
            ("error-midway-4028", "The Coze account behind the service has used up its quota.", "额度已用尽"),
            ("code-4015", "The bot is not published for use through the API.", "尚未发布"),
        )
        alerts = page.get_by_role("alert")
        for number, (bot, english, chinese) in enumerate(bots_and_errors, 1):
            page.locator("#bot").fill(bots[bot])
            ask(page, "?")
            expect(alerts).to_have_count(number)  # until then the next question waits
            expect(alerts.last.locator(".what")).to_contain_text(english if locale == "en" else chinese)
        if locale == "zh-CN":
            assert all(not text.isascii() for text in alerts.locator(".what").all_inner_texts())
        expect(alerts.first).to_contain_text(
            "Try again in about 60 minutes." if locale == "en" else "请约 60 分钟后重试。"
        )


def test_health_is_looked_at_again(browser: Browser, start: Start) -> None:
    service = start()
    with page_on(browser, f"{service.url}/playground", refused=True, lost=True) as page:
        page.clock.install()
        page.reload()
        open_at(page)
        health = page.locator("#health")
        page.context.set_offline(True)
        expect(health).to_have_class("health bad")
        page.context.set_offline(False)
        expect(health).to_have_class("health good")
        service.stop()
        page.clock.fast_forward(30_000)
        expect(health).to_have_class("health bad")
        expect(health).to_have_text("The service cannot be reached")


def test_an_answer_shows_that_the_service_is_back(browser: Browser, on_sandbox: Service) -> None:
    with page_on(browser, f"{on_sandbox.url}/playground", lost=True) as page:
        open_at(page)
        page.route("**/api/v1/chat", lambda route: route.abort())
        page.route("**/health", lambda route: route.abort())
        ask(page, "Hello")
        expect(page.get_by_role("alert")).to_contain_text("No connection")
        expect(page.locator("#health")).to_have_class("health bad")
        page.unroute_all()
        # The page looks by itself, too, twice a minute.
        page.evaluate("for (let timer = setTimeout(() => {}); timer > 0; timer -= 1) clearTimeout(timer)")
        page.get_by_role("button", name="Try again").click()
        answered(page, 1)
        expect(page.locator("#health")).to_have_class("health good")


def test_nothing_is_sent_before_the_page_is_there(browser: Browser, on_sandbox: Service) -> None:
    """Else the browser itself submits the form: it loads the page anew, and what was typed is lost."""
    with page_on(browser, "about:blank", on_sandbox.url) as page:
        held: list[Route] = []
        page.route("**/playground.js", lambda route: held.append(route))
        page.goto(f"{on_sandbox.url}/playground", wait_until="commit")
        page.get_by_label("Message", exact=True).fill("Early")
        expect(page.get_by_role("button", name="Send")).to_be_disabled()
        held.pop().continue_()
        open_at(page)
        expect(page.get_by_role("button", name="Send")).to_be_enabled()
        expect(page.locator("#question")).to_have_value("Early")


def test_the_field_for_a_key_is_one_press_away(browser: Browser, start: Start) -> None:
    service = start(API_KEYS="page:" + "0" * 64)
    with page_on(browser, f"{service.url}/playground", statuses=(401,), viewport={"width": 360, "height": 740}) as page:
        open_at(page)
        ask(page, "Hello")
        page.get_by_role("alert").get_by_role("button", name="Enter a key").click()
        field = page.get_by_label("API key")
        expect(field).to_be_focused()
        expect(field).to_be_in_viewport(ratio=1)
        field.press_sequentially("not-a-key")
        field.press("Enter")
        expect(page.locator("#question")).to_be_focused()
        expect(page.locator("#question")).to_have_value("")


def test_what_cannot_help_is_not_offered(browser: Browser, on_sandbox: Service) -> None:
    with page_on(browser, f"{on_sandbox.url}/playground", statuses=(400,)) as page:
        open_at(page)
        for name in ("tool.exe", "notes.docx"):
            page.get_by_label("Attach", exact=True).set_input_files({"name": name, "mimeType": "", "buffer": b"MZ"})
            card = page.get_by_role("alert").last
            expect(card).to_contain_text(f"{name} was not uploaded")
            expect(card.get_by_role("button")).to_have_count(0)


def test_a_question_that_is_too_long_says_so(browser: Browser, on_sandbox: Service) -> None:
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        question, hint = page.locator("#question"), page.locator("#keys")
        question.fill("x" * 100_001)
        expect(hint).to_have_text("100,001 characters; at most 100,000 can be sent.")
        expect(page.get_by_role("button", name="Send")).to_be_disabled()
        question.fill("x")
        expect(hint).to_contain_text("Enter sends")
        notes: FilePayload = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"some notes"}
        page.get_by_label("Attach", exact=True).set_input_files(notes)
        question.fill("")
        expect(hint).to_have_text("Write something about the file to send it.")


def test_a_dragged_file_is_told_where_to_go(browser: Browser, on_sandbox: Service) -> None:
    drag = "type => document.body.dispatchEvent(new DragEvent(type, { bubbles: true, cancelable: true }))"
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        where = page.get_by_text("Drop the files here")
        expect(where).to_be_hidden()
        page.evaluate(drag, "dragover")
        expect(where).to_be_visible()
        page.evaluate(drag, "dragleave")
        expect(where).to_be_hidden()


def test_an_id_in_an_answer_is_copied_by_a_press(browser: Browser, on_sandbox: Service, bots: dict[str, str]) -> None:
    with page_on(browser, f"{on_sandbox.url}/playground", permissions=CLIPBOARD) as page:
        open_at(page)
        ask(page, "help all")
        answered(page, 1)
        assert "/sandbox/" not in page.locator(".bot .bubble").inner_text()
        for name in ("markdown", "for-ever"):
            row = page.locator(".bot li").filter(has_text=f"{name}:")
            row.get_by_role("button", name=f"Copy {bots[name]}").click()
            page.wait_for_function("async id => (await navigator.clipboard.readText()) === id", arg=bots[name])
        assert page.locator(".bot li").count() == len(bots)


@pytest.mark.parametrize(("width", "height"), [(640, 400), (360, 640), (1280, 720)])
def test_the_field_to_write_in_is_in_view(browser: Browser, on_sandbox: Service, width: int, height: int) -> None:
    with page_on(browser, f"{on_sandbox.url}/playground", viewport={"width": width, "height": height}) as page:
        open_at(page)
        expect(page.locator("#composer")).to_be_in_viewport(ratio=1)
        expect(page.get_by_role("button", name="New conversation")).to_be_in_viewport(ratio=1)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("header").evaluate("header => header.offsetHeight") < 60  # one line
        page.get_by_label("Attach", exact=True).set_input_files(picture())
        expect(page.locator("#files li")).to_contain_text("872 B")
        sizes = page.locator("button:visible").evaluate_all(
            "all => all.map((one) => [one.ariaLabel ?? one.innerText, one.offsetWidth, one.offsetHeight])"
        )
        assert [size for size in sizes if min(size[1:]) < 24] == []


def test_forced_colours_show_what_is_on(browser: Browser, on_sandbox: Service) -> None:
    with page_on(browser, f"{on_sandbox.url}/playground", forced_colors="active") as page:
        open_at(page)
        switch = page.get_by_role("switch", name="Stream the answer")
        colour = "element => getComputedStyle(element).backgroundColor"
        on = switch.evaluate(colour)
        switch.uncheck()
        off = switch.evaluate(colour)
        ground = page.locator("aside").evaluate(colour)
        assert len({on, off, ground}) == 3
        assert page.locator("#health").evaluate("dot => getComputedStyle(dot, '::before').backgroundColor") != ground


def test_who_speaks_and_in_which_direction(browser: Browser, on_sandbox: Service) -> None:
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        ask(page, "مرحبا، كيف الحال؟")
        answered(page, 1)
        expect(page.locator(".user .bubble")).to_have_css("direction", "rtl")
        log = page.get_by_role("log")
        said = log.inner_text()
        assert said.index("You:") < said.index("The bot:")
        # A screen reader is told of an answer once, when it is whole.
        expect(log).to_have_attribute("aria-live", "off")
        expect(page.locator("#announcer")).to_contain_text("كيف الحال؟")
        ask(page, "# عنوان\n\n- بند")
        answered(page, 2)
        expect(page.locator(".bot li")).to_have_css("direction", "rtl")
        # Bullets, numbers and bars stand inside the bubble, on the side where the text begins.
        ask(page, "x\n\n- بند\n- item\n\n1. بند\n\n   فقرة\n\n> اقتباس")
        answered(page, 3)
        for name in ("ul", "ol", "blockquote"):
            expect(page.locator(f".bot {name}").last).to_have_css("padding-right", re.compile("[12]"))
        expect(page.locator(".bot ul").last).to_have_css("padding-left", re.compile("[12]"))
        expect(page.locator(".bot ol, .bot ul").nth(0)).to_have_css("padding-left", "0px")
        expect(page.locator(".bot ol li")).to_have_css("direction", "rtl")
        expect(page.locator(".bot blockquote")).to_have_css("border-right-width", "3px")
