"""The answers on the playground in Chromium: Markdown that runs nothing, as it grows, long and fast."""

from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
from browser import page_on
from conftest import Service, Upstream, wait_until
from playground import answered, ask, open_at, picture, wire
from playwright.sync_api import Browser, expect

from service.sandbox.markdown import markdown

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("fresh")]

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


FLOOD = """async (pieces) => {
  const [{ GrowingMarkdown }, { look }, { raw }] = await Promise.all([
    import("/markdown/assets/growing.js"),
    import("/playground/assets/markdown.js"),
    import("/playground/assets/wire.js"),
  ]);
  const element = document.createElement("div");
  const growing = new GrowingMarkdown(element, look);
  const most = { elements: 0, characters: 0, rows: 0 };
  const note = (name, count) => (most[name] = Math.max(most[name], count));
  let made = 0;
  const { createElement } = document;
  document.createElement = function (tag) {
    made += 1;
    return createElement.call(this, tag);
  };
  const added = ({ type, target, oldValue, addedNodes }) =>
    type === "characterData"
      ? target.length - oldValue.length
      : [...addedNodes].reduce((sum, node) => sum + node.textContent.length, 0);
  // One drawing's changes come together.
  new MutationObserver((changes) => {
    note("elements", made);
    note("characters", changes.reduce((sum, change) => sum + added(change), 0));
    made = 0;
  }).observe(element, { subtree: true, childList: true, characterData: true, characterDataOldValue: true });
  const pane = document.getElementById("events");
  new MutationObserver((changes) => {
    note("rows", changes.reduce((sum, { addedNodes }) => sum + addedNodes.length, 0));
    made = 0;
  }).observe(pane, { childList: true });
  const frame = () => new Promise(requestAnimationFrame);
  const send = (some) => some.forEach((piece) => {
    growing.add(piece);
    raw(piece);
  });
  send(pieces.slice(0, pieces.length / 2));
  while (growing.isBehind) await frame();
  const closed = [...element.children].slice(0, -5);
  send(pieces.slice(pieces.length / 2));
  await growing.end();
  while (pane.parentElement.ariaBusy === "true") await frame();
  const kept = closed.filter((block) => element.contains(block));
  return { most, rows: pane.childElementCount, text: growing.text, closed: closed.length, kept: kept.length };
}"""


def test_a_frame_draws_a_portion_of_a_flood(browser: Browser, on_sandbox: Service) -> None:
    """And of the answer only what is new and the blocks that may still change."""
    text = markdown("Hello") * 50
    pieces = [text[start : start + 6] for start in range(0, len(text), 6)]
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        flood = page.evaluate(FLOOD, pieces)
        assert flood["text"] == text
        assert flood["rows"] == 500
        assert flood["most"]["elements"] < 250
        assert flood["most"]["characters"] <= 2000
        assert flood["most"]["rows"] <= 50
        assert flood["kept"] == flood["closed"] > 100


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


def test_an_answer_in_markdown(browser: Browser, on_sandbox: Service, bots: dict[str, str]) -> None:
    with page_on(
        browser,
        f"{on_sandbox.url}/playground",
        "https://example.com",
        permissions=["clipboard-read", "clipboard-write"],
    ) as page:
        page.route(
            "https://example.com/**",
            lambda route: route.fulfill(body=picture(1, 1)["buffer"], content_type="image/png"),
        )
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        open_at(page)
        page.get_by_label("Bot id").fill(bots["markdown"])
        ask(page, "**Hello**")
        answered(page, 1)
        expect(page.locator(".user .bubble")).to_have_text("**Hello**")  # the person's own words are as they were typed
        answer = page.locator(".bot .bubble")
        expect(answer.get_by_role("heading", name="Three ways to say hello")).to_be_visible()
        for tag, text in (("strong", "bold"), ("em >> nth=1", "italic"), ("s", "struck"), ("p > code", "code")):
            expect(answer.locator(tag)).to_have_text(text)
        table = answer.get_by_role("table")
        expect(table.get_by_role("columnheader")).to_have_text(["Language", "Greeting", "Length"])
        expect(table.get_by_role("cell", name="5")).to_have_css("text-align", "right")
        assert "<b>HTML</b> stays text: 2 * 3 < 7, snake_case_name." in answer.inner_text()
        for name, href in (
            ("link", "https://example.com/hello"),
            ("https://example.com/a_b_c", "https://example.com/a_b_c"),
        ):
            link = answer.get_by_role("link", name=name, exact=True)
            expect(link).to_have_attribute("href", href)
            expect(link).to_have_attribute("target", "_blank")
            expect(link).to_have_attribute("rel", "noopener noreferrer nofollow")
        code = answer.locator(".code")
        # The word stands for two seconds, in which a slow machine may not look.
        page.clock.install()
        page.clock.pause_at(datetime.now(UTC) + timedelta(minutes=1))
        code.get_by_role("button", name="Copy").click()
        expect(code.get_by_role("button")).to_have_text("Copied")
        assert page.evaluate("navigator.clipboard.readText()") == code.locator("pre").inner_text()
        assert "**{name}**" in code.locator("pre").inner_text()
        page.clock.resume()
        page.clock.fast_forward(2000)
        expect(code.get_by_role("button", name="Copy", exact=True)).to_be_visible()
        # A picture from elsewhere is loaded when the person asks for it, and not before.
        assert [url for url in asked if "example.com" in url] == []
        answer.get_by_role("button", name="A wave: show the picture from example.com").click()
        shown = answer.get_by_role("img", name="A wave")
        page.wait_for_function("image => image.naturalWidth == 1", arg=shown.element_handle())
        page.reload()
        expect(answer.get_by_role("button", name="show the picture")).to_be_visible()
        page.get_by_role("switch", name="Show pictures from other websites").check()
        expect(answer.get_by_role("img", name="A wave")).to_be_visible()
        page.reload()
        expect(answer.get_by_role("img", name="A wave")).to_be_visible()


