"""Every program in examples/ works as it is against the running service; the pages are built and driven in Chromium."""

import contextlib
import functools
import http.server
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from browser import NARROW, WIDE, chromium, keep_nothing, keep_screenshot, page_on
from conftest import ROOT, Service, Start, Upstream, wait_until
from javascript import EVERYTHING, TESTS, needs_packages, node, read_in_every_split, run_tool
from playground import picture
from playwright.sync_api import Browser, Locator, Page, expect
from relay import Relay

pytestmark = [pytest.mark.browser, pytest.mark.npm]

EXAMPLES = ROOT / "examples"
FRAMEWORKS = ("react", "vue")
PAGES = ("javascript", *FRAMEWORKS)
LIBRARIES = ("ai-sdk", "ant-design-x")
BUILT = (*FRAMEWORKS, *LIBRARIES, "readme")
# Where all of them look for the service.
DEFAULT_URL = "http://127.0.0.1:2026"


@pytest.fixture(autouse=True)
def fresh(upstream: Upstream) -> None:
    upstream.reset()
    upstream.set(delta_seconds=0)


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of examples/ with its npm packages, generated and compiled as its package.json says.

    One more is there: what a reader of the README has made.
    """
    needs_packages("vite", "vue", "react", "openapi-typescript", "openapi-fetch", "typescript")
    folder = tmp_path_factory.mktemp("project")
    shutil.copyfile(ROOT / "openapi.yaml", folder / "openapi.yaml")
    copy = Path(shutil.copytree(EXAMPLES, folder / "examples", ignore=shutil.ignore_patterns("node_modules", "dist")))
    (copy / "node_modules").symlink_to(TESTS / "node_modules")
    write_readme_project(copy)
    let_unmount(copy)
    run_tool(copy, "npm", "run", "check")
    return copy


def test_the_examples_need_just_what_the_tests_have_installed() -> None:
    manifest = json.loads((EXAMPLES / "package.json").read_text())
    wanted = json.loads((TESTS / "package.json").read_text())["devDependencies"]
    needed = manifest["dependencies"] | manifest["devDependencies"]
    assert {name: wanted.get(name) for name in needed} == needed


def assert_talk(output: str) -> None:
    """What every program without a page shows: a remembered turn, an uploaded file, an error with its id."""
    assert "the last thing you asked was: My name is Ada." in output
    assert "notes.txt" in output
    assert re.search(r"Refused: The bot does not exist .*\(HTTP 404, [0-9a-f]{32}\)", output)


def test_typescript(examples: Path, service: Service) -> None:
    output = run_tool(examples, node(), "typescript/chat.ts", service.url)
    assert_talk(output)
    assert re.search(r"\(conversation \d+, \d+ tokens\)", output)
    assert "notes.txt (10 bytes" in output


def test_typescript_knows_the_events(examples: Path) -> None:
    """A field that no event has, and an event that the contract has and the program forgets, do not compile."""
    folder = examples / "typescript"
    source = (folder / "chat.ts").read_text()
    (folder / "field.ts").write_text(source.replace("event.conversation_id}", "event.conversation}"))
    (folder / "event.ts").write_text(source.replace('    case "follow_up":\n', ""))
    with pytest.raises(AssertionError) as caught:
        run_tool(examples, "tsc", "-p", "typescript")
    assert re.findall(r"^typescript/(\w+\.ts)\(", str(caught.value), re.MULTILINE) == ["event.ts", "field.ts"]
    (folder / "field.ts").unlink()
    (folder / "event.ts").unlink()


def test_axios(examples: Path, service: Service) -> None:
    output = run_tool(examples, node(), "axios/chat.mjs", service.url)
    assert_talk(output)
    assert "您好！我是扣子沙盒里的智能体" in output


def test_python(service: Service) -> None:
    assert_talk(run_tool(EXAMPLES, sys.executable, "python/chat.py", service.url))


@pytest.mark.parametrize("language", ["javascript", "python"])
def test_a_client_gets_an_answer_over_lost_connections(
    service: Service, upstream: Upstream, language: str, seed: int
) -> None:
    upstream.set(delta_seconds=0.005)
    drawn = random.Random(seed)
    cuts = iter([0, drawn.randrange(700, 4000), drawn.randrange(700, 4000)])
    scripts = {
        "javascript": """
            import { CozeAPI } from "./javascript/coze-api.js";
            let text = "";
            const messages = [{ role: "user", content: process.argv[2] }];
            const request = { user_id: "u", messages, on_disconnect: "continue" };
            for await (const event of new CozeAPI(process.argv[1]).stream(request)) text += event.content ?? "";
            console.log(text);
        """,
        "python": """
            import sys
            sys.path.insert(0, "python")
            from chat import Coze, MessageDeltaEvent, question
            request = question(sys.argv[2])
            request.on_disconnect = "continue"
            events = Coze(sys.argv[1]).stream(request)
            print("".join(event.content for event in events if isinstance(event, MessageDeltaEvent)))
        """,
    }
    run = {"javascript": (node(), "--input-type=module", "-e"), "python": (sys.executable, "-c")}[language]
    text = " ".join(f"word-{number}" for number in range(100))
    with Relay(service.address, lambda: next(cuts, None)) as relay:
        output = run_tool(EXAMPLES, *run, textwrap.dedent(scripts[language]), relay.url, text)
    assert output.startswith(f"You said: {text}")
    assert output.count("word-") == 100
    assert relay.cuts == 3
    assert len(chats_of(upstream)) == 1


class _ByteByByte(http.server.BaseHTTPRequestHandler):
    """Answers each chat with a stream in which a text holds EVERYTHING as it is, each byte in a chunk of its own."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        delta = {"type": "message_delta", "content": EVERYTHING, "timestamp": "2026-11-22T12:00:00.000Z"}
        for event in (delta, {"type": "end"}):
            for byte in f"data: {json.dumps(event, ensure_ascii=False)}\n\n".encode():
                self.wfile.write(b"1\r\n%c\r\n" % byte)
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: object) -> None: ...


