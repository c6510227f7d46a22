"""The chat of /widget.js in Chromium, on pages of another origin with a strict policy and styles of their own."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from browser import NARROW, chromium, keep_screenshot, page_on
from conftest import Service, Start, Upstream, wait_until
from playwright.sync_api import Browser, FloatRect, Page, Route, expect
from test_examples import chats_of, freed, served
from test_playground_answers import HOSTILE as HOSTILE_ANSWER

from service.gate.callers import new_key

pytestmark = pytest.mark.browser

# Nothing but the service is let in, and nothing inline.
SITE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'self' {service};
  connect-src {service}; style-src 'self'; img-src data:; require-trusted-types-for 'script'">
<title>A shop</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="shop.css">
<script src="shop.js"></script>
<h1>A shop</h1>
<p>What it sells.</p>
<button>Buy</button>
<script src="{service}/widget.js" data-bot="{bot}" async></script>
</html>
"""
STYLE = """* { color: rgb(255, 0, 0) !important; font-size: 40px !important; letter-spacing: 1em; }
button, p, textarea, coze-chat { display: none !important; }
"""
SCRIPT = """window.heard = [];
for (const type of ["keydown", "keyup", "input"]) addEventListener(type, (event) => heard.push(event.key));
window.known = Object.keys(window);
"""
# A page that moves, fades, covers and extends all that it can; and the script before the body, and twice.
HOSTILE = """<!doctype html>
<html lang="en" dir="rtl">
<head>
<meta charset="utf-8">
<base href="/elsewhere/">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'self' {service};
  connect-src {service}; style-src 'self'; img-src data:; require-trusted-types-for 'script'; trusted-types 'none'">
<title>A shop</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/hostile.css">
<script src="/hostile.js"></script>
<script src="{service}/widget.js" data-bot="{bot}"></script>
<script src="{service}/widget.js" data-bot="{bot}" async></script>
</head>
<body>
<h1>A shop</h1>
<p id="banner">Cookies?</p>
</html>
"""
HOSTILE_STYLE = """* {
  visibility: hidden !important; pointer-events: none !important; user-select: none !important; cursor: none !important;
  direction: rtl !important; text-transform: uppercase !important; writing-mode: vertical-rl !important;
  color: red !important; background: yellow !important; font: 40px serif !important; transition: all 9s !important;
}
html { opacity: 0.5; filter: blur(9px); transform: rotate(9deg); }
body { opacity: 0; transform: translate(-300px) scale(0.5); overflow: hidden; zoom: 3; contain: strict; }
coze-chat { display: none !important; position: static !important; inset: 0 auto auto 0 !important; }
#banner {
  visibility: visible !important; pointer-events: auto !important; position: fixed; inset: 0; z-index: 2147483647;
}
"""
HOSTILE_SCRIPT = """for (const name of ["title", "bot", "lang", "method", "body"]) Object.prototype[name] = () => name;
for (const type of ["keydown", "copy", "selectstart", "wheel"]) {
  document.addEventListener(type, (event) => event.preventDefault(), { passive: false });
}
"""
# The tests look into the shadow root; no page can.
OPEN = """const attach = Element.prototype.attachShadow;
Element.prototype.attachShadow = function () { return attach.call(this, { mode: "open" }); };
"""


@pytest.fixture(autouse=True)
def fresh(upstream: Upstream) -> None:
    upstream.reset()
    upstream.set(delta_seconds=0)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shop")


@pytest.fixture(scope="module")
def shop(folder: Path) -> Iterator[str]:
    with served(folder) as url:
        yield url