HOSTILE = """
<script>window.ran = 1</script><img src=x onerror="window.ran = 1"><svg onload="window.ran = 1"></svg>
<iframe src="javascript:parent.ran = 1"></iframe><form action="https://evil.example"><button>Send</button></form>
<meta http-equiv="refresh" content="0; url=https://evil.example"><style>body { display: none }</style>
<base href="https://evil.example"><link rel="stylesheet" href="https://evil.example/a.css">

[one](javascript:window.ran=1) [two](JaVaScRiPt:window.ran=1) [three](data:text/html,<script>parent.ran=1</script>)
[four](vbscript:x) [five]( java\tscript:window.ran=1) [six](&#106;avascript:window.ran=1) [seven](//evil.example/)
[eight](/api/v1/config) [nine](https://ok.example/"onclick="window.ran=1) <javascript:window.ran=1> [ten][x]
![a](data:image/svg+xml,<svg/onload=window.ran=1>) ![b](https://evil.example/?secret) ![c](x"onerror="window.ran=1)
[![d](https://evil.example/d.png)](https://ok.example/d) ![e](//evil.example/e.png) ![f](http://evil.example/f.png)

[x]: javascript:window.ran=1

```"><img src=x onerror=window.ran=1>
</code></pre><script>window.ran = 1</script>
```

| <img src=x onerror=window.ran=1> | [y](javascript:window.ran=1) |
|---|---|
| <b onmouseover="window.ran=1">z</b> | ok |
"""


@pytest.mark.parametrize("stream", [True, False])
def test_nothing_of_an_answer_runs(browser: Browser, on_sandbox: Service, stream: bool) -> None:
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        page.get_by_role("switch", name="Stream the answer").set_checked(stream)
        ask(page, HOSTILE)
        answer = answered(page, 1)
        for words in ("<script>window.ran = 1</script>", "[one](javascript:window.ran=1)", "<svg onload="):
            assert words in answer
        bubble = page.locator(".bot .bubble")
        tags = set(bubble.evaluate("bubble => [...bubble.querySelectorAll('*')].map(element => element.localName)"))
        in_tables = {"table", "thead", "tbody", "tr", "th", "td"}
        assert tags - in_tables <= {"p", "br", "a", "span", "button", "div", "pre", "code"}
        attributes = "bubble => [...bubble.querySelectorAll('*')].flatMap(element => element.getAttributeNames())"
        assert not [name for name in bubble.evaluate(attributes) if name.startswith("on")]
        links = bubble.locator("a").evaluate_all("links => links.map(link => link.href)")
        assert {urlsplit(link).scheme for link in links} == {"http", "https"}
        for element in bubble.locator("span, td, th").all():
            element.hover()
        bubble.get_by_text("seven").click()
        assert page.evaluate("window.ran") is None
        assert urlsplit(page.url).netloc == urlsplit(on_sandbox.url).netloc


