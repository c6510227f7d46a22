"""The chat of /widget.js in Chromium, on pages of another origin with a strict policy and styles of their own."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from browser import NARROW, chromium, keep_screenshot, page_on
from conftest import BOT, Service, Start, Upstream, running_service, wait_until
from playwright.sync_api import Browser, ConsoleMessage, FloatRect, Locator, Page, Route, expect
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
<script src="{service}/widget.js" data-bot="{bot}" {more} async></script>
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
LOOKS = {
    "dark-left": 'data-theme="dark" data-position="left" data-color="gold"',
    "light": 'data-theme="light" data-color="#040"',
    "wrong-color": 'data-color="#0f08"',
}
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
        "quota": bots["code-4028"],
        "long": bots["code-4010"],
        "unknown": "1234",
    }
    for name, bot in pages.items():
        page = SITE.format(service=service.url, bot=bot, more="")
        (folder / f"{name}.html").write_text(page.replace("async", 'type="module"') if name == "about" else page)
    for name, more in LOOKS.items():
        (folder / f"{name}.html").write_text(SITE.format(service=service.url, bot="", more=more))
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


def field_of(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Message")


def ask(page: Page, text: str) -> None:
    field_of(page).fill(text)
    field_of(page).press("Enter")


def warnings_of(page: Page) -> list[str]:
    """What the widget tells the page's owner in the console, from now on."""
    told: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type == "warning" and message.text.startswith("coze-chat:"):
            told.append(message.text)

    page.on("console", hear)
    return told


# Chromium cannot hide its tab under test; the page is told so in the way that it asks.
TO_FRONT = "document.dispatchEvent(new Event('visibilitychange'))"


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
    failed: list[str] = []
    opened.on("requestfailed", lambda request: failed.append(request.url))
    launch = opened.get_by_role("button", name="Open the chat")
    expect(launch).to_be_visible()
    assert called == ["/widget.js"]
    open_chat(opened)
    opening = opened.locator(".opening")
    expect(opening).to_contain_text("I am the bot of the Coze sandbox")
    name = opened.get_by_role("heading", level=2).inner_text()
    assert name != "Chat"
    log, answers = opened.get_by_role("log"), opened.locator(".assistant")
    expect(log.get_by_role("button")).to_have_count(4)
    ask(opened, "My name is Ada.")
    expect(answers).to_have_text("You said: My name is Ada.")
    upstream.set(delta_seconds=0.03)  # so that nothing is answered between the two clicks
    log.get_by_role("button").first.dblclick()  # what the bot suggests next
    expect(answers).to_have_count(2)
    expect(opened.locator(".user")).to_have_count(2)
    expect(opened.get_by_role("button", name="Send")).to_be_enabled()
    opened.wait_for_load_state("networkidle")
    assert failed == []
    keep_screenshot(opened, "widget")
    # It is still open, and in the same conversation, on the next page of the site, and after a reload.
    opened.goto(f"{shop}/about.html")
    expect(answers).to_have_count(2)
    opened.reload()
    expect(answers.first).to_have_text("You said: My name is Ada.")
    expect(opened.get_by_role("button", name="Send")).to_be_enabled()
    expect(opened.get_by_role("dialog", name=name)).to_be_visible()
    expect(opening).to_contain_text("I am the bot of the Coze sandbox")
    assert opening.evaluate("opening => !opening.previousElementSibling")
    field = field_of(opened)
    field.fill("What did I say?")
    field.press("Shift+Enter")
    for more in ("isComposing: true", "keyCode: 229"):
        key = f'new KeyboardEvent("keydown", {{ key: "Enter", bubbles: true, cancelable: true, {more} }})'
        field.evaluate(f"field => field.dispatchEvent({key})")
    expect(field).to_have_value("What did I say?\n")
    field.press("Enter")
    expect(answers.last).to_contain_text("the conversation holds")
    assert len(set(chats_of(upstream))) == 1
    opened.get_by_role("button", name="New chat").press("Enter")
    expect(opening).to_be_visible()
    expect(answers).to_have_count(0)
    expect(field_of(opened)).to_be_focused()
    ask(opened, "Hello")
    expect(answers).to_have_count(1)
    expect(answers).to_contain_text("Hello! I am")
    assert len(set(chats_of(upstream))) == 2
    expect(opened.get_by_role("button", name="Send")).to_be_enabled()
    ask(opened, "x\n\n- بند\n\n> اقتباس")
    expect(answers.last.locator("ul")).to_have_css("padding-right", "22px")
    expect(answers.last.locator("blockquote")).to_have_css("border-right-width", "3px")
    key = 'new KeyboardEvent("keydown", { key: "Escape", bubbles: true, keyCode: 229 })'
    field_of(opened).evaluate(f"field => field.dispatchEvent({key})")
    expect(field_of(opened)).to_be_visible()
    field_of(opened).press("Escape")
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
    expect(opened.get_by_role("dialog", name="Markdown")).to_be_visible()
    field_of(opened).press_sequentially("Hello")
    field_of(opened).press("Enter")
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
    opened.get_by_role("button", name="Stop").press("Enter")
    wait_until(lambda: freed(upstream, bots["for-ever"]))
    expect(opened.get_by_role("button", name="Send")).to_be_enabled()
    expect(opened.locator(".error")).to_have_count(0)
    expect(opened.locator(".note")).to_have_text("Stopped")
    expect(field_of(opened)).to_be_focused()
    keep_screenshot(opened, "widget-stopped")
    # So does a new chat.
    ask(opened, "And on")
    expect(answer).to_have_count(2)
    expect(answer.last).to_have_text(re.compile(".{5}"))
    opened.get_by_role("button", name="New chat").click()
    expect(opened.locator(".opening")).to_be_visible()
    assert len(upstream.state()["chats"]) == 2
    wait_until(lambda: freed(upstream, bots["for-ever"]))
    expect(opened.locator(".error, .note, .assistant")).to_have_count(0)