@pytest.fixture(scope="module")
def chat(shop: str, folder: Path, start: Start, bots: dict[str, str]) -> Service:
    """A service that only the shop's pages may call, and there only visitors and who has a key."""
    service = start(CORS_ALLOW_ORIGINS=shop, API_KEYS=new_key("backend")[1], VISITORS="true")
    pages = {
        "index": "",
        "about": "",
        "endless": bots["for-ever"],
        "wrong": bots["code-4015"],
        "busy": bots["503-retry-after"],
    }
    for name, bot in pages.items():
        page = SITE.format(service=service.url, bot=bot)
        (folder / f"{name}.html").write_text(page.replace("async", 'type="module"') if name == "about" else page)
    (folder / "hostile.html").write_text(HOSTILE.format(service=service.url, bot=bots["markdown"]))
    for name, text in {
        "shop.css": STYLE,
        "shop.js": SCRIPT,
        "hostile.css": HOSTILE_STYLE,
        "hostile.js": HOSTILE_SCRIPT,
    }.items():
        (folder / name).write_text(text)
    return service


def open_chat(page: Page) -> None:
    page.get_by_role("button", name="Open the chat").click()
    expect(page.get_by_role("button", name="Send")).to_be_enabled()


def ask(page: Page, text: str) -> None:
    page.get_by_label("Message").fill(text)
    page.get_by_label("Message").press("Enter")


@pytest.fixture
def opened(browser: Browser, chat: Service, shop: str) -> Iterator[Page]:
    with page_on(browser, "about:blank", shop, chat.url, statuses=(400, 404, 503)) as page:
        page.add_init_script(OPEN)
        yield page


def test_a_conversation_is_kept_on_all_pages_of_the_site(
    opened: Page, shop: str, chat: Service, upstream: Upstream
) -> None:
    called: list[str] = []
    opened.on(
        "request",
        lambda request: called.append(request.url.removeprefix(chat.url)) if chat.url in request.url else None,
    )
    opened.goto(f"{shop}/index.html")
    launch = opened.get_by_role("button", name="Open the chat")
    expect(launch).to_be_visible()
    assert called == ["/widget.js"]
    open_chat(opened)
    expect(opened.locator(".opening")).to_contain_text("I am the bot of the Coze sandbox")
    log, answers = opened.get_by_role("log"), opened.locator(".assistant")
    expect(log.get_by_role("button")).to_have_count(4)
    ask(opened, "My name is Ada.")
    expect(answers).to_have_text("You said: My name is Ada.")
    log.get_by_role("button").first.dblclick()  # what the bot suggests next
    expect(answers).to_have_count(2)
    expect(opened.locator(".user")).to_have_count(2)
    keep_screenshot(opened, "widget")
    # It is still open, and in the same conversation, on the next page of the site, and after a reload.
    opened.goto(f"{shop}/about.html")
    expect(answers).to_have_count(2)
    opened.reload()
    expect(answers.first).to_have_text("You said: My name is Ada.")
    expect(opened.get_by_role("button", name="Send")).to_be_enabled()
    field = opened.get_by_label("Message")
    field.fill("What did I say?")
    field.press("Shift+Enter")
    for more in ("isComposing: true", "keyCode: 229"):
        key = f'new KeyboardEvent("keydown", {{ key: "Enter", bubbles: true, cancelable: true, {more} }})'
        field.evaluate(f"field => field.dispatchEvent({key})")
    expect(field).to_have_value("What did I say?\n")
    field.press("Enter")
    expect(answers.last).to_contain_text("the conversation holds")
    assert len(set(chats_of(upstream))) == 1
    opened.get_by_role("button", name="New chat").click()
    expect(opened.locator(".opening")).to_be_visible()
    ask(opened, "Hello")
    expect(answers).to_have_count(1)
    expect(answers).to_contain_text("Hello! I am")
    assert len(set(chats_of(upstream))) == 2
    opened.get_by_label("Message").press("Escape")
    expect(launch).to_be_focused()