GROWN = """async ([pieces, seed, count]) => {
  const { GrowingMarkdown } = await import("/markdown/assets/growing.js");
  const { elementsOf, parse } = await import("/markdown/assets/elements.js");
  const random = (below) => {
    seed = (seed * 1103515245 + 12345) % 2147483648;
    return Math.floor(seed / 65536) % below;
  };
  const wrong = async () => {
    const text = Array.from({ length: 3 + random(20) }, () => pieces[random(pieces.length)]).join("");
    const cuts = [];
    for (let at = 0; at < text.length; at += cuts.at(-1).length) cuts.push(text.slice(at, at + 1 + random(9)));
    const [grown, whole] = [document.createElement("div"), document.createElement("div")];
    const growing = new GrowingMarkdown(grown);
    for (const piece of cuts) {
      growing.add(piece);
      await new Promise(requestAnimationFrame);
      await new Promise((resolve) => setTimeout(resolve));
    }
    await growing.end();
    whole.append(elementsOf(parse(text, {})));
    return grown.isEqualNode(whole) && growing.text === text ? [] : [text];
  };
  return (await Promise.all(Array.from({ length: count }, wrong))).flat();
}"""


def test_markdown_that_grows_ends_as_if_it_had_come_at_once(browser: Browser, on_sandbox: Service) -> None:
    pieces = ["# a\n", "**b** ", "*c ", "- d\n", "1. e\n", "\n", "\n\n", "```js\n", "```\n", "| a | b |\n|---|---|\n"]
    pieces += [
        "| 1 | 2 |\n",
        "> q\n",
        "[l](http://x.y) ",
        "`z` ",
        "text ",
        "    indented\n",
        "===\n",
        "---\n",
        "  - n\n",
    ]
    pieces += ["[r]: http://r.r\n", "[r] ", "<b>", "\\*", "#", "-", "1", ".", "  ", "==", "![i](https://i.i/i.png) "]
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        assert page.evaluate(GROWN, [pieces, 7, 200]) == []


HALVES = r"""async (text) => {
  const { withoutHalves } = await import("/markdown/assets/unfinished.js");
  const { elementsOf, parse } = await import("/markdown/assets/elements.js");
  const found = [];
  for (let end = 1; end <= text.length; end++) {
    const shown = document.createElement("div");
    shown.append(elementsOf(parse(withoutHalves(text.slice(0, end)), {})));
    shown.querySelectorAll("code").forEach((code) => code.remove());
    if (/\*\*|\*(?! 3|$)|[`~|]|\]\(|^#|\[/m.test(shown.textContent)) found.push(text.slice(0, end));
  }
  return found;
}"""


@pytest.mark.parametrize("question", ["Hello", "你好"])
def test_no_half_of_a_mark_shows(browser: Browser, on_sandbox: Service, question: str) -> None:
    """Wherever the answer has come to."""
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        assert page.evaluate(HALVES, markdown(question)) == []


LONG = """async (texts) => {
  const { GrowingMarkdown } = await import("/markdown/assets/growing.js");
  return Promise.all(texts.map(async (text) => {
    const element = document.createElement("div");
    const growing = new GrowingMarkdown(element);
    for (let at = 0; at < text.length; at += 1000) growing.add(text.slice(at, at + 1000));
    await growing.end();
    return [...element.querySelectorAll("code, li, td, p")].map((one) => one.textContent).join("");
  }));
}"""


def test_a_long_block_is_cut_where_its_lines_end(browser: Browser, on_sandbox: Service) -> None:
    """Code goes on as code and a table as a table; no character is lost, however deep or dense the marks are."""
    code = "".join(f"line {number} **of** code\n" for number in range(3000))
    cells = [f"cell{number}" for number in range(2000)]
    rows = "".join(f"| {cell} |\n" for cell in cells)
    items = "".join(f"- item{number}\n" for number in range(4000))
    emoji = "🎉" * 20_000
    bombs = [
        "[" * 30_000,
        "*a **a " * 5000,
        ">" * 20_000,
        "`a``" * 5000,
        "|" + "a|" * 5000 + "\n|" + "-|" * 5000 + "\n",
    ]
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        shown = page.evaluate(LONG, [f"```\n{code}```\n\nend", f"| h |\n|---|\n{rows}\nend", items, emoji, *bombs])
        assert shown[0] == f"{code}end"
        assert shown[1] == f"{''.join(cells)}end"
        assert shown[2] == items.replace("- ", "").replace("\n", "")
        assert shown[3] == emoji
        assert shown[4] == bombs[0]


def test_thoughts_are_shown_apart(browser: Browser, on_sandbox: Service, bots: dict[str, str]) -> None:
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        page.get_by_label("Bot id").fill(bots["reasoning"])
        ask(page, "Hello")
        answer = answered(page, 1)
        thoughts = page.locator("details.thinking p").inner_text()
        assert thoughts
        assert thoughts not in answer