def test_a_conversation_that_was_deleted(opened: Page, shop: str, chat: Service, upstream: Upstream) -> None:
    """What was asked in it is asked in a new one; a chat that opens onto it begins anew without a word."""
    answer = opened.locator(".assistant")

    def delete() -> None:
        expect(opened.get_by_role("button", name="Send")).to_be_enabled()  # all words may be there before the end is
        token = opened.evaluate("Object.values(localStorage).map((text) => JSON.parse(text).token).find(Boolean)")
        conversation = chats_of(upstream)[-1]
        deleted = chat.http.delete(
            f"/api/v1/conversations/{conversation}", headers={"Authorization": f"Bearer {token}"}
        )
        assert deleted.status_code == 200

    opened.goto(f"{shop}/index.html")
    open_chat(opened)
    ask(opened, "Just this")
    expect(answer).to_have_text("You said: Just this")
    delete()
    ask(opened, "And this")
    expect(opened.locator(".error")).to_contain_text("does not exist any more")
    expect(opened.get_by_role("button", name="Try again")).to_have_count(0)
    keep_screenshot(opened, "widget-gone")
    opened.get_by_role("log").get_by_role("button", name="New chat").press("Enter")
    expect(answer).to_have_text("You said: And this")
    expect(opened.locator(".user")).to_have_text("And this")
    expect(field_of(opened)).to_be_focused()
    assert len(set(chats_of(upstream))) == 2
    delete()
    opened.reload()
    expect(opened.locator(".opening")).to_be_visible()
    expect(opened.get_by_role("log").get_by_role("button")).to_have_count(4)
    expect(opened.locator(".error, .user, .assistant")).to_have_count(0)
    opened.get_by_role("log").get_by_role("button").first.press("Enter")
    expect(answer).to_have_count(1)
    expect(field_of(opened)).to_be_focused()
    # So it does for a conversation that has become too long.
    opened.goto(f"{shop}/long.html")
    open_chat(opened)
    ask(opened, "One more")
    expect(opened.locator(".error")).to_contain_text("too long")
    expect(opened.get_by_role("log").get_by_role("button")).to_have_text(["New chat"])


