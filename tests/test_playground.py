"""The playground in Chromium: chats, streams, files, stopping, errors, both languages, and nothing from elsewhere."""

import contextlib
import hashlib
import json
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from browser import NARROW, chromium, keep_screenshot, page_on
from conftest import BOT, ROOT, Service, Start, Upstream, http, running_service, wait_until
from envelope import assert_error
from javascript import read_in_every_split
from joserfc import jwt
from joserfc.jwk import OctKey
from playwright.sync_api import Browser, FilePayload, Locator, Page, expect

from service.sandbox.bots import BOTS

pytestmark = pytest.mark.browser

KEY = "key-of-the-page"
SECRET = "a secret that has more than 32 bytes"
STATIC = ROOT / "service" / "pages" / "playground" / "static"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def on_sandbox(start: Start) -> Service:
    """The service as `./run.sh sandbox` starts it, but on the sandbox that the tests steer."""
    return start(ENVIRONMENT="sandbox")


@pytest.fixture(scope="module")
def with_keys(start: Start) -> Service:
    """A service for a backend with a key, and for users who sign in."""
    return start(API_KEYS=f"page:{hashlib.sha256(KEY.encode()).hexdigest()}", USER_TOKEN_SECRET=SECRET)


@pytest.fixture(autouse=True)
def fresh(upstream: Upstream) -> None:
    upstream.reset()
    upstream.set(delta_seconds=0)