def test_neither_the_page_nor_the_chat_meets_the_other(
    opened: Page, browser: Browser, shop: str, chat: Service
) -> None:
    opened.goto(f"{shop}/index.html")
    open_chat(opened)
    ask(opened, "Just this")
    expect(opened.locator(".assistant")).to_have_text("You said: Just this")
    style = "element => ['font-size', 'letter-spacing'].map((name) => getComputedStyle(element).getPropertyValue(name))"
    assert opened.locator(".assistant").evaluate(style) == ["15px", "normal"]
    expect(opened.get_by_role("button", name="Buy")).to_be_hidden()  # as the shop's own styles have it
    assert opened.evaluate("heard") == []
    assert opened.evaluate("Object.keys(window).filter((name) => !known.includes(name))") == ["known"]
    assert opened.evaluate("[...document.documentElement.children].map(({ localName }) => localName)") == [
        *("head", "body", "coze-chat")
    ]
    opened.evaluate("document.body.replaceWith(document.createElement('body'))")  # as some sites change their pages
    expect(opened.locator(".assistant")).to_be_visible()
    with page_on(browser, f"{shop}/index.html", chat.url) as page:
        page.wait_for_selector("coze-chat", state="attached")
        assert page.evaluate("document.querySelector('coze-chat').shadowRoot") is None


def test_a_hostile_page(opened: Page, shop: str, chat: Service, upstream: Upstream) -> None:
    """What a page does to itself, to all elements and to all objects, does nothing to the chat."""
    middle: FloatRect = {"x": 1280 - 20 - 36, "y": 800 - 20 - 16, "width": 16, "height": 8}
    launch = opened.get_by_role("button", name="Open the chat")
    seen = []
    for name in ("index", "hostile"):
        opened.goto(f"{shop}/{name}.html")
        expect(launch).to_be_visible()
        seen.append(opened.screenshot(clip=middle))
        assert launch.bounding_box() == {"x": 1280 - 20 - 56, "y": 800 - 20 - 56, "width": 56, "height": 56}
    assert seen[0] == seen[1]  # neither faded nor covered
    expect(opened.locator("coze-chat")).to_have_count(1)
    open_chat(opened)
    expect(opened.get_by_role("dialog")).to_have_attribute("aria-label", "Chat")
    opened.get_by_label("Message").press_sequentially("Hello")
    opened.get_by_label("Message").press("Enter")
    answer = opened.locator(".assistant")
    expect(opened.get_by_role("button", name="Send")).to_be_enabled()
    # In Markdown, of which nothing is loaded from elsewhere.
    expect(answer.get_by_role("heading", name="Three ways to say hello")).to_be_visible()
    expect(answer.get_by_role("table").get_by_role("cell", name="5")).to_have_css("text-align", "right")
    expect(answer.locator("pre")).to_contain_text('return f"Hello, **{name}**!"')
    for name, address in (("link", "https://example.com/hello"), ("A wave", "https://example.com/wave.png")):
        link = answer.get_by_role("link", name=name, exact=True)
        expect(link).to_have_attribute("href", address)
        expect(link).to_have_attribute("rel", "noopener noreferrer nofollow")
    expect(answer.locator("img")).to_have_count(0)
    expect(answer).to_have_css("direction", "ltr")
    expect(answer).to_have_css("user-select", "text")
    keep_screenshot(opened, "widget-hostile")
    # Its own end is in view, and one can read what is above it.
    log = opened.get_by_role("log")
    rest = "log => log.scrollHeight - log.scrollTop - log.clientHeight"
    wait_until(lambda: log.evaluate(rest) < 10)
    log.hover()
    opened.mouse.wheel(0, -200)
    wait_until(lambda: log.evaluate(rest) > 100)
    # It comes back as Markdown, too.
    opened.reload()
    expect(answer.get_by_role("heading", name="Three ways to say hello")).to_be_visible()


