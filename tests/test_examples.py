"""Every program in examples/ works as it is against the running service; the pages are built and driven in Chromium."""

import contextlib
import functools
import http.server
import json
import re
import shutil
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from browser import chromium, keep_screenshot, page_on
from conftest import ROOT, Service, Upstream, wait_until
from javascript import EVERYTHING, TESTS, needs_packages, node, read_in_every_split, run_tool
from playwright.sync_api import Browser, Page, expect
from test_playground import picture

pytestmark = [pytest.mark.browser, pytest.mark.npm]

EXAMPLES = ROOT / "examples"


@pytest.fixture(autouse=True)
def fresh(upstream: Upstream) -> None:
    upstream.reset()
    upstream.set(delta_seconds=0)


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of examples/ with its npm packages, generated and compiled as its package.json says."""
    needs_packages("vite", "vue", "react", "openapi-typescript", "openapi-fetch", "typescript")
    folder = tmp_path_factory.mktemp("project")
    shutil.copyfile(ROOT / "openapi.yaml", folder / "openapi.yaml")
    copy = Path(shutil.copytree(EXAMPLES, folder / "examples", ignore=shutil.ignore_patterns("node_modules", "dist")))
    (copy / "node_modules").symlink_to(TESTS / "node_modules")
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
    assert "你好！我是扣子沙盒里的智能体" in output


def test_python(service: Service) -> None:
    assert_talk(run_tool(EXAMPLES, sys.executable, "python/chat.py", service.url))


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


@pytest.mark.parametrize("module", ["javascript/coze-api.js", "typescript/client.ts"])
def test_the_readers_survive_every_split(examples: Path, module: str) -> None:
    read_in_every_split(examples / module)


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


@pytest.fixture(scope="module")
def pages(examples: Path, service: Service) -> Iterator[dict[str, str]]:
    """Where each page is served, built with Vite if it needs that. The plain one is told the service in its address."""
    with contextlib.ExitStack() as stack:
        found = {"javascript": stack.enter_context(served(examples / "javascript")) + f"/?api={service.url}&"}
        write_readme_project(examples, service.url)
        for name in ("react", "vue", "readme"):
            run_tool(examples, "vite", "build", name, "--logLevel", "warn", VITE_COZE_URL=service.url)
            found[name] = stack.enter_context(served(examples / name / "dist")) + "/?"
        yield found


def write_readme_project(examples: Path, url: str) -> None:
    """The React project that the README leads to: what Vite's own template gives, and what the README says."""
    source = examples / "readme" / "src"
    source.mkdir(parents=True)
    for name in ("client.ts", "coze-api.ts"):
        shutil.copyfile(examples / "typescript" / name, source / name)
    shutil.copyfile(examples / "react" / "index.html", source.parent / "index.html")
    shutil.copyfile(examples / "react" / "tsconfig.json", source.parent / "tsconfig.json")
    shutil.copyfile(examples / "react" / "vite.config.ts", source.parent / "vite.config.ts")
    main = (examples / "react" / "src" / "main.tsx").read_text()
    (source / "main.tsx").write_text(main.replace("{ Chat }", "Chat").replace("./Chat.tsx", "./App.tsx"))
    (block,) = re.findall(
        r"^```tsx\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert "http://127.0.0.1:2026" in block
    (source / "App.tsx").write_text(block.replace("http://127.0.0.1:2026", url), encoding="utf-8")
    run_tool(examples, "tsc", "-p", "readme")


def ask(page: Page, text: str) -> None:
    page.get_by_label("Message").fill(text)
    page.get_by_label("Message").press("Enter")


@pytest.mark.parametrize("name", ["javascript", "react", "vue"])
def test_a_page(
    browser: Browser, pages: dict[str, str], name: str, service: Service, upstream: Upstream, bots: dict[str, str]
) -> None:
    with page_on(browser, pages[name], service.url) as page:
        answers = page.locator(".assistant")
        ask(page, "My name is Ada.")
        expect(answers).to_have_text("You said: My name is Ada.")
        # The second turn is in the same conversation, and Coze is not sent the first again.
        ask(page, "What did I say?")
        expect(answers.last).to_contain_text("the conversation holds 2 messages; the last thing you asked was: My name")
        # A picture, and a question about it.
        page.get_by_label("File").set_input_files(picture())
        ask(page, "What is in this picture?")
        expect(answers.last).to_contain_text("evening.png")
        expect(answers.last).to_contain_text("You said: What is in this picture?")
        expect(page.locator(".user").last).to_have_text("What is in this picture? (evening.png)")
        if name == "react":
            sent = page.locator(".user img")
            expect(sent).to_have_attribute("src", re.compile(re.escape(service.url) + r"/api/v1/files/"))
            page.wait_for_function("image => image.naturalWidth == 240", arg=sent.element_handle())
        assert len({chat["conversation_id"] for chat in upstream.state()["chats"]}) == 1
        keep_screenshot(page, f"example-{name}")
    with page_on(browser, f"{pages[name]}bot={bots['for-ever']}", service.url) as page:
        ask(page, "Go on")
        answer = page.locator(".assistant")
        expect(answer).to_have_text(re.compile(r"\S"))
        before = len(answer.inner_text())
        expect(answer).to_have_text(re.compile(f".{{{before + 5}}}"))  # it grows as one watches
        page.get_by_role("button", name="Stop").click()
        expect(page.get_by_role("button", name="Stop")).to_be_disabled()
        wait_until(lambda: freed(upstream, bots["for-ever"]))
        assert page.locator(".error").count() == 0
    with page_on(browser, f"{pages[name]}bot={bots['code-4015']}", service.url, statuses=(400,)) as page:
        ask(page, "Hello")
        expect(page.locator(".error")).to_contain_text("published")
        expect(page.get_by_role("button", name="Send")).to_be_enabled()


def test_the_readmes_own_react_project(browser: Browser, pages: dict[str, str], service: Service) -> None:
    with page_on(browser, pages["readme"], service.url) as page:
        ask(page, "Hello")
        expect(page.locator("p")).to_contain_text("Hello! I am the bot of the Coze sandbox")
        ask(page, "Just this")
        expect(page.locator("p")).to_contain_text("You said: Just this")
