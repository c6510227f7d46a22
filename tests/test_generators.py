"""Client generators that are not in the examples read the contract too, and what they write compiles."""

import json
import sys
from pathlib import Path

import pytest
from conftest import ROOT, Service
from javascript import TESTS, needs_packages, run_tool

STRICT = {
    "strict": True,
    "target": "ES2022",
    "lib": ["ES2022", "DOM", "DOM.Iterable"],
    "module": "ESNext",
    "moduleResolution": "bundler",
    "noEmit": True,
    "types": [],
}
OPERATIONS = (
    "getRoot",
    "getHealth",
    "chat",
    "uploadFile",
    "getFile",
    "getUserInfo",
    "listWorkspaces",
    "getConfig",
    "testConnection",
)


def compiled(folder: Path, source: str) -> str:
    """The generated TypeScript in `source`, if it passes the strict compiler."""
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": STRICT, "include": [source]}))
    run_tool(folder, "tsc", "-p", ".")
    text = "\n".join(file.read_text(encoding="utf-8") for file in (folder / source).rglob("*.ts"))
    for operation in OPERATIONS:
        assert f"export const {operation} =" in text, operation
    return text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    needs_packages("typescript", "@hey-api/openapi-ts", "orval")
    (tmp_path / "node_modules").symlink_to(TESTS / "node_modules")
    return tmp_path


def test_hey_api(folder: Path) -> None:
    run_tool(
        folder,
        "openapi-ts",
        "-i",
        str(ROOT / "openapi.yaml"),
        "-o",
        "client",
        "-c",
        "@hey-api/client-fetch",
        "--no-log-file",
    )
    text = compiled(folder, "client")
    assert "export type ChatStreamEvent =" in text
    assert "type: 'message_delta'" in text


def test_orval(folder: Path) -> None:
    run_tool(folder, "orval", "--input", str(ROOT / "openapi.yaml"), "--output", "client/api.ts", "--client", "fetch")
    text = compiled(folder, "client")
    assert "export type ChatStreamEvent =" in text


def test_openapi_python_client(tmp_path: Path, service: Service) -> None:
    command = ("openapi-python-client", "generate", "--fail-on-warning", "--meta", "none")
    run_tool(tmp_path, *command, "--path", str(ROOT / "openapi.yaml"), "--output-path", "coze_client")
    # What is made of the contract is strictly typed; the generator's own client.py is not.
    checked = ("--strict", "--follow-imports", "silent", "coze_client/api", "coze_client/models")
    run_tool(tmp_path, sys.executable, "-m", "mypy", "--cache-dir", "cache", *checked)
    (tmp_path / "chat.py").write_text(PYTHON_CHAT)
    assert run_tool(tmp_path, sys.executable, "chat.py", service.url).startswith("ChatResponse: Hello! I am")


PYTHON_CHAT = """
import sys
from coze_client import Client
from coze_client.api.chat import chat
from coze_client.models import ChatMessage, ChatMessageRole, ChatRequest

pytestmark = pytest.mark.npm

messages = [ChatMessage(role=ChatMessageRole.USER, content="Hello")]
answer = chat.sync(client=Client(base_url=sys.argv[1]), body=ChatRequest(user_id="user123", messages=messages))
print(type(answer).__name__ + ":", answer.data.content)
"""