def test_nothing_of_an_answer_runs(opened: Page, shop: str) -> None:
    opened.goto(f"{shop}/index.html")
    open_chat(opened)
    ask(opened, HOSTILE_ANSWER)
    expect(opened.get_by_role("button", name="Send")).to_be_enabled()
    answer = opened.locator(".assistant")
    expect(answer).to_contain_text("<script>window.ran = 1</script>")
    inside = "answer => [...answer.querySelectorAll('*')]"
    tags = set(answer.evaluate(f"{inside}.map(element => element.localName)"))
    assert tags <= {"p", "br", "a", "span", "div", "pre", "code", "table", "thead", "tbody", "tr", "th", "td"}
    attributes = answer.evaluate(f"{inside}.flatMap(element => element.getAttributeNames())")
    assert set(attributes) <= {"href", "title", "target", "rel", "dir", "class", "tabindex", "style"}
    links = answer.locator("a").evaluate_all("links => links.map(link => link.href)")
    assert {urlsplit(link).scheme for link in links} == {"http", "https"}
    answer.get_by_text("seven").click()
    assert opened.evaluate("window.ran") is None
    assert opened.url == f"{shop}/index.html"


def test_an_answer_outlives_its_page_until_it_is_stopped(
    opened: Page, shop: str, upstream: Upstream, bots: dict[str, str]
) -> None:
    opened.goto(f"{shop}/endless.html")
    open_chat(opened)
    ask(opened, "Go on")
    answer = opened.locator(".assistant")
    expect(answer).to_have_text(re.compile(".{20}"))
    opened.reload()
    expect(answer).to_have_text(re.compile(".{40}"))
    expect(opened.locator(".user")).to_have_text("Go on")
    assert [chat["status"] for chat in upstream.state()["chats"]] == ["in_progress"]
    opened.get_by_role("button", name="Stop").click()
    wait_until(lambda: freed(upstream, bots["for-ever"]))
    expect(opened.get_by_role("button", name="Send")).to_be_enabled()
    expect(opened.locator(".error")).to_have_count(0)
    # So does a new chat.
    ask(opened, "And on")
    expect(answer.last).to_have_text(re.compile(".{5}"))
    opened.get_by_role("button", name="New chat").click()
    expect(opened.locator(".opening")).to_be_visible()
    assert len(upstream.state()["chats"]) == 2
    wait_until(lambda: freed(upstream, bots["for-ever"]))
    expect(opened.locator(".error, .assistant")).to_have_count(0)


def test_a_conversation_that_was_deleted(opened: Page, shop: str, chat: Service, upstream: Upstream) -> None:
    opened.goto(f"{shop}/index.html")
    open_chat(opened)
    ask(opened, "Just this")
    expect(opened.locator(".assistant")).to_have_text("You said: Just this")
    token = opened.evaluate("Object.values(localStorage).map((text) => JSON.parse(text).token).find(Boolean)")
    (conversation,) = chats_of(upstream)
    deleted = chat.http.delete(f"/api/v1/conversations/{conversation}", headers={"Authorization": f"Bearer {token}"})
    assert deleted.status_code == 200
    ask(opened, "And this")
    expect(opened.locator(".error")).to_contain_text("does not exist any more")
    opened.get_by_role("button", name="Try again").click()
    expect(opened.locator(".assistant")).to_have_text(["You said: Just this", "You said: And this"])
    assert len(set(chats_of(upstream))) == 2


@pytest.mark.parametrize("locks", [True, False])
def test_tabs_opened_at_once_are_one_visitor(
    opened: Page, shop: str, chat: Service, upstream: Upstream, locks: bool
) -> None:
    """Also where tabs cannot wait for each other, as over plain http. Each goes on with what it shows."""
    context, joining, callers = opened.context, list[Route](), set()
    context.add_init_script(OPEN if locks else f"{OPEN} delete Navigator.prototype.locks;")

    context.route("**/api/v1/visitors", lambda route: joining.append(route))
    tabs = [opened, context.new_page()]
    context.on("request", lambda request: callers.add(request.headers.get("authorization")))
    for tab in tabs:
        tab.goto(f"{shop}/index.html")
    for tab in tabs:
        tab.get_by_role("button", name="Open the chat").click()
        expect(tab.locator(".waiting")).to_be_visible()
    calls = 1 if locks else 2
    wait_until(lambda: opened.evaluate("true") and len(joining) == calls)
    for call in joining:
        call.continue_()
        wait_until(lambda: all(tab.evaluate("localStorage.length") for tab in tabs))
    for tab in tabs:
        expect(tab.locator(".opening")).to_be_visible()
        expect(tab.get_by_role("button", name="Send")).to_be_enabled()
        ask(tab, "My name is Ada.")
        expect(tab.locator(".assistant")).to_have_count(1)
    ask(tabs[0], "What did I say?")
    expect(tabs[0].locator(".assistant").last).to_contain_text("the last thing you asked was: My name is Ada.")
    assert len(joining) == calls
    assert len(callers - {None}) == 1
    first, second, third = chats_of(upstream)
    assert first == third != second