def test_python_splits_at_line_feeds_only() -> None:
    script = """
        import sys
        sys.path.insert(0, "python")
        from chat import Coze, question
        print(ascii([event.content for event in Coze(sys.argv[1]).stream(question("Hello"))]))
    """
    with listening(_ByteByByte) as url:
        assert run_tool(EXAMPLES, sys.executable, "-c", textwrap.dedent(script), url) == f"{[EVERYTHING]!a}\n"


def test_curl(service: Service) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    output = run_tool(EXAMPLES, "sh", "curl/chat.sh", service.url)
    assert '"status":"healthy"' in output
    assert 'data: {"type":"end"}' in output
    assert "notes.txt (11 bytes" in output
    assert re.search(r"HTTP 404, [0-9a-f]{32}", output)
    assert '"message":"Configuration retrieved successfully"' in output


def test_postman(service: Service, tmp_path: Path) -> None:
    needs_packages("newman")
    report = tmp_path / "report.json"
    run_tool(
        EXAMPLES,
        *("newman", "run", "postman/coze.postman_collection.json", "--working-dir", "postman"),
        *("--env-var", f"baseUrl={service.url}", "--reporters", "json", "--reporter-json-export", str(report)),
    )
    run = json.loads(report.read_text())["run"]
    assert (run["stats"]["requests"]["total"], run["failures"]) == (11, [])
    assert run["stats"]["assertions"]["total"] >= 19


def test_journeys(service: Service, upstream: Upstream) -> None:
    """The Arazzo document, run by Redocly: it also checks each answer against the contract."""
    needs_packages("@redocly/cli")
    output = run_tool(EXAMPLES, "redocly", "respect", "workflows.arazzo.yaml", "--server", f"coze={service.url}")
    assert re.search(r"Workflows:.* 3 passed, 3 total", output), output
    assert [upload["name"] for upload in upstream.state()["uploads"]] == ["picture.png"]
    run_tool(EXAMPLES, "redocly", "lint", "workflows.arazzo.yaml")


def test_the_javascript_client(service: Service, upstream: Upstream, bots: dict[str, str]) -> None:
    script = f"""
      import {{ CozeAPI, CozeError, about }} from {json.dumps((EXAMPLES / "javascript" / "coze-api.js").as_uri())};
      const api = new CozeAPI({json.dumps(service.url)});
      const question = (content, more) => ({{ user_id: "u", messages: [{{ role: "user", content }}], ...more }});
      const file = await api.upload(new File(["some notes"], "notes.txt"), "My notes");
      const aborter = new AbortController();
      const aborted = (async () => {{
        const endless = question("Go on", {{ bot_id: {json.dumps(bots["for-ever"])} }});
        for await (const event of api.stream(endless, {{ signal: aborter.signal }})) aborter.abort();
      }})().catch((error) => error.name);
      const events = [];
      for await (const event of api.stream(question("Hello"))) events.push(event.type);
      const broken = (async () => {{
        for await (const _ of api.stream(question("Hello", {{ bot_id: {json.dumps(bots["reset"])} }})));
      }})().catch((error) => [error instanceof CozeError, Boolean(error.requestId), error.message]);
      const limited = api.chat(question("Hello", {{ bot_id: {json.dumps(bots["429-retry-after"])} }}))
        .catch((error) => [error.status, error.retryAfter, Boolean(error.requestId)]);
      console.log(JSON.stringify({{
        chat: (await api.chat(question("Hello"))).data.content,
        about: (await api.chat({{ user_id: "u", messages: [about("What is it?", file.file_id)] }})).data.content,
        health: (await api.health()).status,
        user: (await api.user()).message,
        workspaces: (await api.workspaces()).data.length,
        file, events, aborted: await aborted, broken: await broken,
        limited: await limited,
      }}));
    """
    got = json.loads(run_tool(TESTS, node(), "--input-type=module", "-e", script))
    assert got["chat"].startswith("Hello! I am")
    assert "notes.txt (10 bytes" in got["about"]
    assert (got["health"], got["user"]) == ("healthy", "User info retrieved successfully")
    assert got["workspaces"] > 0
    assert got["file"]["description"] == "My notes"
    assert set(got["events"]) == {"chat_started", "message_delta", "follow_up", "chat_completed"}
    assert got["aborted"] == "AbortError"
    assert got["broken"][:2] == [True, True]
    assert got["limited"] == [429, 7, True]
    wait_until(lambda: freed(upstream, bots["for-ever"]))


def test_the_readers_survive_every_split(examples: Path) -> None:
    for module in ("javascript/coze-api.js", "typescript/client.ts"):
        read_in_every_split(examples / module, "messagesOf", "{ data }")


def freed(upstream: Upstream, bot: str) -> bool:
    chats = [chat for chat in upstream.state()["chats"] if chat["bot_id"] == bot]
    return bool(chats) and all(chat["client_left"] and chat["status"] == "canceled" for chat in chats)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """A web server for the files of `folder`."""
    with listening(functools.partial(_Quiet, directory=str(folder))) as url:
        yield url