def test_an_answer_that_the_service_lost(
    browser: Browser, shop: str, folder: Path, upstream: Upstream, tmp_path: Path
) -> None:
    """It is shown as the conversation has it, once Coze has completed it."""
    env = {"COZE_API_TOKEN": "pat_test", "COZE_API_BASE": upstream.url, "COZE_BOT_ID": BOT}
    question = " ".join(str(number) for number in range(60))
    upstream.set(delta_seconds=0.1)
    with running_service(tmp_path, **env) as service:
        (folder / "lost.html").write_text(SITE.format(service=service.url, bot="", more=""))
        with page_on(browser, "about:blank", shop, service.url, statuses=(404,), lost=True) as page:
            page.add_init_script(OPEN)
            page.goto(f"{shop}/lost.html")
            open_chat(page)
            ask(page, question)
            expect(page.locator(".assistant")).to_contain_text("You said: 0 1 2")
            service.process.kill()
            service.process.wait()
            with running_service(tmp_path, PORT=str(service.address[1]), **env):
                expect(page.locator(".assistant")).to_have_text(f"You said: {question}", timeout=40_000)
                expect(page.get_by_role("button", name="Send")).to_be_enabled()
                expect(page.locator(".error")).to_have_count(0)
                assert len(upstream.state()["chats"]) == 1


def test_a_website_that_may_not_call(browser: Browser, chat: Service, folder: Path) -> None:
    """Its visitors are not asked whether they are online, and its owner is told what to set."""
    (folder / "shut.html").write_text(
        SITE.replace("connect-src {service};", "connect-src 'self';").format(service=chat.url, bot="", more="")
    )
    with served(folder) as elsewhere:
        for name in ("index", "shut"):
            with page_on(browser, "about:blank", elsewhere, chat.url, statuses=(400,), forbidden=True) as page:
                told = warnings_of(page)
                page.add_init_script(OPEN)
                page.goto(f"{elsewhere}/{name}.html")
                open_chat(page)
                expect(page.locator(".error")).to_have_text("The chat cannot be reached.")
                ask(page, "Hello")
                expect(page.locator(".error")).to_have_count(2)
                keep_screenshot(page, f"widget-{name}-elsewhere")
                expect(page.get_by_role("button", name="Try again").last).to_be_enabled()
                assert len(told) == 1
                for word in (elsewhere, chat.url, "CORS_ALLOW_ORIGINS", "connect-src", "docs/widget.md"):
                    assert word in told[0]


def test_failures_that_trying_again_does_not_mend(opened: Page, shop: str, chat: Service, upstream: Upstream) -> None:
    """Their owner learns the code, the message and the id to look for; a visitor can name the id."""
    told = warnings_of(opened)
    retry = opened.get_by_role("button", name="Try again")
    opened.goto(f"{shop}/unknown.html")
    open_chat(opened)
    ask(opened, "Hello")
    expect(opened.locator(".error")).to_have_text("The chat does not work just now.")
    expect(retry).to_have_count(0)
    reference = opened.locator(".note").inner_text().removeprefix("Reference: ")
    assert any(line.get("request_id") == reference for line in chat.lines())
    message = "The bot does not exist or belongs to another account."
    assert told == [f"coze-chat: bot_not_found · {message} · X-Request-ID: {reference}"]
    # Not now, but later: that keeps nobody from asking something else.
    opened.goto(f"{shop}/quota.html")
    open_chat(opened)
    ask(opened, "Hello")
    expect(opened.locator(".error")).to_have_text("The chat does not work just now. Try again in about 60 min.")
    expect(retry).to_be_enabled()
    expect(opened.get_by_role("button", name="Send")).to_be_enabled()
    upstream.set(delta_seconds=0.1)
    retry.press("Enter")
    expect(opened.locator(".error")).to_have_count(1)
    expect(field_of(opened)).to_be_focused()
    assert len(told) == 3


def test_a_long_wait_shows_life(opened: Page, shop: str, chat: Service) -> None:
    held: list[Route] = []  # until the test lets it go: Coze has no delay that is long enough for each machine
    opened.route(f"{chat.url}/api/v1/chat", lambda route: held.append(route))
    opened.clock.install()
    opened.goto(f"{shop}/endless.html")
    open_chat(opened)
    ask(opened, "Hello")
    waiting = opened.locator(".waiting")
    expect(waiting.locator("i")).to_have_count(3)
    dot = waiting.locator("i").first
    assert dot.evaluate("dot => getComputedStyle(dot).animationName") != "none"
    opened.emulate_media(reduced_motion="reduce")
    assert dot.evaluate("dot => getComputedStyle(dot).animationName") == "none"
    opened.clock.fast_forward(11_000)
    expect(waiting).to_have_text("Still waiting…")
    opened.get_by_role("button", name="Stop").press("Enter")
    wait_until(lambda: opened.evaluate("true") and held)
    held.pop().continue_()
    expect(opened.get_by_role("button", name="Send")).to_be_enabled()
    expect(opened.locator(".note")).to_have_text("Stopped")
    expect(waiting).to_have_count(0)


