"""Clients made for OpenAI, unmodified, on the service's form of it. The one for Python is in test_openai.py."""

import base64
import json
import subprocess
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from browser import chromium, page_on
from conftest import Service, Upstream, wait_until
from javascript import TESTS, needs_packages, run_node, run_tool
from playground import picture
from playwright.sync_api import Page, expect
from test_examples import served

PICTURE = picture()["buffer"]
KEY = "sk-anything"


def data_url() -> str:
    return f"data:image/png;base64,{base64.b64encode(PICTURE).decode()}"


@pytest.fixture(scope="module")
def in_node(service: Service, upstream: Upstream, bots: dict[str, str]) -> dict[str, Any]:
    """What the clients for Node.js made of the service."""
    upstream.reset()
    printed = run_node(
        "openai_clients.mjs",
        f"{service.url}/openai/v1",
        json.dumps(bots),
        data_url(),
        needs="@ai-sdk/openai-compatible",
    )
    found: dict[str, Any] = json.loads(printed)
    return found


@pytest.mark.npm
def test_openai_for_node(in_node: dict[str, Any], upstream: Upstream, bots: dict[str, str]) -> None:
    assert in_node["json"].startswith("Hello! I am the bot")
    assert in_node["stream"] == in_node["json"]
    assert in_node["models"] == ["default"]
    assert in_node["conversation"]
    assert f"image.png ({len(PICTURE)} bytes, PNG image)" in in_node["picture"]
    assert in_node["aborted"]

    def freed() -> bool:
        chats = [chat for chat in upstream.state()["chats"] if chat["bot_id"] == bots["for-ever"]]
        # That of the AI SDK is the other one.
        return [(chat["cancel_calls"], chat["status"]) for chat in chats] == [(1, "canceled")] * 2

    wait_until(freed)


@pytest.mark.npm
def test_its_errors(in_node: dict[str, Any], upstream: Upstream) -> None:
    expected = {
        "code-4000": ("BadRequestError", 400, "coze_rejected"),
        "code-4016": ("RateLimitError", 429, "conversation_busy"),
        "code-4100": ("InternalServerError", 500, "coze_token_refused"),
        "code-5000": ("InternalServerError", 503, "coze_unavailable"),
        "reset": ("InternalServerError", 503, "coze_broke_off"),
        "model": ("NotFoundError", 404, "model_not_found"),
        "retried": ("InternalServerError", 503, "coze_unavailable"),
        "midway": ("APIError", None, "coze_broke_off"),
    }
    said = {
        name: (error["name"], error.get("status"), error["code"]) for name, error in in_node["errors"].items() if error
    }
    assert said == expected
    # Each question of the script once, whatever a client repeats.
    assert upstream.state(0)["requests"]["POST /v3/chat"] == 16


@pytest.mark.npm
def test_the_ai_sdk(in_node: dict[str, Any]) -> None:
    found = in_node["ai"]
    assert found["text"] == "This is the first half of an answer, and this is its second half."
    assert found["reasoning"]
    assert found["tokens"] > 0
    assert found["finish"] == "stop"
    assert "Coze broke off" in " ".join(found["failed"])
    assert "No such model" in found["refused"]


def test_langchain(service: Service, bots: dict[str, str]) -> None:
    with warnings.catch_warnings():
        # Its own.
        warnings.simplefilter("ignore")
        from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
        from langchain_openai import ChatOpenAI
        from pydantic import SecretStr

        def model(name: str) -> ChatOpenAI:
            return ChatOpenAI(
                model=name,
                base_url=f"{service.url}/openai/v1",
                api_key=SecretStr(KEY),
                max_retries=0,
                stream_usage=True,
            )

        chat = model("default")
        history = [SystemMessage("Be brief."), HumanMessage("Hello"), AIMessage("Hi."), HumanMessage("And now?")]
        answer = chat.invoke(history)
        assert answer.content
        assert answer.usage_metadata is not None
        pieces = list(chat.stream(history))
        assert "".join(str(piece.content) for piece in pieces) == answer.content
        assert any(piece.usage_metadata for piece in pieces)
        shown = HumanMessage([{"type": "text", "text": "?"}, {"type": "image_url", "image_url": {"url": data_url()}}])
        assert "image.png" in str(chat.invoke([shown]).content)
        with pytest.raises(Exception, match="Coze broke off"):
            list(model(bots["reset"]).stream("Hello"))
        with pytest.raises(Exception, match="No such model"):
            model("gpt-4o").invoke("Hello")


def test_llm(service: Service, tmp_path: Path) -> None:
    """The command line of that name, which learns of a model by a file."""
    models = [{"model_id": "coze", "model_name": "default", "api_base": f"{service.url}/openai/v1"}]
    # JSON is YAML.
    (tmp_path / "extra-openai-models.yaml").write_text(json.dumps(models))

    def llm(*arguments: str) -> str:
        done = subprocess.run(
            [Path(sysconfig.get_path("scripts")) / "llm", *arguments],
            env={"LLM_USER_PATH": str(tmp_path), "OPENAI_API_KEY": KEY, "PATH": ""},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert llm("-m", "coze", "--key", KEY, "Hello").startswith("Hello! I am the bot")
    # The second turn goes on by the history that it sends.
    assert "Hello" in llm("-c", "--key", KEY, "What did I ask before?")
    assert llm("-m", "coze", "--key", KEY, "--no-stream", "Hello").startswith("Hello! I am the bot")


@pytest.fixture(scope="module")
def page_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page of tests/openai_page, built."""
    needs_packages("vite", "@ant-design/x", "react")
    built = tmp_path_factory.mktemp("page")
    run_tool(TESTS, "vite", "build", "openai_page", "--outDir", str(built), "--logLevel", "error")
    with served(built) as url:
        yield url


@pytest.mark.npm
@pytest.mark.browser
def test_ant_design_x(page_url: str, service: Service, upstream: Upstream, bots: dict[str, str]) -> None:
    upstream.reset()

    def at(model: str) -> str:
        return f"{page_url}/?{urlencode({'service': service.url, 'model': model})}"

    def ask(page: Page, text: str) -> None:
        page.get_by_role("textbox").fill(text)
        page.keyboard.press("Enter")

    with chromium() as browser, page_on(browser, page_url, service.url, statuses=(404,)) as page:
        answers = page.locator(".ant-bubble-start .ant-bubble-content")
        page.goto(at("default"))
        ask(page, "My name is Ada.")
        expect(answers.nth(0)).to_contain_text("My name is Ada.")
        ask(page, "What did I ask before?")
        expect(answers.nth(1)).to_contain_text("Ada")
        page.goto(at(bots["reasoning"]))
        ask(page, "Hello")
        expect(page.locator(".ant-think")).to_be_visible()
        expect(answers.nth(0)).to_contain_text("and this is its second half.")
        page.goto(at(bots["for-ever"]))
        ask(page, "Hello")
        expect(answers.nth(0)).to_contain_text("1 2 3")
        page.locator(".ant-sender button").last.click()
        expect(answers.nth(0)).to_contain_text("(stopped)")
        page.goto(at("gpt-4o"))
        ask(page, "Hello")
        expect(answers.nth(0)).to_contain_text("Failed: Fetch failed with status 404")
    chats = [chat for chat in upstream.state()["chats"] if chat["bot_id"] == bots["for-ever"]]
    wait_until(lambda: upstream.state()["running"] == 0)
    assert len(chats) == 1