@contextlib.contextmanager
def listening(handler: Callable[..., http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


BUILD = """
import { build } from "vite";
const quick = { minify: false, reportCompressedSize: false, chunkSizeWarningLimit: 5000 };
for (const root of process.argv.slice(1)) await build({ root, logLevel: "warn", build: quick });
"""


@pytest.fixture(scope="module")
def built(examples: Path) -> Path:
    """The same, with the pages that Vite makes of them in their `dist`."""
    run_tool(examples, node(), "--input-type=module", "-e", BUILD, *BUILT)
    return examples


@pytest.fixture(scope="module")
def pages(built: Path, service: Service) -> Iterator[dict[str, str]]:
    """Where each page is served."""
    with contextlib.ExitStack() as stack:
        names = ("javascript", *BUILT)
        yield {name: stack.enter_context(served_for(built, name, service.url)) for name in names}


@contextlib.contextmanager
def served_for(built: Path, name: str, url: str) -> Iterator[str]:
    """Serves a page that calls the service at `url`; yields its address, to which `bot=…` can be added."""
    folder = built / name if name == "javascript" else built / name / "dist"
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(folder, copy, dirs_exist_ok=True)
        for script in Path(copy).rglob("*.js"):
            script.write_text(script.read_text(encoding="utf-8").replace(DEFAULT_URL, url), encoding="utf-8")
        with served(Path(copy)) as address:
            yield f"{address}/?"


def let_unmount(examples: Path) -> None:
    """Lets the tests do what an application does that shows something else: `unmount()`."""
    for main, before, after in (
        ("react/src/main.tsx", 'createRoot(document.getElementById("root")!)', ".render"),
        ("vue/src/main.js", "createApp(Chat)", ".mount"),
    ):
        source = (examples / main).read_text()
        assert before + after in source
        made = f"const made = {before};\nObject.assign(window, {{ unmount: () => made.unmount() }});\nmade{after}"
        (examples / main).write_text(source.replace(before + after, made))


def write_readme_project(examples: Path) -> None:
    """The React project that the README leads to: what Vite's own template gives, and what the README says."""
    source = examples / "readme" / "src"
    source.mkdir(parents=True)
    for name in ("client.ts", "visitor.ts"):
        text = (examples / "typescript" / name).read_text(encoding="utf-8")
        (source / name).write_text(text.replace("./coze-api.ts", "../../typescript/coze-api.ts"), encoding="utf-8")
    for name in ("index.html", "tsconfig.json", "vite.config.ts"):
        shutil.copyfile(examples / "react" / name, source.parent / name)
    main = (examples / "react" / "src" / "main.tsx").read_text()
    (source / "main.tsx").write_text(main.replace("{ Chat }", "Chat").replace("./Chat.tsx", "./App.tsx"))
    (block,) = re.findall(
        r"^```tsx\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert DEFAULT_URL in block
    (source / "App.tsx").write_text(block, encoding="utf-8")


def ask(page: Page, text: str) -> None:
    page.get_by_label("Message").fill(text)
    page.get_by_label("Message").press("Enter")


@pytest.mark.parametrize("name", PAGES)
def test_a_page(
    browser: Browser, pages: dict[str, str], name: str, service: Service, upstream: Upstream, bots: dict[str, str]
) -> None:
    with page_on(browser, pages[name], service.url) as page:
        answers = page.locator(".assistant")
        expect(page.get_by_role("button", name="Stop")).to_be_disabled()
        ask(page, "My name is Ada.")
        expect(answers).to_have_text("You said: My name is Ada.")
        # The second turn is in the same conversation, and Coze is not sent the first again.
        ask_when_ready(page, "What did I say?")
        expect(answers.last).to_contain_text("the conversation holds 2 messages; the last thing you asked was: My name")
        if name == "javascript":
            page.locator("#log").get_by_role("button", name="Who are you?").click()  # what the bot suggests
            expect(page.locator("#log")).to_be_focused()
            expect(answers.last).to_contain_text("Hello! I am the bot")
            expect(page.locator(".user")).to_have_count(3)
            expect(page.get_by_role("button", name="Send")).to_be_enabled()
        # A picture, and a question about it.
        page.get_by_label("File").set_input_files(picture())
        ask_when_ready(page, "What is in this picture?")
        expect(answers.last).to_contain_text("evening.png")
        expect(answers.last).to_contain_text("You said: What is in this picture?")
        expect(page.locator(".user").last).to_contain_text("What is in this picture?")
        if name == "javascript":
            page.reload()
            expect(answers).to_have_count(4)
            ask_when_ready(page, "What did I say?")
            expect(answers.last).to_contain_text("the last thing you asked was")
        else:
            sent = page.locator(".user img")
            expect(sent).to_have_attribute("src", re.compile(re.escape(service.url) + r"/api/v1/files/"))
            page.wait_for_function("image => image.naturalWidth == 240", arg=sent.element_handle())
            page.reload()  # the service gives another link
            page.wait_for_function("image => image.naturalWidth == 240", arg=sent.element_handle())
        assert len({chat["conversation_id"] for chat in upstream.state()["chats"]}) == 1
        keep_screenshot(page, f"example-{name}")
    with page_on(browser, f"{pages[name]}bot={bots['for-ever']}", service.url) as page:
        ask(page, "Go on")
        answer = page.locator(".assistant")
        expect(answer).to_have_text(re.compile(r"\S"))
        before = len(answer.inner_text())
        expect(answer).to_have_text(re.compile(f".{{{before + 5}}}"))  # it grows as one watches
        if name == "javascript":
            page.reload()
            expect(answer).to_have_text(re.compile(f".{{{before + 5}}}"))
            expect(page.locator(".user")).to_have_text("Go on")
        ask(page, "And then?")
        expect(page.get_by_label("Message")).to_have_value("And then?")
        page.get_by_role("button", name="Stop").click()
        expect(page.get_by_role("button", name="Stop")).to_be_disabled()
        wait_until(lambda: freed(upstream, bots["for-ever"]))
        assert page.locator(".error").count() == 0
    with page_on(browser, f"{pages[name]}bot={bots['code-4015']}", service.url, statuses=(400,)) as page:
        ask(page, "Hello")
        expect(page.locator(".error")).to_contain_text("published")
        expect(page.get_by_role("button", name="Send")).to_be_enabled()
        expect(page.locator(".assistant, .waiting")).to_have_count(0)


REST = "log => log.scrollHeight - log.scrollTop - log.clientHeight"


def compose(page: Page) -> None:
    """Presses Enter as it ends a word of an input method, which sends nothing."""
    field = page.get_by_label("Message")
    before = field.input_value()
    for more in ("isComposing: true", "keyCode: 229"):
        key = f'new KeyboardEvent("keydown", {{ key: "Enter", bubbles: true, cancelable: true, {more} }})'
        field.evaluate(f"field => field.dispatchEvent({key})")
    expect(field).to_have_value(before)


def test_the_plain_page_thinks_and_begins_anew(
    browser: Browser, pages: dict[str, str], service: Service, upstream: Upstream, bots: dict[str, str]
) -> None:
    with page_on(browser, f"{pages['javascript']}bot={bots['reasoning']}", service.url) as page:
        page.get_by_label("Message").fill("one\ntwo")
        compose(page)
        page.get_by_label("Message").press("Enter")
        page.get_by_text("Thinking").click()
        expect(page.locator("details p")).to_have_text(re.compile(r"\S"))
        expect(page.locator(".user")).to_have_text("one\ntwo")
        ask(page, "\n".join(f"line {number}" for number in range(60)))
        expect(page.locator(".assistant")).to_have_count(2)
        expect(page.get_by_role("button", name="Send")).to_be_enabled()
        page.wait_for_function(f"() => ({REST})(document.querySelector('[role=log]')) < 10")
        page.get_by_role("button", name="New chat").click()
        expect(page.locator(".user, .assistant, details")).to_have_count(0)
        ask(page, "Hello")
        expect(page.locator(".assistant")).to_have_text(re.compile(r"\S"))
        assert len(set(chats_of(upstream))) == 2
        token = page.evaluate("Object.values(localStorage).map((text) => JSON.parse(text).token)[0]")
        # Where the service remembers it, the chat is a proven visitor's.
        mine = service.http.get("/api/v1/conversations", headers={"Authorization": f"Bearer {token}"})
        assert {one["conversation_id"] for one in mine.json()["data"]} == set(chats_of(upstream))


def test_pages_with_and_without_types_say_the_same_of_errors() -> None:
    tables = [
        re.findall(r"^  \[\[.*$", (EXAMPLES / path).read_text(encoding="utf-8"), re.MULTILINE)
        for path in ("javascript/words.js", "typescript/page.ts")
    ]
    assert tables[0] == tables[1] != []


def lines(page: Page, name: str, role: str) -> Locator:
    """What was said, as a library's page shows it."""
    return page.locator({"ai-sdk": f".{role}", "ant-design-x": f".ant-bubble-{PLACES[role]} .ant-bubble-content"}[name])


PLACES = {"user": "end", "assistant": "start"}


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_page_of_a_library(
    browser: Browser, pages: dict[str, str], name: str, service: Service, upstream: Upstream, bots: dict[str, str]
) -> None:
    with page_on(browser, pages[name], service.url) as page:
        field, answers = page.get_by_role("textbox"), lines(page, name, "assistant")

        def ask(text: str) -> None:
            field.fill(text)
            field.press("Enter")

        ask("My name is Ada.")
        expect(answers).to_have_text("You said: My name is Ada.")
        expect(page.get_by_text("Who are you?")).to_be_visible()
        ask("What did I say?")
        expect(answers.last).to_contain_text("the last thing you asked was: My name is Ada.")
        upstream.set(delta_seconds=0.03)  # so that nothing is answered between the two clicks
        page.get_by_text("Who are you?").dblclick()  # what the bot suggests
        expect(answers.last).to_contain_text('To see the failures that a frontend must handle, say "help".')
        upstream.set(delta_seconds=0)
        expect(lines(page, name, "user")).to_have_count(3)
        assert len(set(chats_of(upstream))) == 1
        keep_screenshot(page, f"example-{name}")
        # Its last word is there before its end is, and until then no other question is sent.
        wait_until(lambda: {chat["status"] for chat in upstream.state()["chats"]} == {"completed"})
        page.reload()
        expect(answers).to_have_count(3)
        expect(answers.first).to_have_text("You said: My name is Ada.")
        ask("What did I say?")
        expect(answers.last).to_contain_text("the conversation holds")
        assert len(set(chats_of(upstream))) == 1
        # An answer goes on over a reload, a second question waits its turn, and Stop stops the answer at Coze.
        page.goto(f"{pages[name]}bot={bots['for-ever']}")
        ask("Go on")
        expect(answers).to_have_text(re.compile(r"\S.{4}"))
        page.reload()
        expect(answers).to_have_text(re.compile(r"\S.{4}"))
        expect(lines(page, name, "user")).to_have_text("Go on")
        ask("And then?")
        expect(field).to_have_value("And then?")
        stop = page.locator(".ant-sender-actions-btn").or_(page.get_by_role("button", name="Stop")).first
        stop.click()
        wait_until(lambda: freed(upstream, bots["for-ever"]))
        before = len(upstream.state()["chats"])
        assert [chat["bot_id"] for chat in upstream.state()["chats"]].count(bots["for-ever"]) == 1
        # Stop before the service has said anything stops it as soon as it has, and leaves nothing behind.
        upstream.set(fail={"/v3/chat": {"kind": "slow", "seconds": 0.7}})
        ask("And then?")
        stop.click()
        wait_until(lambda: len(upstream.state()["chats"]) == before + 1 and freed(upstream, bots["for-ever"]))
        expect(page.get_by_text("And then?")).to_be_visible()
        wait_until(lambda: all(answers.all_inner_texts()))
        expect(page.get_by_role("alert")).to_have_count(0)
    with page_on(
        browser, f"{pages[name]}bot={bots['code-4015']}", service.url, statuses=(400,), locale="zh-CN"
    ) as page:
        page.get_by_role("textbox").fill("你好")
        page.get_by_role("textbox").press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("该智能体尚未发布")
        assert all(lines(page, name, "assistant").all_inner_texts())
        expect(page.locator(".waiting")).to_have_count(0)


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_page_of_a_library_has_room(
    browser: Browser, pages: dict[str, str], name: str, service: Service, bots: dict[str, str]
) -> None:
    """For a long answer, half of one, and none."""
    with page_on(browser, pages[name], service.url, viewport=NARROW) as page:
        page.get_by_role("textbox").fill("line\n\n" * 30 + "the end")
        page.get_by_role("textbox").press("Enter")
        follow_up = page.get_by_text("Who are you?")
        expect(follow_up).to_be_in_viewport(ratio=1)
        expect(page.get_by_role("textbox")).to_be_in_viewport(ratio=1)
        end = lines(page, name, "assistant").evaluate("answer => answer.getBoundingClientRect().bottom")
        assert end <= follow_up.evaluate("follow_up => follow_up.getBoundingClientRect().top")
    with page_on(browser, f"{pages[name]}bot={bots['reset']}", service.url) as page:
        page.get_by_role("textbox").fill("Hello")
        page.get_by_role("textbox").press("Enter")
        top = "shown => shown.getBoundingClientRect().top"
        said = page.get_by_text("This is the first half of an answer", exact=True)
        assert page.get_by_role("alert").evaluate(top) > said.evaluate(top) + 10
    with page_on(browser, f"{pages[name]}bot={bots['empty-answer']}", service.url) as page:
        page.get_by_role("textbox").fill("Hello")
        page.get_by_role("textbox").press("Enter")
        expect(page.get_by_role("alert")).to_have_text("The bot gave no answer.")
        page.get_by_role("button", name="Try again").click()
        expect(page.get_by_role("alert")).to_have_text("The bot gave no answer.")
        expect(lines(page, name, "user")).to_have_count(1)


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_page_of_a_library_waits(
    browser: Browser, pages: dict[str, str], name: str, service: Service, upstream: Upstream, bots: dict[str, str]
) -> None:
    with page_on(browser, f"{pages[name]}bot={bots['503-retry-after']}", service.url, statuses=(503,)) as page:
        field = page.get_by_role("textbox")
        field.fill("Hello")
        field.press("Enter")
        expect(page.get_by_role("button", name="Try again in")).to_be_disabled()
        field.fill("Meanwhile")
        field.press("Enter")
        expect(field).to_have_value("Meanwhile")
        page.get_by_role("button", name="Try again", exact=True).dblclick()
        expect(page.get_by_role("button", name="Try again in")).to_be_disabled()
        assert len(chats_of(upstream)) == 2
        expect(lines(page, name, "user")).to_have_count(1)
        expect(page.get_by_role("alert")).to_have_count(1)


@pytest.mark.parametrize("name", LIBRARIES)
def test_thinking_in_a_page_of_a_library_in_the_dark(
    browser: Browser, pages: dict[str, str], name: str, service: Service, bots: dict[str, str]
) -> None:
    with page_on(browser, f"{pages[name]}bot={bots['reasoning']}", service.url, color_scheme="dark") as page:
        page.get_by_role("textbox").fill("Hello")
        page.get_by_role("textbox").press("Enter")
        expect(lines(page, name, "assistant")).to_contain_text(re.compile(r"\S"))
        expect(page.get_by_text("Thinking")).to_be_visible()
        colour = lines(page, name, "assistant").evaluate("answer => getComputedStyle(answer).color")
        assert min(map(int, re.findall(r"\d+", colour)[:3])) > 180
        keep_screenshot(page, f"example-{name}-dark")


def chats_of(upstream: Upstream) -> list[str]:
    """The conversation of each chat that Coze has seen."""
    return [chat["conversation_id"] for chat in upstream.state()["chats"]]


def answer_dialogs(page: Page, text: str = "") -> None:
    page.on("dialog", lambda dialog: dialog.accept(text or None))


def token_of(page: Page) -> str:
    token: str = page.evaluate("JSON.parse(Object.values(localStorage)[0]).token")
    return token


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_conversations_come_back(
    browser: Browser, pages: dict[str, str], name: str, service: Service, upstream: Upstream
) -> None:
    with page_on(browser, pages[name], service.url) as page:
        listed, answers = page.get_by_role("navigation").get_by_role("listitem"), page.locator(".assistant")
        ask(page, "My name is Ada.")
        expect(answers).to_have_text("You said: My name is Ada.")
        page.get_by_role("button", name="New chat").click()
        expect(page.locator(".user")).to_have_count(0)
        ask(page, "What a day")
        expect(answers).to_have_text("You said: What a day")
        expect(listed).to_have_text([re.compile("What a day"), re.compile("My name is Ada.")])
        # After a reload the one that was open is open, and the other can be.
        page.reload()
        expect(answers).to_have_text("You said: What a day")
        page.get_by_role("button", name="My name is Ada.").click()
        expect(answers).to_have_text("You said: My name is Ada.")
        expect(page.get_by_role("button", name="My name is Ada.")).to_have_attribute("aria-current", "true")
        ask_when_ready(page, "What did I say?")
        expect(answers.last).to_contain_text("the last thing you asked was: My name is Ada.")
        expect(listed).to_have_text([re.compile("My name is Ada."), re.compile("What a day")])
        answer_dialogs(page, "Ada")
        listed.first.get_by_role("button", name="Rename").click()
        expect(listed).to_have_text([re.compile("^Ada"), re.compile("What a day")])
        keep_screenshot(page, f"example-{name}-conversations")
        # Nobody else has them, not even who knows which one is open.
        tab = page.evaluate(
            "JSON.stringify(Object.entries(sessionStorage).find(([key]) => key.startsWith('conversation')))"
        )
        with page_on(browser, pages[name], service.url, statuses=(404,)) as other:
            other.evaluate(f"sessionStorage.setItem(...{tab})")
            other.reload()
            expect(other.locator(".error")).to_contain_text("does not exist")
            expect(other.get_by_role("navigation")).to_be_visible()
            expect(other.get_by_role("listitem")).to_have_count(0)
            ask(other, "Hello")
            expect(other.get_by_role("listitem")).to_have_count(1)
        listed.first.get_by_role("button", name="Delete").click()
        expect(listed).to_have_text([re.compile("What a day")])
        expect(answers).to_have_count(0)
        page.reload()
        expect(listed).to_have_text([re.compile("What a day")])
        expect(page.locator(".user")).to_have_count(0)


@pytest.mark.parametrize("locks", ["navigator.locks", "undefined", "{ request: async () => { throw new Error(); } }"])
def test_tabs_opened_at_once_are_one_visitor(examples: Path, service: Service, locks: str) -> None:
    """Also where the browser has no locks for them, or refuses these."""
    script = f"""
      import {{ memory, Visitor }} from "./typescript/visitor.ts";
      Object.defineProperty(navigator, "locks", {{ value: {locks} }});
      const keeper = memory();
      const tabs = Array.from({{ length: 5 }}, () => new Visitor({json.dumps(service.url)}, keeper));
      const [first, ...others] = await Promise.all(tabs.map((tab) => tab.identity()));
      const renewed = await Promise.all(tabs.map((tab) => tab.renew(first.token)));
      const same = (all) => new Set(all.map(({{ token }}) => token)).size;
      console.log(same([first, ...others]), same(renewed), same([first, ...renewed]), Boolean(first.token));
    """
    assert run_tool(examples, node(), "--input-type=module", "-e", script) == "1 1 2 true\n"


def test_a_session_that_is_started_twice_meets_its_bot(examples: Path, service: Service, bots: dict[str, str]) -> None:
    """React in its strict mode mounts each component, unmounts it, and mounts it again."""
    script = f"""
      import {{ createCoze }} from "./typescript/client.ts";
      import {{ ChatSession }} from "./typescript/session.ts";
      import {{ memory, Visitor }} from "./typescript/visitor.ts";
      globalThis.requestAnimationFrame = setTimeout;
      const url = {json.dumps(service.url)};
      const session = new ChatSession(createCoze(url, new Visitor(url, memory())), {json.dumps(bots["load"])});
      session.start()();
      const end = session.start();
      await new Promise((met) => session.subscribe(() => session.state.bot && met()));
      console.log(session.state.bot.bot_id);
      end();
    """
    assert run_tool(examples, node(), "--input-type=module", "-e", script) == f"{bots['load']}\n"


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_long_lists_come_in_pages(browser: Browser, pages: dict[str, str], name: str, service: Service) -> None:
    with page_on(browser, pages[name], service.url) as page:
        expect(page.get_by_role("navigation")).to_be_visible()
        headers = {"Authorization": f"Bearer {token_of(page)}"}

        def said(content: str, conversation: str | None = None) -> str:
            body = {"messages": [{"role": "user", "content": content}], "conversation_id": conversation}
            answer = service.http.post("/api/v1/chat", json=body, headers=headers)
            assert answer.status_code == 200
            found: str = answer.json()["conversation_id"]
            return found

        begun = [said(f"Number {number}") for number in range(22)]
        for number in range(15):
            said(f"Turn {number}", begun[-1])
        page.reload()
        listed = page.get_by_role("navigation").get_by_role("listitem")
        expect(listed).to_have_count(20)
        page.get_by_role("button", name="More").click()
        expect(listed).to_have_count(22)
        listed.first.get_by_role("button").first.click()
        asked = page.locator(".user")
        expect(asked.last).to_have_text("Turn 14")
        expect(asked.first).not_to_have_text("Number 21")
        page.get_by_role("button", name="Earlier messages").click()
        expect(asked.first).to_have_text("Number 21")
        expect(asked).to_have_count(16)
        expect(page.get_by_role("button", name="Earlier messages")).to_have_count(0)
        # What was read of the list stays when it is read anew.
        ask(page, "And on")
        expect(page.locator(".assistant").last).to_contain_text("You said: And on")
        expect(listed).to_have_count(22)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_refused_token_is_renewed(browser: Browser, pages: dict[str, str], name: str, service: Service) -> None:
    with page_on(browser, pages[name], service.url, statuses=(401, 404)) as page:
        expect(page.get_by_role("navigation")).to_be_visible()
        first = token_of(page)
        spoil = """() => {
          const [key, text] = Object.entries(localStorage)[0];
          const kept = JSON.parse(text);
          localStorage.setItem(key, JSON.stringify({ ...kept, token: kept.token.slice(0, -8) + "AAAAAAAA" }));
        }"""
        page.evaluate(spoil)
        page.get_by_label("File").set_input_files(picture())
        ask(page, "What is in this picture?")  # the upload is sent again
        expect(page.locator(".assistant")).to_contain_text("evening.png")
        second = token_of(page)
        assert second != first
        page.evaluate(spoil)
        page.reload()
        expect(page.locator(".error")).to_contain_text("does not exist")  # for a new visitor
        ask_when_ready(page, "Hello")
        expect(page.locator(".assistant")).to_contain_text("Hello")
        expect(page.get_by_role("listitem")).to_have_count(1)
        assert token_of(page) not in (first, second)


@pytest.mark.parametrize(
    ("names", "settings", "status"),
    [
        (("javascript", "react"), {"STORE": "off"}, 404),
        (("javascript", "vue", "ai-sdk"), {"STORE": "off", "VISITORS": "true", "WORKERS": "2"}, 503),
    ],
)
def test_without_visitors_one_still_chats(
    browser: Browser,
    built: Path,
    start: Start,
    upstream: Upstream,
    bots: dict[str, str],
    names: tuple[str, ...],
    settings: dict[str, str],
    status: int,
) -> None:
    """Also where no answer outlives its connection; then leaving the page ends it."""
    alone = start(**settings)
    for name in names:
        with (
            served_for(built, name, alone.url) as url,
            page_on(browser, url, alone.url, statuses=(status, 503)) as page,
        ):
            upstream.reset()
            ask(page, "My name is Ada.")
            ask_when_ready(page, "What did I say?")
            expect(page.locator(".assistant").last).to_contain_text("the last thing you asked was: My name is Ada.")
            expect(page.get_by_role("navigation")).to_have_count(0)
            page.reload()
            ask_when_ready(page, "Hello")
            expect(page.locator(".assistant")).to_contain_text("Hello")
            (user,) = {chat["user_id"] for chat in upstream.state()["chats"]}
            assert re.fullmatch("guest_[0-9a-z-]{16,}", user)
            page.goto(f"{url}bot={bots['for-ever']}")
            ask_when_ready(page, "Go on")
            expect(page.locator(".assistant")).to_have_text(re.compile(r"\S"))
            page.reload()
            if "WORKERS" in settings:
                wait_until(lambda: freed(upstream, bots["for-ever"]))
                ask_when_ready(page, "And on")
            expect(page.locator(".assistant")).to_have_text(re.compile(r"\S"))
            page.get_by_role("button", name="Stop").click()
            wait_until(lambda: freed(upstream, bots["for-ever"]))
            expect(page.locator(".user")).to_have_count(1)
            expect(page.locator(".error")).to_have_count(0)


@pytest.mark.parametrize("name", ["javascript", "react"])
def test_one_chats_with_a_browser_that_keeps_nothing(
    browser: Browser, pages: dict[str, str], name: str, service: Service
) -> None:
    with page_on(browser, pages[name], service.url) as page:
        keep_nothing(page)
        ask_when_ready(page, "My name is Ada.")
        ask_when_ready(page, "What did I say?")
        expect(page.locator(".assistant").last).to_contain_text("the last thing you asked was: My name is Ada.")


def ask_when_ready(page: Page, text: str) -> None:
    expect(page.get_by_role("button", name="Send")).to_be_enabled()
    ask(page, text)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_stopped_turn_keeps_its_conversation(
    browser: Browser, pages: dict[str, str], name: str, service: Service, upstream: Upstream, bots: dict[str, str]
) -> None:
    with page_on(browser, f"{pages[name]}bot={bots['for-ever']}", service.url, statuses=(429,)) as page:
        send, stop = page.get_by_role("button", name="Send"), page.get_by_role("button", name="Stop")
        expect(send).to_be_enabled()
        ask(page, "Go on")
        expect(page.locator(".assistant")).to_have_text(re.compile(r"\S"))
        expect(page.get_by_role("listitem")).to_have_count(1)
        # A second question waits, and its text is kept.
        expect(send).to_be_disabled()
        ask(page, "And then?")
        expect(page.get_by_label("Message")).to_have_value("And then?")
        assert len(chats_of(upstream)) == 1
        stop.click()
        send.click()  # even if the one that was stopped has not ended yet
        expect(page.locator(".assistant")).to_have_count(2)
        stop.click()
        wait_until(lambda: freed(upstream, bots["for-ever"]))
        expect(page.locator(".error, .waiting")).to_have_count(0)
        page.reload()
        expect(page.locator(".user")).to_have_text(["Go on", "And then?"])
        expect(send).to_be_enabled()
        expect(stop).to_be_disabled()
        assert len(set(chats_of(upstream))) == 1


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_an_answer_outlives_its_page(
    browser: Browser, pages: dict[str, str], name: str, service: Service, upstream: Upstream, bots: dict[str, str]
) -> None:
    with page_on(browser, f"{pages[name]}bot={bots['for-ever']}", service.url) as page:
        answer, stop = page.locator(".assistant"), page.get_by_role("button", name="Stop")

        def goes_on(longer: int = 0) -> int:
            """Waits for more of the one answer; returns how long it is."""
            expect(page.locator(".user")).to_have_text("Go on")
            expect(answer).to_have_count(1)
            expect(answer).to_have_text(re.compile(rf"[\s\S]{{{longer + 5}}}"))
            expect(stop).to_be_enabled()
            assert [chat["status"] for chat in upstream.state()["chats"]] == ["in_progress"]
            return len(answer.inner_text())

        ask(page, "Go on")
        length = goes_on()
        page.reload()
        length = goes_on(length)
        page.get_by_role("button", name="New chat").click()
        expect(answer).to_have_count(0)
        page.get_by_role("listitem").get_by_role("button", name="Go on").click()
        length = goes_on(length)
        page.evaluate("window.unmount()")
        expect(page.get_by_label("Message")).to_have_count(0)
        page.reload()
        goes_on(length)
        stop.click()
        wait_until(lambda: freed(upstream, bots["for-ever"]))
        expect(page.locator(".error, .waiting")).to_have_count(0)
        page.reload()
        expect(page.locator(".user")).to_have_text("Go on")
        expect(page.get_by_role("button", name="Send")).to_be_enabled()


@pytest.mark.parametrize("name", PAGES)
def test_an_answer_outlives_its_connection(
    browser: Browser, built: Path, name: str, service: Service, upstream: Upstream, seed: int
) -> None:
    """Also before it has begun, and if the page is reloaded meanwhile."""
    upstream.set(delta_seconds=0.01)
    drawn = random.Random(seed)
    cuts = [0, 200, *(drawn.randrange(200, 4000) for _ in range(3))]
    with (
        # A connection that the reload ends may not have come to its cut: the next one has it.
        Relay(service.address, lambda: cuts[relay.cuts] if relay.cuts < len(cuts) else None) as relay,
        served_for(built, name, relay.url) as url,
        page_on(browser, url, relay.url, lost=True) as page,
    ):
        text = " ".join(f"word-{number}" for number in range(150))
        ask(page, text)
        answer = page.locator(".assistant")
        expect(answer).to_contain_text("word-10")
        page.reload()
        expect(answer).to_contain_text("word-149")
        assert answer.inner_text() == f"You said: {text}"
        assert relay.cuts >= len(cuts)
        expect(page.get_by_role("button", name="Send")).to_be_enabled()
        expect(page.locator(".user, .assistant, .error, .waiting")).to_have_count(2)
    assert len(chats_of(upstream)) == 1


@pytest.mark.parametrize("name", PAGES)
def test_what_fails_can_be_tried_again(
    browser: Browser, pages: dict[str, str], name: str, service: Service, upstream: Upstream, bots: dict[str, str]
) -> None:
    with page_on(browser, f"{pages[name]}bot={bots['503-retry-after']}", service.url, statuses=(503,)) as page:
        ask(page, "Hello")
        again = page.get_by_role("button", name="Try again in")
        expect(again).to_be_disabled()
        keep_screenshot(page, f"example-{name}-wait")
        ask(page, "Meanwhile")  # waits too
        expect(page.get_by_label("Message")).to_have_value("Meanwhile")
        assert len(chats_of(upstream)) == 1
        again = page.get_by_role("button", name="Try again", exact=True)
        expect(again).to_be_enabled()
        again.dblclick()
        expect(page.get_by_role("button", name="Try again in")).to_be_disabled()
        assert len(chats_of(upstream)) == 2
        expect(page.locator(".user, .error, .assistant, .waiting")).to_have_count(2)
    # An answer that breaks off is kept until one tries again.
    with page_on(browser, f"{pages[name]}bot={bots['reset']}", service.url, locale="zh-CN") as page:
        page.get_by_label("消息").fill("Hello")
        page.get_by_role("button", name="发送").click()
        expect(page.locator(".error")).to_contain_text("回答中断了。")
        keep_screenshot(page, f"example-{name}-zh")
        before = chats_of(upstream)
        page.get_by_role("button", name="重试").click()
        wait_until(lambda: chats_of(upstream) == [*before, before[-1]])
        expect(page.locator(".error")).to_have_count(1)
        expect(page.locator(".user")).to_have_count(1)
    with page_on(browser, f"{pages[name]}bot={bots['empty-answer']}", service.url) as page:
        ask(page, "Hello")
        expect(page.locator(".error")).to_contain_text("gave no answer")
        expect(page.locator(".assistant")).to_have_count(0)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_reading_and_writing(
    browser: Browser, pages: dict[str, str], name: str, service: Service, upstream: Upstream, bots: dict[str, str]
) -> None:
    upstream.set(delta_seconds=0.005)
    with page_on(browser, pages[name], service.url) as page:
        field, log, answers = page.get_by_label("Message"), page.get_by_role("log"), page.locator(".assistant")
        expect(page.get_by_role("button", name="Send")).to_be_enabled()
        # How the bot opens, and what to begin with.
        expect(page.locator(".opening")).to_contain_text("I am the bot of the Coze sandbox")
        expect(log.get_by_role("button")).to_have_text(["Who are you?", "Help", "您是谁？", "帮助"])
        # Several lines; Enter that ends a word of an input method sends nothing.
        field.fill("one")
        field.press("Shift+Enter")
        field.press_sequentially("two")
        compose(page)
        expect(field).to_have_value("one\ntwo")
        field.press("Enter")
        expect(page.locator(".user")).to_have_text("one\ntwo")
        expect(field).to_have_value("")
        # Everything is there on a narrow screen.
        page.set_viewport_size(NARROW)
        keep_screenshot(page, f"example-{name}-narrow")
        for shown in (field, page.get_by_role("navigation"), page.locator(".user")):
            box = shown.bounding_box()
            assert box
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= NARROW["width"]
        page.set_viewport_size(WIDE)
        # What the bot suggests is asked with a click.
        log.get_by_role("button").first.click()
        expect(log).to_be_focused()
        expect(page.locator(".user")).to_have_count(2)
        expect(page.get_by_role("button", name="Send")).to_be_enabled()
        # The end stays in view, unless its reader has scrolled up.
        ask(page, "\n".join(f"line {number}" for number in range(60)))
        expect(answers.last).to_contain_text("line 59")
        page.wait_for_function(f"() => ({REST})(document.querySelector('[role=log]')) < 10")
        ask_when_ready(page, "\n".join(f"row {number}" for number in range(200)))
        expect(answers.last).to_contain_text("row 5")
        log.evaluate("log => { log.scrollTop -= 300; }")
        expect(answers.last).to_contain_text("row 199")
        assert log.evaluate(REST) > 1000
    with page_on(browser, f"{pages[name]}bot={bots['reasoning']}", service.url) as page:
        ask(page, "Hello")
        expect(page.locator(".assistant")).to_have_text(re.compile(r"\S"))
        page.get_by_text("Thinking").click()
        expect(page.locator("details p")).to_have_text(re.compile(r"\S"))


def test_react_and_vue_run_side_by_side(browser: Browser, examples: Path, service: Service, tmp_path: Path) -> None:
    """On the servers that one develops with, where React mounts all twice. In one cache they spoil each other."""
    pages = (*FRAMEWORKS, *LIBRARIES)
    configured = ["".join(file.read_text() for file in (examples / name).glob("vite.config.*")) for name in pages]
    assert [re.findall('cacheDir: "(.*?)"', text) for text in configured] == [
        [f"../node_modules/.vite-{name}"] for name in pages
    ]
    caches = [examples / "node_modules" / f".vite-{name}" for name in FRAMEWORKS]
    for cache in caches:
        shutil.rmtree(cache, ignore_errors=True)
    with contextlib.ExitStack() as stack:
        urls = [stack.enter_context(developed(examples, name, service.url, tmp_path)) for name in FRAMEWORKS]
        for page in [stack.enter_context(page_on(browser, url, service.url)) for url in urls]:
            ask(page, "Just this")
            expect(page.locator(".assistant")).to_have_text("You said: Just this")
            page.reload()
            expect(page.locator(".assistant")).to_have_text("You said: Just this")
    assert all((cache / "deps" / "_metadata.json").is_file() for cache in caches)


@contextlib.contextmanager
def developed(examples: Path, name: str, url: str, folder: Path) -> Iterator[str]:
    """Vite's server for developing examples/`name`, for the service at `url`."""
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [node(), TESTS / "node_modules" / "vite" / "bin" / "vite.js", name, "--host", "127.0.0.1", "--port", "0"],
            cwd=examples,
            env=os.environ | {"VITE_COZE_URL": url, "NO_COLOR": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: re.search(r"http://127\.0\.0\.1:\d+/", log.read_text()) or process.poll() is not None, 60)
        (found,) = re.findall(r"http://127\.0\.0\.1:\d+/", log.read_text())
        yield found
    finally:
        process.terminate()
        process.wait(60)


def test_the_readmes_own_react_project(
    browser: Browser, pages: dict[str, str], service: Service, upstream: Upstream
) -> None:
    with page_on(browser, pages["readme"], service.url) as page:
        said, send = page.locator("p"), page.get_by_role("button", name="Ask")
        ask(page, "Hello")
        expect(said.last).to_contain_text("Hello! I am the bot of the Coze sandbox")
        # Two at once are one.
        upstream.set(delta_seconds=0.05)
        ask(page, "Just this")
        ask(page, "And this")
        expect(said.last).to_have_text(re.compile("You said: Just this\\b.* you asked was: Hello$", re.DOTALL))
        expect(send).to_be_enabled()
        page.reload()
        expect(said).to_have_count(4)
        ask(page, "What did I say?")
        expect(said.last).to_contain_text("the conversation holds 4 messages")
        expect(send).to_be_enabled()
        assert len(set(chats_of(upstream))) == 1
    # What fails is said, and what is not there any more is not looked for again.
    with page_on(browser, pages["readme"], service.url, statuses=(503, 404)) as page:
        upstream.set(fail={"/v3/chat": {"kind": "html502"}})
        ask(page, "Hello")
        expect(page.locator("p").last).to_contain_text("Error: ")
        expect(page.get_by_role("button", name="Ask")).to_be_enabled()
        upstream.set(fail={})
        page.evaluate("sessionStorage.setItem('conversation', '7000000000000000000')")
        page.reload()
        page.wait_for_function("!sessionStorage.getItem('conversation')")
        ask(page, "Hello")
        expect(page.locator("p").last).to_contain_text("Hello! I am the bot of the Coze sandbox")
