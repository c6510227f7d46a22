"""Client generators that are not in the examples read the contract too; what they write compiles, and some runs."""

import json
import re
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from conftest import ROOT, Service
from javascript import TESTS, needs_packages, node, run_tool
from operations import OPERATIONS

pytestmark = pytest.mark.npm

STRICT = {
    "strict": True,
    "target": "ES2022",
    "lib": ["ES2022", "DOM", "DOM.Iterable"],
    "module": "ESNext",
    "moduleResolution": "bundler",
    "noEmit": True,
    "types": [],
}


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

messages = [ChatMessage(role=ChatMessageRole.USER, content="Hello")]
answer = chat.sync(client=Client(base_url=sys.argv[1]), body=ChatRequest(user_id="user123", messages=messages))
print(type(answer).__name__ + ":", answer.data.content)
"""


# Every target of openapi-generator that docs/clients.md names. Of most of them, the tests check only that a client is
# written.
TARGETS = (
    *("python", "typescript-axios", "typescript-fetch"),
    *("csharp", "dart", "go", "java", "kotlin", "php", "rust", "swift6"),
)

# Clients in these languages would refuse an answer with a field that a newer version added; Go's could not tell most of
# a stream's events apart.
TOLERANT = {"disallowAdditionalPropertiesIfNotPresent": False, "useOneOfDiscriminatorLookup": True}
OPTIONS = {"go": TOLERANT, "java": TOLERANT}


@pytest.fixture(scope="module")
def clients(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what openapi-generator makes of the contract in OpenAPI 3.0 for each of TARGETS, by one JVM."""
    folder = tmp_path_factory.mktemp("openapi-generator")
    for target in TARGETS:
        config = {
            "generatorName": target,
            "inputSpec": f"{service.url}/openapi-3.0.json",
            "outputDir": str(folder / target),
            "additionalProperties": OPTIONS.get(target, {}),
        }
        (folder / f"{target}.json").write_text(json.dumps(config))
    configs = [f"{target}.json" for target in TARGETS]
    output = run_tool(
        folder, "openapi-generator-cli", "batch", "--fail-fast", *configs, JAVA_OPTS="-XX:TieredStopAtLevel=1"
    )
    assert f"{len(TARGETS)} generators successfully" in output
    return folder


@pytest.mark.parametrize("target", TARGETS)
def test_openapi_generator_writes_a_client(clients: Path, target: str) -> None:
    text = "\n".join(
        file.read_text(encoding="utf-8") for file in (clients / target).rglob("*[cC]hat*") if file.is_file()
    )
    for name in ("ChatRequest", "ChatMessage", "ChatResponse", "ChatStreamEvent"):
        assert re.search(rf"\b{name}\b", text), name


@pytest.mark.parametrize(
    ("folder", "refusal"),
    [("go", "decoder.DisallowUnknownFields"), ("java/src/main/java", "is not defined in the `")],
)
def test_a_client_takes_what_a_newer_version_adds(clients: Path, folder: str, refusal: str) -> None:
    sources = {
        file.stem: file.read_text(encoding="utf-8") for file in (clients / folder).rglob("*.*") if file.is_file()
    }
    assert "ChatData" in sources or "model_chat_data" in sources
    assert [name for name, text in sources.items() if refusal in text and name != "utils"] == []


@pytest.mark.parametrize("file", ["go/model_chat_stream_event.go", "java/**/ChatStreamEvent.java"])
def test_a_client_tells_events_by_their_type(clients: Path, file: str) -> None:
    (source,) = clients.glob(file)
    text = source.read_text(encoding="utf-8")
    assert "discriminator value" in text
    assert "message_delta" in text


def test_the_page_of_clients_names_what_is_tested() -> None:
    page = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
    assert "--additional-properties=" + ",".join(f"{key}={json.dumps(on)}" for key, on in TOLERANT.items()) in page
    assert set(re.findall(r"`(?:\$C -g )?([a-z0-9-]+)`", page)) >= set(TARGETS)
    assert f"PyPI, {'.'.join(version('openapi-generator-cli').split('.')[:2])};" in page