def test_another_tab_goes_on_with_the_conversation(opened: Page, shop: str, upstream: Upstream) -> None:
    opened.context.add_init_script(OPEN)
    opened.goto(f"{shop}/index.html")
    open_chat(opened)
    ask(opened, "My name is Ada.")
    answers = opened.locator(".assistant")
    expect(answers).to_have_count(1)
    expect(opened.get_by_role("button", name="Send")).to_be_enabled()
    other = opened.context.new_page()
    other.goto(f"{shop}/about.html")
    other.get_by_role("button", name="Open the chat").click()
    expect(other.locator(".assistant")).to_have_count(1)
    ask(other, "Use `code`")
    expect(other.locator(".assistant")).to_have_count(2)
    expect(other.get_by_role("button", name="Send")).to_be_enabled()
    expect(other.get_by_role("log", name="Messages")).to_be_visible()
    assert other.locator("code").evaluate("code => getComputedStyle(code).backgroundColor") != "rgba(0, 0, 0, 0)"
    expect(answers).to_have_count(1)
    opened.evaluate(TO_FRONT)
    expect(answers).to_have_count(2)
    # Where there is nothing new, nothing is drawn anew.
    expect(opened.get_by_role("button", name="Send")).to_be_enabled()
    answers.last.evaluate("answer => { answer.id = 'same'; }")
    with opened.expect_response("**/messages"):
        opened.evaluate(TO_FRONT)
    ask(opened, "And now?")
    expect(answers).to_have_count(3)
    expect(opened.locator("#same")).to_have_count(1)


def test_looks(opened: Page, shop: str) -> None:
    """A page chooses the theme, the side and the colour, on which one can read in any case."""
    told = warnings_of(opened)
    style = "(element, name) => getComputedStyle(element).getPropertyValue(name)"
    for scheme, name, background, text, paper, left in (
        ("light", "dark-left", "rgb(255, 215, 0)", "rgb(0, 0, 0)", "rgb(23, 26, 34)", 20),
        ("dark", "light", "rgb(0, 68, 0)", "rgb(255, 255, 255)", "rgb(255, 255, 255)", 1280 - 20 - 56),
        ("dark", "wrong-color", "rgb(79, 70, 229)", "rgb(255, 255, 255)", "rgb(23, 26, 34)", 1280 - 20 - 56),
    ):
        opened.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        opened.goto(f"{shop}/{name}.html")
        launch = opened.get_by_role("button", name="Open the chat")
        expect(launch).to_be_visible()
        box = launch.bounding_box()
        assert box
        assert box["x"] == left
        assert launch.evaluate(style, "background-color") == background
        assert launch.evaluate(style, "color") == text
        open_chat(opened)
        ask(opened, "Look [there](https://example.com)")
        expect(opened.locator(".assistant").last.get_by_role("link").first).to_be_visible()
        assert opened.locator(".panel").evaluate(style, "background-color") == paper
        keep_screenshot(opened, f"widget-{name}")
        opened.get_by_role("button", name="Close").click()
    assert told == ["coze-chat: data-color must be a colour that nothing shines through, not #0f08."]


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
    (folder / "alone.html").write_text(SITE.format(service=alone.url, bot=bots["for-ever"], more=""))
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
    (folder / "any.html").write_text(SITE.format(service=service.url, bot="", more=""))
    (folder / "frame.html").write_text('<!doctype html><iframe sandbox="allow-scripts" src="any.html" height="700">')
    with page_on(browser, "about:blank", shop, service.url) as page:
        page.add_init_script(OPEN)
        page.goto(f"{shop}/frame.html")
        frame = page.frame_locator("iframe")
        frame.get_by_role("button", name="Open the chat").click()
        expect(frame.get_by_role("button", name="Send")).to_be_enabled()
        frame.get_by_role("textbox").fill("Hello")
        frame.get_by_role("textbox").press("Enter")
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
        field = page.get_by_role("textbox", name="消息")
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