def test_where_no_answer_outlives_its_page(
    browser: Browser, shop: str, folder: Path, start: Start, upstream: Upstream, bots: dict[str, str]
) -> None:
    alone = start(CORS_ALLOW_ORIGINS=shop, STORE="off", WORKERS="2")
    (folder / "alone.html").write_text(SITE.format(service=alone.url, bot=bots["for-ever"]))
    with page_on(browser, "about:blank", shop, alone.url, statuses=(404, 503)) as page:
        page.add_init_script(OPEN)
        page.goto(f"{shop}/alone.html")
        open_chat(page)
        for question in ("Go on", "And on"):  # as the first shows how it is here
            ask(page, question)
            expect(page.locator(".assistant")).to_have_text(re.compile(r"\S"))
            page.reload()
            wait_until(lambda: freed(upstream, bots["for-ever"]))
            expect(page.get_by_role("button", name="Send")).to_be_enabled()
            expect(page.locator(".user, .assistant, .error")).to_have_count(0)
        assert len(upstream.state()["chats"]) == 2


def test_in_a_frame_that_may_keep_nothing(browser: Browser, shop: str, folder: Path, service: Service) -> None:
    (folder / "any.html").write_text(SITE.format(service=service.url, bot=""))
    (folder / "frame.html").write_text('<!doctype html><iframe sandbox="allow-scripts" src="any.html" height="700">')
    with page_on(browser, "about:blank", shop, service.url) as page:
        page.add_init_script(OPEN)
        page.goto(f"{shop}/frame.html")
        frame = page.frame_locator("iframe")
        frame.get_by_role("button", name="Open the chat").click()
        expect(frame.get_by_role("button", name="Send")).to_be_enabled()
        frame.get_by_label("Message").fill("Hello")
        frame.get_by_label("Message").press("Enter")
        expect(frame.locator(".assistant")).to_contain_text("Hello! I am")


def test_failures_in_chinese_on_a_narrow_screen(browser: Browser, shop: str, chat: Service) -> None:
    with page_on(
        browser,
        "about:blank",
        shop,
        chat.url,
        statuses=(400, 503),
        locale="zh-CN",
        viewport=NARROW,
        color_scheme="dark",
    ) as page:
        page.add_init_script(OPEN)
        page.goto(f"{shop}/wrong.html")
        page.get_by_role("button", name="打开对话").click()
        field = page.get_by_label("消息")
        expect(page.get_by_role("button", name="发送")).to_be_enabled()
        field.fill("你好")
        field.press("Enter")
        expect(page.locator(".error")).to_have_text("对话暂时不可用。")
        expect(page.locator(".waiting")).to_have_count(0)
        box = page.get_by_role("dialog").bounding_box()
        assert box == {"x": 0, "y": 0, **NARROW}
        keep_screenshot(page, "widget-zh-narrow-dark")
        page.goto(f"{shop}/busy.html")
        page.get_by_role("button", name="打开对话").click()
        expect(page.get_by_role("button", name="发送")).to_be_enabled()
        field.fill("你好")
        field.press("Enter")
        expect(page.get_by_role("button", name="秒后可重试")).to_be_disabled()
        expect(page.get_by_role("button", name="重试", exact=True)).to_be_enabled()


def test_the_script_is_for_all_pages(chat: Service) -> None:
    answer = chat.http.get("/widget.js")
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["etag"]
