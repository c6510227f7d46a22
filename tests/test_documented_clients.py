"""The clients that the API's documentation shows work as they are: its JavaScript, its cURL commands, its Postman."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from conftest import BOT, Service, Upstream, text_of
from envelope import assert_envelope
from javascript import run_node

Json = dict[str, Any]


@pytest.fixture(scope="module")
def played(service: Service, upstream: Upstream) -> Json:
    """What the documented JavaScript got from the service."""
    upstream.reset()
    results: Json = json.loads(run_node("documented_client.mjs", service.url))
    return results


def sent_to_coze(upstream: Upstream, user: str) -> list[Json]:
    """The chats of `user` that reached Coze: their conversation, and the messages that were sent."""
    return [chat for chat in upstream.state()["chats"] if chat["user_id"] == user]


def contents(chat: Json) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in chat["messages"]]


def test_chat(played: Json) -> None:
    answer = played["chat"]
    assert answer["success"] is True
    assert answer["message"] == "Chat completed successfully"
    assert answer["conversation_id"]
    assert answer["data"]["content"].startswith("您好")
    assert (answer["data"]["bot_id"], answer["data"]["user_id"]) == (BOT, "js_chat")


def test_a_streamed_chat_arrives_whole(played: Json) -> None:
    events = played["longStream"]
    assert len(events) > 300
    assert text_of(events) == played["longChat"]["data"]["content"]
    assert text_of(events).count("🎉") == 30
    assert text_of(played["slowStream"]) == "x" * 300 * 8
    for stream in (events, played["slowStream"]):
        assert stream[-1] == {"type": "end"}
        assert [event["conversation_id"] for event in stream if event["type"] == "chat_completed"]
    assert played["parseErrors"] == []


def test_a_failure_is_an_exception(played: Json) -> None:
    assert played["refused"] == "HTTP error! status: 404"
    assert played["refusedStream"] == "HTTP error! status: 404"


@pytest.mark.parametrize(
    ("framework", "first", "second"),
    [("react", "我叫小明", "我叫什么？"), ("vue", "我住在北京", "我住在哪里？")],
)
def test_a_framework_that_sends_its_whole_history(
    played: Json, upstream: Upstream, framework: str, first: str, second: str
) -> None:
    shown = played[framework]["messages"]
    assert [message["role"] for message in shown] == ["user", "assistant"] * 2
    assert shown[1]["content"] == f"您说的是：{first}"
    # The bot knows two messages before this one: its conversation holds nothing twice.
    assert "2 条消息" in shown[3]["content"]
    assert first in shown[3]["content"]
    chats = sent_to_coze(upstream, f"js_{framework}")
    assert [contents(chat) for chat in chats] == [[("user", first)], [("user", second)]]
    assert {chat["conversation_id"] for chat in chats} == {played[framework]["conversationId"]}


def test_upload(played: Json, upstream: Upstream) -> None:
    uploaded = played["uploaded"]
    assert uploaded["success"] is True
    assert uploaded["message"] == "File uploaded successfully"
    assert (uploaded["file_name"], uploaded["bytes"]) == ("说明 notes.txt", 12)
    assert uploaded["description"] == "用户上传的文档"
    assert "description" not in played["uploadedWithoutDescription"]
    names = {upload["id"]: upload["name"] for upload in upstream.state()["uploads"]}
    assert names[uploaded["file_id"]] == "说明 notes.txt"
    assert "说明 notes.txt（12 字节" in played["aboutFile"]["data"]["content"]


def test_health_user_and_workspaces(played: Json) -> None:
    assert played["health"]["status"] == "healthy"
    assert played["user"]["data"]["user_info"].startswith("User(id='")
    assert {"id", "name", "icon_url", "role_type"} <= set(played["workspaces"]["data"][0])


def curl(folder: Path, *arguments: str) -> Json:
    command = shutil.which("curl")
    if command is None:
        pytest.skip("curl is not installed")
    done = subprocess.run(
        [command, "--silent", "--show-error", *arguments], cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    answer: Json = json.loads(done.stdout)
    return answer


CURL_CHAT = """{
         "bot_id": "7537334510896185359",
         "user_id": "test_user",
         "messages": [
             {
                 "role": "user",
                 "content": "你好，请介绍一下自己"
             }
         ]
     }"""


def test_curl(service: Service, tmp_path: Path) -> None:
    url = service.url
    (tmp_path / "test.txt").write_text("测试", encoding="utf-8")
    (tmp_path / "document.pdf").write_bytes(b"%PDF-1.7\n")
    assert curl(tmp_path, "-X", "GET", f"{url}/health")["status"] == "healthy"
    answer = curl(tmp_path, "-X", "POST", f"{url}/api/v1/chat", "-H", "Content-Type: application/json", "-d", CURL_CHAT)
    assert answer["data"]["user_id"] == "test_user"
    assert "沙盒" in answer["data"]["content"]
    upload = ("-X", "POST", f"{url}/api/v1/upload")
    answer = curl(tmp_path, *upload, "-F", "file=@test.txt", "-F", "description=测试文件")
    assert (answer["file_name"], answer["bytes"], answer["description"]) == ("test.txt", 6, "测试文件")
    form = ("-H", "Content-Type: multipart/form-data", "-F", f"file=@{tmp_path}/document.pdf")
    answer = curl(tmp_path, *upload, *form, "-F", "description=这是一个PDF文档")
    assert (answer["file_name"], answer["description"]) == ("document.pdf", "这是一个PDF文档")
    assert_envelope(curl(tmp_path, *upload, "-F", "description=测试文件"), "/api/v1/upload")
    answer = curl(tmp_path, "-X", "GET", f"{url}/api/v1/config")
    assert answer["data"]["default_bot_id"] == BOT


POSTMAN: list[Json] = [
    {
        "name": "健康检查",
        "request": {"method": "GET", "header": [], "url": {"raw": "http://host:2026/health"}},
    },
    {
        "name": "普通聊天",
        "request": {
            "method": "POST",
            "header": [{"key": "Content-Type", "value": "application/json"}],
            "body": {
                "mode": "raw",
                "raw": '{\n    "bot_id": "7537334510896185359",\n    "user_id": "test_user",\n    "messages": [\n'
                '        {\n            "role": "user",\n            "content": "你好",\n'
                '            "content_type": "text"\n        }\n    ],\n    "stream": false\n}',
            },
            "url": {"raw": "http://host:2026/api/v1/chat"},
        },
    },
]


def test_postman(service: Service) -> None:
    answers = {}
    for item in POSTMAN:
        request = item["request"]
        answer = service.http.request(
            request["method"],
            urlsplit(request["url"]["raw"]).path,
            headers={header["key"]: header["value"] for header in request["header"]},
            content=request.get("body", {}).get("raw", "").encode(),
        )
        assert answer.status_code == 200, item["name"]
        answers[item["name"]] = answer.json()
    assert answers["健康检查"]["status"] == "healthy"
    assert answers["普通聊天"]["data"]["content"].startswith("您好")