def assert_talk(output: str) -> None:
    """What each of the programs below prints: an answer, a refusal with its envelope, a stored file."""
    chat, refused, uploaded = output.splitlines()
    assert chat.startswith("Hello! I am the bot of the Coze sandbox")
    assert refused == "404 The bot does not exist or belongs to another account."
    assert re.fullmatch(r"notes\.txt, 10 bytes, [0-9]+", uploaded)


def test_openapi_generator_for_python(clients: Path, service: Service) -> None:
    folder = clients / "python"
    (folder / "talk.py").write_text(PYTHON_TALK)
    run_tool(folder, sys.executable, "-m", "compileall", "-q", "openapi_client")
    assert_talk(run_tool(folder, sys.executable, "talk.py", service.url))


PYTHON_TALK = """
import sys
from openapi_client import ApiClient, ApiException, ChatApi, ChatMessage, ChatRequest, Configuration, FilesApi

client = ApiClient(Configuration(host=sys.argv[1]))
messages = [ChatMessage(role="user", content="Hello")]
print(ChatApi(client).chat(ChatRequest(user_id="user123", messages=messages)).data.content)
try:
    ChatApi(client).chat(ChatRequest(user_id="user123", bot_id="1", messages=messages))
except ApiException as error:
    print(error.status, error.data.message)
file = FilesApi(client).upload_file(("notes.txt", b"some notes"), description="My notes")
print(f"{file.file_name}, {file.bytes} bytes, {file.file_id}")
"""


@pytest.fixture(scope="module")
def typescript(clients: Path) -> Path:
    """The TypeScript clients and a program for each, through the strict compiler."""
    needs_packages("typescript", "@types/node", "axios")
    (clients / "node_modules").symlink_to(TESTS / "node_modules")
    (clients / "fetch.ts").write_text(FETCH_TALK)
    (clients / "axios.ts").write_text(AXIOS_TALK)
    options = STRICT | {"module": "NodeNext", "moduleResolution": "NodeNext", "noEmit": False, "outDir": "out"}
    options |= {"types": ["node"], "skipLibCheck": True}
    (clients / "tsconfig.json").write_text(json.dumps({"compilerOptions": options, "files": ["fetch.ts", "axios.ts"]}))
    run_tool(clients, "tsc", "-p", ".")
    return clients / "out"


@pytest.mark.parametrize("program", ["fetch.js", "axios.js"])
def test_openapi_generator_for_typescript(typescript: Path, service: Service, program: str) -> None:
    assert_talk(run_tool(typescript, node(), program, service.url))


FETCH_TALK = """
import { ChatApi, Configuration, FilesApi, ResponseError, type ChatRequest } from "./typescript-fetch";

async function main() {
  const configuration = new Configuration({ basePath: process.argv[2] });
  const chatRequest: ChatRequest = { userId: "user123", messages: [{ role: "user", content: "Hello" }] };
  const answer = await new ChatApi(configuration).chat({ chatRequest });
  console.log(answer?.data.content);
  try {
    await new ChatApi(configuration).chat({ chatRequest: { ...chatRequest, botId: "1" } });
  } catch (error) {
    if (error instanceof ResponseError) console.log(error.response.status, (await error.response.json()).message);
  }
  const file = new File(["some notes"], "notes.txt");
  const stored = await new FilesApi(configuration).uploadFile({ file, description: "My notes" });
  console.log(`${stored.fileName}, ${stored.bytes} bytes, ${stored.fileId}`);
}
main();
"""

AXIOS_TALK = """
import { isAxiosError } from "axios";
import { ChatApi, ChatMessageRoleEnum, Configuration, FilesApi, type ChatRequest } from "./typescript-axios";

async function main() {
  const configuration = new Configuration({ basePath: process.argv[2] });
  const messages = [{ role: ChatMessageRoleEnum.User, content: "Hello" }];
  const request: ChatRequest = { user_id: "user123", messages };
  const answer = await new ChatApi(configuration).chat(request);
  console.log(answer.data.data.content);
  try {
    await new ChatApi(configuration).chat({ ...request, bot_id: "1" });
  } catch (error) {
    if (isAxiosError(error)) console.log(error.response?.status, error.response?.data.message);
  }
  const file = new File(["some notes"], "notes.txt");
  const stored = (await new FilesApi(configuration).uploadFile(file, "My notes")).data;
  console.log(`${stored.file_name}, ${stored.bytes} bytes, ${stored.file_id}`);
}
main();
"""