def picture(width: int = 240, height: int = 140, name: str = "evening.png") -> FilePayload:
    """A PNG of an evening sky, as a file to pick."""
    rows = b"".join(
        b"\0"
        + b"".join(bytes((90 + 150 * y // height, 60 + 90 * y // height, 170 - 80 * y // height)) for _ in range(width))
        for y in range(height)
    )
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in ((b"IHDR", head), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    )
    return {"name": name, "mimeType": "image/png", "buffer": content}


def open_at(page: Page) -> None:
    page.wait_for_selector("html[data-ready]")
    expect(page.locator("#health")).to_have_class("health good")


def ask(page: Page, text: str) -> None:
    """Types and sends with Enter."""
    page.locator("#question").fill(text)
    page.locator("#question").press("Enter")


def answered(page: Page, count: int) -> str:
    """The last of `count` answers, when it is complete."""
    expect(page.locator(".bot[aria-busy=false] .bubble")).to_have_count(count)
    return page.locator(".bot .bubble").last.inner_text()


def wire(page: Page) -> list[str]:
    return page.locator("#events li").all_inner_texts()


def names(page: Page) -> Locator:
    """The names of the conversations in the side bar, as they stand there."""
    return page.locator("#conversations .name")


def bubbles(page: Page) -> Locator:
    return page.locator(".message .bubble")


def of_visitor(page: Page, service: Service) -> httpx.Client:
    """Another client of the page's visitor."""
    token = page.evaluate("localStorage.getItem(`${location.pathname} visitor-token`)")
    return httpx.Client(base_url=f"{service.url}/api/v1", headers={"Authorization": f"Bearer {token}"}, timeout=30)


def focused(page: Page) -> str:
    """The name of the element that the keyboard is on."""
    name: str = page.evaluate("(e => e.ariaLabel || e.labels?.[0]?.innerText || e.innerText)(document.activeElement)")
    return name.strip()


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
        expect(card).to_contain_text("huge.bin is over 10 MiB")
        assert page.locator("#files li").count() == 0


@pytest.mark.parametrize(
    ("bot", "title", "message"),
    [
        ("429-retry-after", "Too many requests · HTTP 429", "Try again"),
        ("503-retry-after", "Not available at the moment · HTTP 503", "Try again"),
        ("code-4015", "The request is not right · HTTP 400", "published"),
        ("code-4028", "Not available at the moment · HTTP 503", "quota"),
        ("reset", "The answer broke off", "Coze"),
    ],
)
def test_an_error(
    browser: Browser, on_sandbox: Service, bots: dict[str, str], bot: str, title: str, message: str
) -> None:
    with page_on(browser, f"{on_sandbox.url}/playground", statuses=(400, 429, 503)) as page:
        open_at(page)
        if bot == "429-retry-after":
            page.clock.install()  # for a wait of seven seconds
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
        if bot == "429-retry-after":
            page.clock.fast_forward(7000)
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


COUNT_FRAMES = """() => {
  window.frameCount = 0;
  const count = () => { window.frameCount += 1; requestAnimationFrame(count); };
  requestAnimationFrame(count);
}"""


def test_a_flood_is_drawn_by_the_frame(browser: Browser, on_sandbox: Service, bots: dict[str, str]) -> None:
    """Not by the delta; and the raw pane keeps only so many rows of only so many characters."""
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        devtools = page.context.new_cdp_session(page)
        devtools.send("Performance.enable")

        def layouts() -> int:
            metrics = devtools.send("Performance.getMetrics")["metrics"]
            return int(next(metric["value"] for metric in metrics if metric["name"] == "LayoutCount"))

        page.evaluate(COUNT_FRAMES)
        before = layouts()
        page.get_by_label("Bot id").fill(bots["load"])
        ask(page, f"n=5000 d=0 size=6 {'and so on ' * 2000}")
        answered(page, 1)
        assert layouts() - before <= 3 * page.evaluate("frameCount") + 50
        assert page.locator(".bot .bubble").evaluate("bubble => bubble.textContent") == "xxxxxx" * 5000
        assert len(wire(page)) == 500
        expect(page.locator("#events li").last).to_be_in_viewport()
        page.get_by_role("button", name="Clear").click()
        page.get_by_role("switch", name="Stream the answer").uncheck()
        ask(page, "n=1 d=0 size=50000")
        answered(page, 2)
        rows = wire(page)
        assert len(rows) == 3
        assert max(map(len, rows)) < 11_000


def test_one_can_type_scroll_and_stop_while_an_answer_floods_in(
    browser: Browser, on_sandbox: Service, upstream: Upstream, bots: dict[str, str]
) -> None:
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        page.get_by_label("Bot id").fill(bots["load"])
        ask(page, "n=300000 d=0.0001 size=6")
        below = "log => log.scrollHeight - log.scrollTop - log.clientHeight"
        log = page.locator("#log")
        wait_until(lambda: log.evaluate("log => log.scrollHeight > 1.5 * log.clientHeight"))
        page.keyboard.type("Wait")
        expect(page.locator("#question")).to_have_value("Wait")
        assert log.evaluate(below) <= 60
        log.hover()
        page.mouse.wheel(0, -200)
        wait_until(lambda: log.evaluate(below) > 1000)  # the reader stays, the answer goes on
        log.evaluate("log => log.scrollTop = log.scrollHeight")
        wait_until(lambda: log.evaluate(below) <= 60)
        page.keyboard.press("Escape")
        expect(page.locator(".bot .about")).to_contain_text("Stopped")
        wait_until(lambda: upstream.state()["chats"][0]["status"] == "canceled")


def test_a_long_text_keeps_every_character(browser: Browser, on_sandbox: Service) -> None:
    """It is drawn in blocks, which end where a line does; only a line of 20,000 characters is broken."""
    grow = """async (text) => {
      const { GrowingText } = await import("/playground/assets/frame.js");
      const bubble = document.getElementById("turns").appendChild(document.createElement("p"));
      bubble.className = "bubble";
      const growing = new GrowingText(bubble);
      const pieces = text.match(/[^]{1,37}/gu);
      pieces.forEach((piece, at) => {
        growing.add(piece);
        if (at % 10 === 0) growing.draw();
      });
      growing.draw();
      return [growing.text, bubble.innerText, bubble.querySelectorAll(".block").length];
    }"""
    lines = "\n".join(f"Line {number}, to be read 🎉" if number % 5 else "" for number in range(1, 600))
    line = "odd" + "🎉" * 30_000
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        text, shown, blocks = page.evaluate(grow, lines)
        assert text == shown == lines
        assert blocks == 2
        text, shown, blocks = page.evaluate(grow, line)
        assert text == shown.replace("\n", "") == line
        assert blocks == 3


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


def test_a_service_that_asks_for_a_key(browser: Browser, with_keys: Service) -> None:
    with page_on(browser, f"{with_keys.url}/playground", statuses=(401,)) as page:
        open_at(page)
        ask(page, "Hello")
        card = page.get_by_role("alert")
        expect(card).to_contain_text("An API key is needed · HTTP 401")
        page.get_by_label("API key").fill(KEY)
        card.get_by_role("button", name="Try again").click()
        expect(page.locator(".bot .bubble").last).to_contain_text("Hello! I am")
        assert KEY not in page.locator("#events").inner_text()
        page.reload()
        open_at(page)
        ask(page, "Hello")
        expect(page.locator(".bot .bubble").last).to_contain_text("Hello! I am")
    with page_on(browser, f"{with_keys.url}/playground", statuses=(401,), locale="zh-CN") as page:
        open_at(page)
        expect(page.get_by_label("API 密钥")).to_be_visible()


def test_what_a_visitor_said_is_listed_and_read_again(
    browser: Browser, on_sandbox: Service, upstream: Upstream, bots: dict[str, str]
) -> None:
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        expect(page.get_by_role("navigation", name="Conversations")).to_contain_text("is kept here")
        notes: FilePayload = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"some notes"}
        page.get_by_label("Attach", exact=True).set_input_files([picture(), notes])
        page.get_by_label("Message", exact=True).fill("What <b>is</b> it?")
        page.get_by_role("button", name="Send").click()
        first = answered(page, 1)
        page.get_by_role("button", name="New conversation").click()
        page.get_by_label("Bot id").fill(bots["reasoning"])
        ask(page, "Think about it")
        second = answered(page, 1)
        thoughts = page.locator("details.thinking p").inner_text()
        expect(names(page)).to_have_text(["Think about it", "What <b>is</b> it?"])
        expect(page.locator("#chat-title")).to_have_text("Think about it")
        # A reload keeps what is open, and the bot that it is with.
        page.reload()
        expect(bubbles(page)).to_have_text(["Think about it", second])
        expect(page.get_by_label("Bot id")).to_have_value(bots["reasoning"])
        expect(page.get_by_role("link", name="Think about it")).to_have_attribute("aria-current", "page")
        page.get_by_text("Thinking", exact=True).click()
        assert page.locator("details.thinking p").inner_text() == thoughts
        ask(page, "And now?")
        answered(page, 2)
        expect(names(page)).to_have_text(["Think about it", "What <b>is</b> it?"])
        # The other one, by keyboard, with its files.
        page.get_by_role("link", name="What <b>is</b> it?").press("Enter")
        expect(bubbles(page)).to_have_text(["📎 notes.txt", "What <b>is</b> it?", first])
        expect(page.get_by_label("Bot id")).to_have_value(BOT)
        shown = page.get_by_role("img", name="evening.png")
        page.wait_for_function("image => image.naturalWidth == 240", arg=shown.element_handle())
        link = page.get_by_role("link", name="notes.txt").get_attribute("href") or ""
        assert http.get(link).content == b"some notes"
        ask(page, "What did I ask before?")
        assert "What <b>is</b> it?" in answered(page, 2)
        expect(names(page)).to_have_text(["What <b>is</b> it?", "Think about it"])  # the one used last first
        assert len({chat["conversation_id"] for chat in upstream.state()["chats"]}) == 2
        page.go_back()
        expect(bubbles(page).first).to_have_text("Think about it")


def test_two_visitors_before_and_after_a_restart(browser: Browser, upstream: Upstream, tmp_path: Path) -> None:
    """Each sees its own conversations, and goes on when the service was killed and started again."""
    env = {"COZE_API_TOKEN": "pat_test", "COZE_API_BASE": upstream.url, "COZE_BOT_ID": BOT}
    with contextlib.ExitStack() as stack:
        service = stack.enter_context(running_service(tmp_path, **env))
        url = f"{service.url}/playground"
        ann, bob = (stack.enter_context(page_on(browser, url, statuses=(404,))) for _ in range(2))
        for page, question in ((ann, "Ann's question"), (bob, "Bob's question")):
            open_at(page)
            ask(page, question)
            answered(page, 1)
            expect(names(page)).to_have_text([question])
        home = ann.url
        ann.goto(bob.url)
        ann.reload()
        open_at(ann)
        expect(ann.locator("#notice")).to_have_text(re.compile("does not exist"))
        assert ann.locator(".message").count() == 0
        ann.goto(home)
        expect(bubbles(ann)).to_have_count(2)
        for page in (ann, bob):
            page.wait_for_load_state("networkidle")  # Chromium loads the tab's icon when it likes
        service.process.kill()
        service.process.wait()
        again = stack.enter_context(running_service(tmp_path, PORT=str(service.address[1]), **env))
        assert again.url == service.url
        for page, question in ((ann, "Ann's question"), (bob, "Bob's question")):
            page.reload()
            expect(bubbles(page)).to_have_text([question, f"You said: {question}"])
            ask(page, "What did I ask before?")
            assert question in answered(page, 2)
            expect(names(page)).to_have_text([question])


def test_a_conversation_is_renamed_and_deleted(browser: Browser, on_sandbox: Service, upstream: Upstream) -> None:
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        for number, question in enumerate(("One", "Two", "Three")):
            page.get_by_role("button", name="New conversation").click()
            ask(page, question)
            answered(page, 1)
            expect(names(page)).to_have_count(number + 1)
        two = page.locator("#conversations li").filter(has_text="Two")
        two.hover()
        two.get_by_role("button", name="Rename: Two").click()
        field = page.get_by_role("textbox", name="New name")
        expect(field).to_be_focused()
        assert page.locator("#history").evaluate("bar => bar.scrollWidth <= bar.clientWidth")
        field.fill("Not this")
        field.press("Escape")
        expect(page.get_by_role("link", name="Two")).to_be_focused()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        field.fill("东京 <i>🗼</i>")
        field.press("Enter")
        expect(names(page)).to_have_text(["Three", "东京 <i>🗼</i>", "One"])
        wait_until(lambda: "东京 <i>🗼</i>" in [one["name"] for one in upstream.state()["conversations"]])
        # Not without being asked, and not for "no".
        asked = page.get_by_role("alertdialog", name="Delete the conversation?")
        for no in ("Escape", "Enter"):
            three = page.locator("#conversations li").filter(has_text="Three")
            three.hover()
            three.get_by_role("button", name="Delete: Three").click()
            expect(asked).to_contain_text("“Three”")
            expect(asked.get_by_role("button", name="Cancel")).to_be_focused()
            page.keyboard.press(no)
            expect(three.get_by_role("button", name="Delete: Three")).to_be_focused()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(names(page)).to_have_text(["东京 <i>🗼</i>", "One"])
        expect(page.get_by_role("link", name="东京")).to_be_focused()
        expect(page.locator("#welcome")).to_be_visible()  # it was open
        ask(page, "Four")
        answered(page, 1)
        expect(names(page)).to_have_text(["Four", "东京 <i>🗼</i>", "One"])
        assert sorted(one["name"] for one in upstream.state()["conversations"]) == ["Four", "One", "东京 <i>🗼</i>"]


def test_a_conversation_that_was_deleted_elsewhere(browser: Browser, on_sandbox: Service, upstream: Upstream) -> None:
    """It is gone without an alarm, and its next question is kept for a new one."""
    with page_on(browser, f"{on_sandbox.url}/playground", statuses=(404,)) as page:
        open_at(page)
        with of_visitor(page, on_sandbox) as elsewhere:
            ids = [
                elsewhere.post("/chat", json=say(text)).json()["conversation_id"] for text in ("One", "Two", "Three")
            ]
            page.reload()
            page.get_by_role("link", name="Three").click()
            expect(bubbles(page)).to_have_count(2)
            assert elsewhere.delete(f"/conversations/{ids[2]}").status_code == 200
            page.get_by_label("Attach", exact=True).set_input_files(picture())
            page.get_by_label("Message", exact=True).fill("And then?")
            page.get_by_role("button", name="Send").click()
            expect(page.locator("#notice")).to_have_text(re.compile("does not exist any more"))
            expect(page.locator("#question")).to_have_value("And then?")
            expect(page.locator("#files li")).to_contain_text("evening.png")
            expect(names(page)).to_have_text(["Two", "One"])
            page.keyboard.press("Enter")
            assert "evening.png" in answered(page, 1)
            expect(names(page)).to_have_text(["And then?", "Two", "One"])
            assert elsewhere.delete(f"/conversations/{ids[1]}").status_code == 200
            page.get_by_role("link", name="Two").click()
            expect(page.locator("#notice")).to_have_text(re.compile("does not exist any more"))
            expect(names(page)).to_have_text(["And then?", "One"])
            assert page.get_by_role("alert").count() == 0
            page.get_by_role("link", name="One").click()
            expect(bubbles(page)).to_have_text(["One", "You said: One"])


def say(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def test_long_lists_come_page_by_page(browser: Browser, on_sandbox: Service, upstream: Upstream) -> None:
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        with of_visitor(page, on_sandbox) as elsewhere:
            for number in range(22):
                chat = elsewhere.post("/chat", json=say(f"Conversation {number}")).json()
        added = f"{upstream.url}/sandbox/conversations/{chat['conversation_id']}/messages"
        http.post(added, json={"turns": 24}).raise_for_status()
        page.reload()
        listed = [f"Conversation {number}" for number in reversed(range(22))]
        expect(names(page)).to_have_text(listed[:20])
        ask(page, "Meanwhile")
        expect(names(page)).to_have_text(["Meanwhile", *listed[:20]])
        more = page.get_by_role("button", name="Show more")
        more.press("Enter")
        expect(names(page)).to_have_text(["Meanwhile", *listed])
        expect(more).to_be_hidden()
        expect(page.locator("#conversations a").nth(21)).to_be_focused()
        # 50 messages, the newest at the end; what is read stays in place when those before it come.
        page.get_by_role("link", name=listed[0]).click()
        expect(bubbles(page)).to_have_count(20)
        expect(bubbles(page).last).to_have_text("Answer 24")
        expect(bubbles(page).last).to_be_in_viewport()
        earlier = page.get_by_role("button", name="Earlier messages")
        for count in (40, 50):
            first = bubbles(page).first
            earlier.focus()
            top = first.element_handle()
            before = top.evaluate("bubble => bubble.getBoundingClientRect().top")
            earlier.press("Enter")
            expect(bubbles(page)).to_have_count(count)
            assert abs(top.evaluate("bubble => bubble.getBoundingClientRect().top") - before) < 60
            assert (
                focused(page) == "Earlier messages"
                if count < 50
                else page.evaluate("document.activeElement.id == 'log'")
            )
        texts = bubbles(page).all_inner_texts()
        assert texts[0] == listed[0]
        assert texts[2::2] == [f"Question {number}" for number in range(1, 25)]
        expect(earlier).to_have_count(0)


def test_an_answer_is_rated(browser: Browser, on_sandbox: Service, upstream: Upstream) -> None:
    def at_coze() -> list[dict[str, Any]]:
        (conversation,) = upstream.state()["conversations"]
        return list(conversation["feedback"].values())

    with page_on(browser, f"{on_sandbox.url}/playground", statuses=(503,)) as page:
        open_at(page)
        ask(page, "Hello")
        answered(page, 1)
        group = page.get_by_role("group", name="Rate the answer")
        like, unlike = (group.get_by_role("button", name=name) for name in ("Good answer", "Bad answer"))
        like.click()
        wait_until(lambda: [one["feedback_type"] for one in at_coze()] == ["like"])
        unlike.press("Enter")
        wait_until(lambda: [one["feedback_type"] for one in at_coze()] == ["unlike"])
        expect(like).to_have_attribute("aria-pressed", "false")
        expect(unlike).to_have_attribute("aria-pressed", "true")
        unlike.press("Space")
        wait_until(lambda: at_coze() == [])
        expect(unlike).to_have_attribute("aria-pressed", "false")
        page.reload()
        path = "/v1/conversations/{id}/messages/{message_id}/feedback"
        upstream.set(fail={f"POST {path}": {"code": 5000}})
        like.click()
        expect(group).to_contain_text("Coze")
        expect(like).to_have_attribute("aria-pressed", "false")
        # As on Coze Studio.
        upstream.set(fail={f"POST {path}": {"code": 404, "status": 404}})
        like.click()
        expect(group).to_be_hidden()
        expect(page.locator("#announcer")).to_contain_text("no such endpoint")


def test_a_visitor_whose_token_is_refused_becomes_another(browser: Browser, on_sandbox: Service) -> None:
    with page_on(browser, f"{on_sandbox.url}/playground", statuses=(401, 404)) as page:
        open_at(page)
        ask(page, "Hello")
        answered(page, 1)
        before = page.get_by_label("User id").input_value()
        page.evaluate(
            "(key => localStorage.setItem(key, localStorage.getItem(key).slice(0, -4) + 'AAAA'))"
            "(`${location.pathname} visitor-token`)"
        )
        ask(page, "Hello again")
        expect(page.locator("#notice")).to_have_text(re.compile("does not exist any more"))
        expect(names(page)).to_have_count(0)
        page.keyboard.press("Enter")
        answered(page, 1)
        expect(names(page)).to_have_text(["Hello again"])
        after = page.get_by_label("User id").input_value()
        assert after.startswith("visitor_")
        assert after != before
        page.reload()
        expect(names(page)).to_have_text(["Hello again"])
        expect(page.get_by_label("API key")).to_be_hidden()


def test_a_user_id_that_is_typed_is_only_claimed(browser: Browser, on_sandbox: Service, upstream: Upstream) -> None:
    """It works as it does for any frontend without tokens, and lists nothing. Without it the visitor is back."""
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        ask(page, "As a visitor")
        answered(page, 1)
        page.get_by_label("User id").fill("alice")
        ask(page, "As Alice")
        answered(page, 2)
        expect(page.locator(".divider")).to_have_text("New conversation")
        expect(page.get_by_role("navigation", name="Conversations")).to_be_hidden()
        visitor, alice = (chat["user_id"] for chat in upstream.state()["chats"])
        assert alice == "alice"
        assert "conversation_id" not in page.url
        page.reload()
        expect(page.get_by_label("User id")).to_have_value("alice")
        page.get_by_label("User id").fill("")
        page.get_by_label("User id").blur()
        expect(page.get_by_label("User id")).to_have_value(visitor)
        expect(names(page)).to_have_text(["As a visitor"])


def test_the_side_bar_is_a_drawer_where_there_is_little_room(
    browser: Browser, on_sandbox: Service, bots: dict[str, str]
) -> None:
    with page_on(browser, f"{on_sandbox.url}/playground", viewport={"width": 360, "height": 740}) as page:
        open_at(page)
        menu = page.get_by_role("button", name="Conversations")
        drawer = page.get_by_role("dialog", name="Conversations")
        ask(page, "One")
        answered(page, 1)
        page.get_by_role("button", name="New conversation").click()
        page.get_by_label("Bot id").fill(bots["for-ever"])
        ask(page, "Two")
        expect(page.get_by_role("button", name="Stop")).to_be_visible()
        expect(drawer).to_be_hidden()
        menu.press("Enter")
        expect(drawer).to_be_visible()
        expect(names(page)).to_have_text(["Two", "One"])
        assert drawer.evaluate("drawer => drawer.contains(document.activeElement)")
        for _ in range(12):  # the keyboard does not leave it for what is behind
            page.keyboard.press("Tab")
            assert page.evaluate("!document.activeElement.closest('header, main, aside')")
        page.keyboard.press("Escape")
        expect(drawer).to_be_hidden()
        expect(menu).to_be_focused()
        expect(page.get_by_role("button", name="Stop")).to_be_visible()  # Escape was for the drawer
        menu.click()
        page.mouse.click(350, 400)
        expect(drawer).to_be_hidden()
        menu.click()
        drawer.get_by_role("link", name="One").click()
        expect(drawer).to_be_hidden()
        expect(bubbles(page)).to_have_text(["One", "You said: One"])
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        expect(page.locator("#send")).to_be_in_viewport(ratio=1)
        page.set_viewport_size({"width": 1280, "height": 800})
        expect(menu).to_be_hidden()
        expect(page.get_by_role("navigation", name="Conversations").get_by_role("link")).to_have_count(2)


def test_a_backend_s_user_and_a_user_with_a_token(browser: Browser, with_keys: Service, upstream: Upstream) -> None:
    signed = jwt.encode(
        {"alg": "HS256"}, {"sub": "carol", "exp": 2**31}, OctKey.import_key(SECRET), algorithms=["HS256"]
    )
    with page_on(browser, f"{with_keys.url}/playground", statuses=(401,)) as page:
        open_at(page)
        expect(page.get_by_label("API key")).to_be_visible()
        expect(page.get_by_role("navigation", name="Conversations")).to_be_hidden()
        page.get_by_label("API key").fill(KEY)
        page.get_by_label("User id").fill("carol")
        page.get_by_label("Attach", exact=True).set_input_files(picture())
        page.get_by_label("Message", exact=True).fill("From the backend")
        page.get_by_role("button", name="Send").click()
        answered(page, 1)
        expect(names(page)).to_have_text(["From the backend"])
        page.get_by_label("User id").fill("dave")
        page.get_by_label("User id").blur()
        expect(names(page)).to_have_count(0)
        # The token says who the user is, whatever the field does.
        page.get_by_label("API key").fill(signed)
        page.get_by_label("API key").blur()
        page.get_by_role("link", name="From the backend").click()
        expect(page.get_by_role("img", name="evening.png")).to_be_visible()
        ask(page, "From Carol")
        answered(page, 2)
        assert [chat["user_id"] for chat in upstream.state()["chats"]] == ["carol", "carol"]
        assert signed not in page.locator("#events").inner_text()


def test_a_service_that_keeps_no_history(browser: Browser, start: Start, upstream: Upstream) -> None:
    service = start(STORE="off")
    with page_on(browser, f"{service.url}/playground") as page:
        open_at(page)
        ask(page, "Hello")
        answered(page, 1)
        ask(page, "What did I ask before?")
        assert "Hello" in answered(page, 2)
        expect(page.get_by_role("navigation", name="Conversations")).to_be_hidden()
        expect(page.get_by_role("group", name="Rate the answer")).to_have_count(0)
        user = page.get_by_label("User id").input_value()
        page.reload()
        open_at(page)
        expect(page.get_by_label("User id")).to_have_value(user)


def test_the_bots_and_how_they_open(browser: Browser, start: Start, upstream: Upstream, bots: dict[str, str]) -> None:
    service = start(BOTS=f"helper:{bots['variables']},thinker:{bots['reasoning']},lost:7000000000000000000")
    icon = f"{service.url}/playground/assets/icon.svg"
    opening = {"prologue": "Hello {{user_name}}!\n<b>Ask</b>", "suggested_questions": ["Who are you?", "<i>Why?</i>"]}
    upstream.set(bots={BOT: {"name": "<b>Ada</b>", "icon_url": icon, "onboarding_info": opening}})
    with page_on(browser, f"{service.url}/playground", statuses=(404,)) as page:
        open_at(page)
        welcome = page.locator("#welcome")
        expect(welcome).to_contain_text("<b>Ada</b>")
        expect(welcome.locator("#opening")).to_have_text("Hello guest! <b>Ask</b>")
        picture_of_bot = welcome.locator("img")
        expect(picture_of_bot).to_have_attribute("src", icon)
        page.wait_for_function("image => image.naturalWidth > 0", arg=picture_of_bot.element_handle())
        expect(welcome.get_by_role("button")).to_have_text(["Who are you?", "<i>Why?</i>"])
        # Another one, whose picture is elsewhere and not over TLS: a letter stands for it.
        choice = page.get_by_role("combobox", name="Bot")
        expect(choice.locator("option")).to_have_count(4)
        choice.select_option("reasoning")
        expect(welcome.locator("#bot-name")).to_have_text("reasoning")
        expect(welcome.locator("#face")).to_have_text("R")
        welcome.get_by_role("button", name="Who are you?").press("Enter")
        answered(page, 1)
        assert page.locator("#log").evaluate("log => log === document.activeElement")
        page.reload()
        expect(bubbles(page)).to_have_count(2)
        expect(choice).to_have_value(bots["reasoning"])
        page.get_by_role("button", name="New conversation").click()
        choice.select_option("<b>Ada</b>")
        ask(page, "Hello")
        answered(page, 1)
        page.get_by_role("link", name="Who are you?").click()
        expect(choice).to_have_value(bots["reasoning"])
        ask(page, "And now?")
        answered(page, 2)
        assert [chat["bot_id"] for chat in upstream.state()["chats"]] == [bots["reasoning"], BOT, bots["reasoning"]]
        # Of this one Coze tells nothing.
        page.get_by_role("button", name="New conversation").click()
        choice.select_option("lost")
        expect(welcome.locator("#bot-name")).to_have_text("Ask your bot something.")
        expect(welcome.get_by_role("button")).to_have_text(["Hello! Who are you?", "What can you do?"])


def test_a_service_that_is_gone(browser: Browser, start: Start) -> None:
    service = start()
    with page_on(browser, f"{service.url}/playground", refused=True) as page:
        open_at(page)
        service.stop()
        ask(page, "Hello")
        expect(page.get_by_role("alert")).to_contain_text("No connection")


def test_what_a_bot_says_is_text(browser: Browser, on_sandbox: Service) -> None:
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        page.locator("#question").fill("<img src=x onerror=alert(1)>")
        page.locator("#question").press("Shift+Enter")
        page.locator("#question").press_sequentially("<b>second line</b>")
        page.locator("#question").press("Enter")
        assert answered(page, 1) == "You said: <img src=x onerror=alert(1)>\n<b>second line</b>"
        assert page.locator(".message img, .message b").count() == 0


def test_thoughts_are_shown_apart(browser: Browser, on_sandbox: Service, bots: dict[str, str]) -> None:
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        page.get_by_label("Bot id").fill(bots["reasoning"])
        ask(page, "Hello")
        answer = answered(page, 1)
        thoughts = page.locator("details.thinking p").inner_text()
        assert thoughts
        assert thoughts not in answer


def test_an_input_method_keeps_its_enter(browser: Browser, on_sandbox: Service, upstream: Upstream) -> None:
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        page.locator("#question").fill("ni hao")
        page.locator("#question").dispatch_event("keydown", {"key": "Enter", "isComposing": True})
        assert page.locator(".message").count() == 0
        page.locator("#question").press("Enter")
        answered(page, 1)
        assert len(upstream.state()["chats"]) == 1


def test_chinese_dark_and_narrow(browser: Browser, on_sandbox: Service) -> None:
    url = f"{on_sandbox.url}/playground"
    light, dark = "rgb(244, 245, 249)", "rgb(16, 18, 26)"
    with page_on(browser, url, locale="zh-CN", color_scheme="dark", viewport=NARROW) as page:
        open_at(page)
        assert page.locator("html").get_attribute("lang") == "zh-CN"
        expect(page.locator("body")).to_have_css("background-color", dark)
        page.get_by_role("button", name="你是谁？").click()
        assert answered(page, 1).startswith("你好！")
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
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert sum(file.stat().st_size for file in STATIC.iterdir()) < 150_000
    for file in STATIC.iterdir():
        answer = service.http.get(f"/playground/assets/{file.name}")
        assert answer.content == file.read_bytes()
        assert answer.headers["cache-control"] == "no-cache"
        text = file.read_text(encoding="utf-8")
        assert set(re.findall(r"https?://[^\s\"']+", text)) <= {"http://www.w3.org/2000/svg"}
        # From the root of the host it would lead wrong where a proxy serves the page under a path.
        assert not re.findall(r"""["'`]/\w.*""", text)


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


def test_the_reader_survives_every_split() -> None:
    read_in_every_split(STATIC / "sse.js")
