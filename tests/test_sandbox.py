"""The sandbox speaks Coze's wire: chats, files, tokens, and the bots that fail."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
from conftest import http
from coze_wire import (
    HEADERS,
    PATIENCE,
    PNG,
    TOKEN,
    body,
    bot,
    chat,
    code_of,
    events,
    fresh_client,
    objects,
    open_chat,
    said,
    seen,
    text_of,
    until,
)
from joserfc import jwt
from joserfc.jwk import RSAKey

from service.contract import contract
from service.sandbox import DEFAULT_BOT_ID, asks, running
from service.sandbox.bots import BOTS
from service.sandbox.files import LISTED
from service.sandbox.settings import BadSettingError, Settings, from_environment

Json = dict[str, Any]

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def cloud() -> Iterator[str]:
    with running(delta_seconds=0) as url:
        yield url


@pytest.fixture(scope="module")
def studio_url() -> Iterator[str]:
    with running(delta_seconds=0, flavour="studio") as url:
        yield url


@pytest.fixture
def client(cloud: str) -> Iterator[httpx.Client]:
    with fresh_client(cloud) as client:
        yield client


@pytest.fixture
def studio(studio_url: str) -> Iterator[httpx.Client]:
    with fresh_client(studio_url) as client:
        yield client


# --- the command


def start(*arguments: str, **variables: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PORT": "0", **variables}
    command = [sys.executable, "-m", "service.sandbox", *arguments]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_command_serves_until_a_signal_also_with_a_stream_open(number: signal.Signals) -> None:
    process = start()
    assert process.stdout is not None
    url = next(word for word in process.stdout.readline().split() if word.startswith("http://127.0.0.1:"))
    while DEFAULT_BOT_ID not in process.stdout.readline():
        assert process.poll() is None
    with httpx.Client(base_url=url, headers=HEADERS, timeout=PATIENCE) as client:
        assert client.get("/v1/users/me").json()["code"] == 0
        with open_chat(client, bot("0203")):
            process.send_signal(number)
            output, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (0, "")
    assert TOKEN not in output


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("SANDBOX_DELTA_SECONDS", "soon"),
        ("SANDBOX_DELTA_SECONDS", "nan"),
        ("SANDBOX_FLAVOUR", "desktop"),
    ],
)
def test_bad_setting_is_told_by_name(name: str, value: str) -> None:
    with pytest.raises(BadSettingError, match=f"^{name} takes "):
        from_environment({name: value})


def test_empty_variables_mean_the_defaults() -> None:
    variables = {"HOST": "", "PORT": "", "SANDBOX_DELTA_SECONDS": "", "SANDBOX_FLAVOUR": ""}
    assert from_environment(variables) == from_environment({}) == Settings("127.0.0.1", 2027, 0.05, "cloud")


def test_its_help_names_its_variables() -> None:
    process = start("--help")
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    for variable in ("HOST (127.0.0.1)", "PORT (2027)", "SANDBOX_FLAVOUR", "SANDBOX_DELTA_SECONDS (0.05)"):
        assert variable in " ".join(output.split())


def test_bad_setting_ends_the_start_with_one_line() -> None:
    process = start(SANDBOX_DELTA_SECONDS="soon")
    output, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, output) == (2, "")
    assert errors == "sandbox: SANDBOX_DELTA_SECONDS takes seconds from 0 (no pause) to 60\n"


def test_a_port_in_use_is_one_line_too(cloud: str) -> None:
    process = start(PORT=cloud.rpartition(":")[2])
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert errors.startswith("sandbox: cannot listen")
    assert errors.count("\n") == 1


def test_running_raises_where_it_can_not_listen(cloud: str) -> None:
    with pytest.raises(OSError), running(port=int(cloud.rpartition(":")[2])):
        pass


# --- every request


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer x", "Bearer czs_x", "pat_x", "Basic pat_x"])
def test_a_bad_token_is_401_with_4100(cloud: str, header: str | None) -> None:
    answer = http.get(f"{cloud}/v1/users/me", headers={} if header is None else {"Authorization": header})
    assert (answer.status_code, code_of(answer)) == (401, 4100)
    assert answer.json()["detail"]["logid"] == answer.headers["x-tt-logid"]


@pytest.mark.parametrize("token", ["pat_a", "sat_a"])
def test_tokens_that_look_like_tokens_are_good(cloud: str, token: str) -> None:
    answer = http.get(f"{cloud}/v1/users/me", headers={"Authorization": f"Bearer {token}"})
    assert answer.json()["data"].keys() == {"user_id", "user_name", "nick_name", "avatar_url"}


def test_a_token_without_rights_gets_4101(cloud: str) -> None:
    answer = http.get(f"{cloud}/v1/users/me", headers={"Authorization": "Bearer pat_forbidden_1"})
    assert (answer.status_code, code_of(answer)) == (200, 4101)


def test_unknown_paths_and_methods_are_json_with_a_logid(client: httpx.Client) -> None:
    for answer, status in ((client.get("/v1/nothing"), 404), (client.delete("/v3/chat"), 405)):
        assert (answer.status_code, code_of(answer)) == (status, status)
        assert answer.json()["detail"]["logid"] == answer.headers["x-tt-logid"]
    assert client.delete("/v3/chat").headers["allow"] == "POST"


# --- chat


def test_a_stream_has_coze_s_events_in_coze_s_order(client: httpx.Client) -> None:
    stream = chat(client, "who are you?")
    names = [name.removeprefix("conversation.") for name, _ in stream]
    deltas = names.count("message.delta")
    assert deltas > 10
    assert names == [
        "chat.created",
        "chat.in_progress",
        *["message.delta"] * deltas,
        "message.completed",
        *["message.completed"] * 4,
        "chat.completed",
        "done",
    ]
    data = [data for _, data in stream]
    assert [data[0]["status"], data[1]["status"], data[-2]["status"]] == ["created", "in_progress", "completed"]
    assert {message["id"] for message in data[2 : 3 + deltas]} == {data[2]["id"]}
    assert data[2 + deltas]["content"] == text_of(stream)
    assert [message["type"] for message in data[2 + deltas : -2]] == ["answer", "verbose", *["follow_up"] * 3]
    assert json.loads(data[3 + deltas]["content"])["msg_type"] == "generate_answer_finish"
    usage = data[-2]["usage"]
    assert usage["token_count"] == usage["input_count"] + usage["output_count"]
    assert usage["output_count"] >= deltas / 2
    assert data[-1] == "[DONE]"


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Hello!", "the bot of the Coze sandbox"),
        ("请介绍一下你自己", "扣子沙盒里的智能体"),
        ("您好", "您好！我是扣子沙盒里的智能体"),
        ("The sky is blue.", "You said: The sky is blue."),
        ("天空是蓝色的", "您说的是：天空是蓝色的"),
        ("help", '"help all" for all'),
        ("帮助", "- failure: 开始后失败的事件流"),
        ("帮助 http", f"`{bot('0103')}` 502-html"),
    ],
)
def test_the_bot_answers_in_the_language_it_is_asked_in(client: httpx.Client, question: str, answer: str) -> None:
    said = text_of(chat(client, question))
    assert answer in said
    assert "你" not in said  # Chinese texts are polite


def test_the_bot_remembers_its_conversation(client: httpx.Client) -> None:
    conversation_id = chat(client, "My cat is called Tom")[0][1]["conversation_id"]
    second = text_of(chat(client, "What did I ask before?", conversation_id=conversation_id))
    assert "holds 2 messages" in second
    assert "My cat is called Tom" in second
    assert "first message" in text_of(chat(client, "What did I ask before?"))


def test_without_saved_history_nothing_is_kept(client: httpx.Client) -> None:
    conversation_id = chat(client)[0][1]["conversation_id"]
    params = {"conversation_id": conversation_id}
    answer = client.post("/v3/chat", params=params, json=body("a secret", auto_save_history=False))
    chat_id = events(answer.content)[0][1]["id"]
    assert code_of(client.get("/v3/chat/retrieve", params={**params, "chat_id": chat_id})) == 4001
    assert "secret" not in text_of(chat(client, "What did I ask before?", conversation_id=conversation_id))


def test_a_chat_without_a_stream_is_polled(client: httpx.Client) -> None:
    answer = client.post("/v3/chat", json=body("天空", stream=False)).json()
    assert answer["data"]["status"] == "in_progress"
    ids = {"conversation_id": answer["data"]["conversation_id"], "chat_id": answer["data"]["id"]}

    def completed() -> Any:
        found = client.post("/v3/chat/retrieve", params=ids).json()["data"]
        return found if found["status"] == "completed" else None

    assert until(completed) == client.get("/v3/chat/retrieve", params=ids).json()["data"]
    messages = client.get("/v3/chat/message/list", params=ids).json()["data"]
    assert [message["type"] for message in messages] == ["verbose", "answer", *["follow_up"] * 3]
    assert messages[1]["content"] == "您说的是：天空"
    assert code_of(client.post("/v3/chat/cancel", json=ids)) == 4104


def test_a_failed_chat_lists_no_data(client: httpx.Client) -> None:
    data = client.post("/v3/chat", json=body("", bot("0322"), stream=False)).json()["data"]
    ids = {"conversation_id": data["conversation_id"], "chat_id": data["id"]}
    until(lambda: client.get("/v3/chat/retrieve", params=ids).json()["data"]["status"] == "failed")
    assert client.get("/v3/chat/retrieve", params=ids).json()["data"]["last_error"]["code"] == 4028
    listed = client.get("/v3/chat/message/list", params=ids).json()
    assert listed["code"] == 0
    assert "data" not in listed


PART = json.dumps([{"type": "text", "text": "see"}, {"type": "file", "file_url": "https://example.com/a.pdf"}])
FILE = json.dumps([{"type": "file", "file_url": "https://example.com/a.pdf"}])


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"bot_id": None}, 4000),
        ({"bot_id": 1}, 4000),
        ({"bot_id": "1"}, 4006),
        ({"user_id": ""}, 4000),
        ({"stream": "true"}, 4000),
        ({"stream": False, "auto_save_history": False}, 4007),
        ({"additional_messages": None}, 4000),
        ({"additional_messages": {}}, 4000),
        ({"additional_messages": said(*["x"] * 101)}, 4004),
        ({"additional_messages": ["x"]}, 4000),
        ({"additional_messages": [{"role": "system", "content": "x"}]}, 4000),
        ({"additional_messages": [{"role": "user", "content": "x", "content_type": "card"}]}, 4000),
        ({"additional_messages": [{"role": "user", "content": None}]}, 4000),
        ({"additional_messages": [{"role": "user", "content": "x", "type": "verbose"}]}, 4000),
        ({"additional_messages": [{"role": "assistant", "content": "x", "type": "question"}]}, 4000),
        ({"additional_messages": [{"role": "user", "content": "x", "type": "tool_output"}]}, 4000),
        ({"additional_messages": [{"role": "assistant", "content": "x"}]}, 4000),
        ({"additional_messages": [objects("no json")]}, 4000),
        ({"additional_messages": [objects("{}")]}, 4000),
        ({"additional_messages": [objects("[]")]}, 4000),
        ({"additional_messages": [objects("[1]")]}, 4000),
        ({"additional_messages": [objects('[{"type":"text","text":"alone"}]')]}, 4000),
        ({"additional_messages": [objects('[{"type":"image"}]')]}, 4000),
        ({"additional_messages": [objects('[{"type":"hologram","file_url":"x"}]')]}, 4000),
        ({"additional_messages": [objects('[{"type":"file","file_id":"7"}]'), *said("x")]}, 4000),
        ({"additional_messages": [objects(FILE)]}, 4000),
        ({"meta_data": {str(n): "x" for n in range(17)}}, 4003),
        ({"meta_data": {"k": "x" * 513}}, 4003),
        ({"meta_data": {"k": 1}}, 4000),
        ({"meta_data": {"k": ""}}, 4003),
        ({"meta_data": {"k" * 65: "x"}}, 4003),
        ({"meta_data": []}, 4000),
        ({"custom_variables": {"a b": "x"}}, 4000),
        ({"custom_variables": {"a": 1}}, 4000),
        ({"extra_params": {"altitude": "1"}}, 4000),
        ({"parameters": "{}"}, 4000),
        ({"parameters": []}, 4000),
        ({"publish_status": "unpublished_draft", "bot_version": "1"}, 4000),
    ],
)
def test_a_bad_request_gets_coze_s_code(client: httpx.Client, change: Json, code: int) -> None:
    answer = client.post("/v3/chat", json=body() | change)
    assert (answer.status_code, code_of(answer)) == (200, code)


@pytest.mark.parametrize(
    "change",
    [
        {"additional_messages": [objects(PART)]},
        {"additional_messages": [objects(FILE), *said("what is it?")]},
        {"additional_messages": [*said("what are they?"), objects(FILE), objects(FILE)]},
        {"additional_messages": [*said("what?"), objects('[{"type":"file","file_url":"http://[x/y?z"}]')]},
        {"additional_messages": said(*["x"] * 100)},
        {"additional_messages": [{**said("x")[0], "type": None, "meta_data": None, "id": None, "chat_id": None}]},
        {"meta_data": None, "custom_variables": None, "auto_save_history": None, "parameters": None},
        {"auto_save_history": False, "additional_messages": [{**said("x")[0], "type": "tool_output"}]},
    ],
)
def test_what_coze_takes_is_taken(client: httpx.Client, change: Json) -> None:
    stream = events(client.post("/v3/chat", json=body() | change).content)
    assert stream[-1] == ("done", "[DONE]")


def test_bodies_that_are_no_json_objects_are_4000(client: httpx.Client) -> None:
    for raw in (b"", b"x", b"[]", b"\xff", b"[" * 100_000):
        assert code_of(client.post("/v3/chat", content=raw)) == 4000


def test_a_lone_surrogate_does_no_harm(client: httpx.Client) -> None:
    raw = json.dumps(body("half \ud83d of it")).encode()
    assert "half ? of it" in text_of(events(client.post("/v3/chat", content=raw).content))
    assert client.get("/sandbox/state").status_code == 200


def test_unknown_ids_are_refused(client: httpx.Client) -> None:
    ids = {"conversation_id": "1", "chat_id": "2"}
    assert code_of(client.post("/v3/chat", params=ids, json=body())) == 4002
    assert code_of(client.get("/v3/chat/retrieve", params=ids)) == 4001
    assert code_of(client.get("/v3/chat/message/list", params=ids)) == 4001
    assert code_of(client.post("/v3/chat/cancel", json=ids)) == 4001
    assert code_of(client.get("/v1/conversation/retrieve", params=ids)) == 4002
    assert code_of(client.get("/v1/files/retrieve", params={"file_id": "1"})) == 4200
    assert code_of(client.get("/v1/bots/1")) == 4006


# --- one chat at a time in a conversation


def test_a_conversation_has_one_chat_at_a_time(client: httpx.Client) -> None:
    with open_chat(client, bot("0203")) as running_chat:
        params = {"conversation_id": running_chat["conversation_id"]}
        busy = events(client.post("/v3/chat", params=params, json=body()).content)
        assert [name for name, _ in busy] == ["error", "done"]
        assert busy[0][1]["code"] == 4016
        assert code_of(client.post("/v3/chat", params=params, json=body(stream=False))) == 4016
    chat_id = running_chat["id"]
    until(lambda: seen(client, chat_id)["client_left"])
    assert code_of(client.post("/v3/chat", params=params, json=body(stream=False))) == 4016, "freed by leaving"

    canceled = client.post("/v3/chat/cancel", json={**params, "chat_id": chat_id}).json()
    assert canceled["data"]["status"] == "canceled"
    assert chat(client, "and now?", conversation_id=params["conversation_id"])[-1][0] == "done"
    state = seen(client, chat_id)
    assert (state["status"], state["cancel_calls"], state["streaming"]) == ("canceled", 1, True)
    assert isinstance(state["left_after_s"], float)


def test_a_chat_runs_on_when_its_client_has_left(client: httpx.Client) -> None:
    # So much waits for its reader, however long that one takes to leave.
    with open_chat(client, bot("0604"), "n=50 d=0 size=200000") as running_chat:
        pass
    ids = {"conversation_id": running_chat["conversation_id"], "chat_id": running_chat["id"]}
    until(lambda: client.get("/v3/chat/retrieve", params=ids).json()["data"]["status"] == "completed")
    assert seen(client, ids["chat_id"])["client_left"] is True
    answer = client.get("/v3/chat/message/list", params=ids).json()["data"][1]
    assert answer["content"] == "x" * 10_000_000
    state = client.get("/sandbox/state").json()
    assert (state["streams"], state["running"]) == (0, 0)


def test_cancel_flips_the_state_and_leaves_the_stream_alone(client: httpx.Client) -> None:
    with client.stream("POST", "/v3/chat", json=body("n=50 d=0 size=200000", bot("0604"))) as answer:
        # So much waits for its reader, however long that one takes to cancel it.
        raw = answer.iter_raw()
        first = next(raw)
        created = json.loads(first.split(b"\n")[1][5:])
        ids = {"conversation_id": created["conversation_id"], "chat_id": created["id"]}
        assert client.post("/v3/chat/cancel", json=ids).json()["data"]["status"] == "canceled"
        stream = events(first + b"".join(raw))
    assert len(text_of(stream)) == 10_000_000
    assert stream[-1] == ("done", "[DONE]")
    assert client.get("/v3/chat/retrieve", params=ids).json()["data"]["status"] == "canceled"
    assert "first message" in text_of(chat(client, "do you remember?", conversation_id=ids["conversation_id"]))


# --- files


def test_an_uploaded_file_is_described(client: httpx.Client) -> None:
    answer = client.post("/v1/files/upload", files={"file": ("照片.png", PNG, "image/png")}).json()
    uploaded = answer["data"]
    assert (uploaded["bytes"], uploaded["file_name"]) == (108, "照片.png")
    assert client.get("/v1/files/retrieve", params={"file_id": uploaded["id"]}).json()["data"] == uploaded
    part = {"type": "image", "file_id": uploaded["id"]}
    content = json.dumps([{"type": "text", "text": "what is it?"}, part])
    stream = events(client.post("/v3/chat", json=body(additional_messages=[objects(content)])).content)
    assert "照片.png (108 bytes, PNG image)" in text_of(stream)
    messages = [*said("这是什么？"), objects(json.dumps([part]))]
    stream = events(client.post("/v3/chat", json=body(additional_messages=messages)).content)
    assert "照片.png（108 字节，PNG image）" in text_of(stream)
    assert "您说的是：这是什么？" in text_of(stream)
    upload = client.get("/sandbox/state").json()["uploads"][0]
    assert upload["sha256"] == hashlib.sha256(PNG).hexdigest()
    assert upload["content_type"] == "image/png"


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ([("file", ("a.png", b""))], 4300),
        ([("data", ("a.png", PNG))], 4300),
        ([("file", ("a.png", PNG)), ("file", ("b.png", PNG))], 4301),
        ([("file", ("a.exe", b"MZ"))], 4303),
        ([("file", ("upload", b"x"))], 0),
        ([("file", ("a.png", b"\xff\xd8\xff\xe0"))], 4000),
        ([("file", ("a.jpg", PNG))], 4000),
        ([("file", ("a.gif", b"x"))], 4000),
        ([("file", ("a.pdf", b"x"))], 4000),
        ([("file", ("a.webp", b"RIFF0000WAVE"))], 4000),
        ([("file", ("a.zip", b"x"))], 4000),
        ([("file", ("a.PDF", b"%PDF-1.7"))], 0),
        ([("file", ("a.webp", b"RIFF0000WEBP"))], 0),
        ([("file", ("a.txt", b"text"))], 0),
    ],
)
def test_uploads_are_checked(client: httpx.Client, files: Any, code: int) -> None:
    assert code_of(client.post("/v1/files/upload", files=files)) == code


def test_uploads_that_are_no_forms_are_4000(client: httpx.Client) -> None:
    broken = {"Content-Type": "multipart/form-data; boundary=x"}
    assert code_of(client.post("/v1/files/upload", json={})) == 4000
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n'
    for raw in (b"--y\r\n", part, part + b"\r\n" + PNG, part + b"A: " + b"b" * 100_000, b"--x\r\nnonsense\r\n\r\n"):
        assert code_of(client.post("/v1/files/upload", content=raw, headers=broken)) in (4000, 4300), raw[:60]
    assert (
        code_of(client.post("/v1/files/upload", content=b"", headers={"Content-Type": "multipart/form-data"})) == 4000
    )
    assert code_of(client.post("/v1/files/upload", files={"note": (None, "no file at all")})) == 4300


# --- account


def test_workspaces_are_paged(client: httpx.Client) -> None:
    client.post("/sandbox/settings", json={"workspaces": 120})
    sizes, ids = [], set()
    for number in (1, 2, 3, 4):
        data = client.get("/v1/workspaces", params={"page_num": number, "page_size": 50}).json()["data"]
        assert data["total_count"] == 120
        sizes.append(len(data["workspaces"]))
        ids |= {row["id"] for row in data["workspaces"]}
    assert (sizes, len(ids)) == ([50, 50, 20, 0], 120)
    for bad in ({"page_size": 51}, {"page_size": 0}, {"page_num": 0}, {"page_num": "x"}):
        assert code_of(client.get("/v1/workspaces", params=bad)) == 4000
    client.post("/sandbox/settings", json={"workspaces": 1, "odd_workspace": True})
    rows = client.get("/v1/workspaces").json()["data"]["workspaces"]
    assert rows[1]["name"] is None


# --- the bots that fail


def test_the_table_of_bots_is_sound(cloud: str) -> None:
    rows = http.get(f"{cloud}/sandbox/bots").json()
    assert {row["id"] for row in rows} == set(BOTS)
    assert len({row["name"] for row in rows}) == len(rows) > 100
    assert all(len(row["id"]) == 19 and row["what"] for row in rows)


@pytest.mark.parametrize("bot_id", [found.id for found in BOTS.values() if found.group == "code"])
def test_code_bots_give_their_code(client: httpx.Client, bot_id: str) -> None:
    for stream in (True, False):
        answer = client.post("/v3/chat", json=body(bot_id=bot_id, stream=stream))
        assert answer.headers["content-type"] == "application/json"
        assert code_of(answer) == int(bot_id[15:])
        assert answer.json()["msg"]


@pytest.mark.parametrize(
    ("number", "status", "content_type", "start"),
    [
        ("0101", 401, "application/json", b'{"code":4101,'),
        ("0102", 500, "application/json", b'{"message":'),
        ("0103", 502, "text/html", b"<html>"),
        ("0104", 504, None, b""),
        ("0105", 200, None, b""),
        ("0106", 200, "application/json", b'{"code":0,'),
        ("0107", 200, "text/event-stream", b'{"code":4000,'),
        ("0108", 200, "text/html", b"<html>"),
        ("0109", 429, "application/json", b"{"),
        ("0110", 429, "application/json", b"{"),
        ("0111", 200, "application/json", b'{"code":4000}'),
        ("0119", 302, None, b""),
    ],
)
def test_http_bots(client: httpx.Client, number: str, status: int, content_type: str | None, start: bytes) -> None:
    answer = client.post("/v3/chat", json=body(bot_id=bot(number)))
    assert (answer.status_code, answer.headers.get("content-type")) == (status, content_type)
    assert answer.content.startswith(start)
    assert ("retry-after" in answer.headers) == (number == "0109")
    assert "x-tt-logid" in answer.headers


@pytest.mark.parametrize("number", ["0208", "0209", "0210"])
def test_connections_that_die(client: httpx.Client, number: str) -> None:
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        client.post("/v3/chat", json=body(bot_id=bot(number)))
    state = client.get("/sandbox/state").json()["chats"][-1]
    assert (state["client_left"], state["status"]) == (False, "completed")


@pytest.mark.parametrize("number", ["0201", "0202", "0203", "0216"])
def test_bots_that_hang_are_left(client: httpx.Client, number: str) -> None:
    with pytest.raises(httpx.ReadTimeout):
        client.post("/v3/chat", json=body(bot_id=bot(number)), timeout=0.2)
    until(lambda: client.get("/sandbox/state").json()["chats"][-1]["client_left"])


@pytest.mark.parametrize("number", ["0204", "0205", "0206", "0207"])
def test_slow_bots_answer_all_the_same(client: httpx.Client, number: str) -> None:
    stream = chat(client, "pause=0.1", bot(number))
    assert stream[-2][0] == "conversation.chat.completed"


@pytest.mark.parametrize(
    ("number", "names"),
    [
        ("0211", ["chat.created", "chat.in_progress"]),
        ("0301", ["error", "done"]),
        ("0302", ["error", "done"]),
        ("0311", ["chat.created", "chat.in_progress", "message.delta", "error", "done"]),
        ("0321", ["chat.created", "chat.in_progress", "chat.failed", "done"]),
        ("0322", ["chat.created", "chat.in_progress", "message.delta", "chat.failed", "done"]),
        ("0323", ["chat.created", "chat.in_progress", "chat.failed", "done"]),
        ("0327", ["chat.failed", "done"]),
        ("0331", ["chat.created", "chat.in_progress", "chat.requires_action", "done"]),
        (
            "0329",
            ["chat.created", "chat.in_progress", "message.delta", "chat.completed", "done"],
        ),
        ("0407", ["chat.created", "chat.in_progress", "message.completed", "chat.completed", "done"]),
    ],
)
def test_streams_that_fail(client: httpx.Client, number: str, names: list[str]) -> None:
    found = [name.removeprefix("conversation.") for name, _ in chat(client, bot_id=bot(number))]
    assert list(dict.fromkeys(found)) == names


def test_every_stream_of_odd_content_ends_well(client: httpx.Client) -> None:
    for found in BOTS.values():
        if found.group == "content":
            stream = chat(client, bot_id=found.id)
            assert stream[-1][0] == "done", found.name
            assert any(name == "conversation.chat.completed" for name, _ in stream), found.name


@pytest.mark.parametrize(
    ("number", "piece"),
    [
        ("0501", "\u2028paragraph\u2029next\u0085".encode()),
        ("0502", b"\n: ping\nevent:"),
        ("0503", b"\r\n\r\nevent:"),
        ("0504", b"\r\revent:"),
        ("0505", b",\ndata:"),
        ("0506", b"id:7\nretry:3000\nevent:"),
        ("0507", b"\xef\xbb\xbfevent:"),
        ("0508", b"event: conversation.chat.created\ndata: {"),
        ("0516", b"\xff\xfe"),
        ("0801", b'"content":"\x9f\x98"'),
        ("0802", rb'"content":"\ude00!"'),
        ("0803", b'"content":"a\xffb"'),
        ("0804", rb'"content":"\ud83d"'),
        ("0601", b"0123456789abcdef" * 65_536),
    ],
)
def test_odd_bytes_arrive_raw(client: httpx.Client, number: str, piece: bytes) -> None:
    assert piece in client.post("/v3/chat", json=body(bot_id=bot(number))).content


def test_load_is_as_asked(client: httpx.Client) -> None:
    stream = chat(client, "n=20 d=0 size=3", bot("0604"))
    assert text_of(stream) == "xxx" * 20
    assert sum(name == "conversation.message.delta" for name, _ in stream) == 20
    assert len(text_of(chat(client, bot_id=bot("0603"))).split()) == 20_000


def test_a_stream_that_never_ends_waits_for_its_reader(client: httpx.Client) -> None:
    with client.stream("POST", "/v3/chat", json=body(bot_id=bot("0602"))) as answer:
        pieces = answer.iter_raw(1_000_000)  # without a name it would be gone at once, and the connection with it
        assert len(next(pieces)) == 1_000_000
        assert client.get("/v1/users/me").json()["code"] == 0
    until(lambda: client.get("/sandbox/state").json()["running"] == 0)


@pytest.mark.parametrize(
    ("number", "end", "action"),
    [
        ("0701", ["conversation.chat.requires_action", "done"], ["reply_message"]),
        ("0702", ["conversation.chat.completed", "done"], []),
        ("0703", ["conversation.message.completed", "done"], []),
    ],
)
def test_bots_that_ask(client: httpx.Client, number: str, end: list[str], action: list[str]) -> None:
    stream = chat(client, "a trip", bot(number))
    assert text_of(stream) == asks.QUESTION
    assert [name for name, _ in stream[-2:]] == end
    calls = stream[-2][1].get("required_action", {}).get("submit_tool_outputs", {}).get("tool_calls", [])
    assert [call["type"] for call in calls] == action
    (interrupt,) = [data for _, data in stream if data != "[DONE]" and '"interrupt"' in str(data.get("content"))]
    assert interrupt["type"] == "verbose"
    ids = {"conversation_id": stream[0][1]["conversation_id"], "chat_id": stream[0][1]["id"]}
    # It is over, and its conversation free for the answer.
    assert code_of(client.post("/v3/chat/cancel", json=ids)) == 4104
    answer = chat(client, "Lijiang", bot(number), ids["conversation_id"])
    assert text_of(answer) == "So you want to go to Lijiang."
    assert answer[-2][0] == "conversation.chat.completed"


# --- the sandbox's own endpoints


def test_state_tells_what_was_seen(client: httpx.Client) -> None:
    before = client.get("/sandbox/state").json()
    assert (before["chats"], before["uploads"], before["requests"], before["total"]) == ([], [], {}, 0)
    chat(client, "for the record")
    client.get("/v1/bots/1")
    client.get("/v1/nothing")
    state = client.get("/sandbox/state").json()
    assert state["chats"][0]["messages"][0]["content"] == "for the record"
    assert state["requests"] == {"POST /v3/chat": 1, "GET /v1/bots/{id}": 1, "unknown": 1}
    assert (state["total"], state["connections"], state["streams"]) == (3, 1, 0)
    assert TOKEN not in json.dumps(state)


@pytest.mark.parametrize(
    ("fault", "status", "start"),
    [
        ({"status": 401, "code": 4101, "msg": "no"}, 401, b'{"code":4101,"msg":"no"'),
        ({"kind": "html502"}, 502, b"<html>"),
        ({"kind": "empty"}, 200, b""),
        ({"kind": "not_json"}, 200, b"it works!"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/users/me", "/v1/workspaces", "/v1/files/upload", "/v3/chat/cancel"])
def test_paths_can_be_told_to_fail(client: httpx.Client, path: str, fault: Json, status: int, start: bytes) -> None:
    assert client.post("/sandbox/settings", json={"fail": {path: {**fault, "times": 1}}}).status_code == 200
    method = "GET" if path in ("/v1/users/me", "/v1/workspaces") else "POST"
    answer = client.request(method, path)
    assert (answer.status_code, answer.content[: len(start)]) == (status, start)
    assert client.request(method, path).content != answer.content


def test_paths_can_be_told_to_close_or_hang(client: httpx.Client) -> None:
    client.post(
        "/sandbox/settings", json={"fail": {"/v1/users/me": {"kind": "close"}, "/v1/workspaces": {"kind": "hang"}}}
    )
    with pytest.raises(httpx.ReadError):
        client.get("/v1/users/me")
    with pytest.raises(httpx.ReadTimeout):
        client.get("/v1/workspaces", timeout=0.2)
    client.post("/sandbox/settings", json={"fail": {}})
    assert client.get("/v1/workspaces").json()["code"] == 0


def test_one_method_of_many_paths_can_be_told_to_fail(client: httpx.Client) -> None:
    path = f"/v1/conversations/{client.post('/v1/conversation/create').json()['data']['id']}"
    faults = {
        "PUT /v1/conversations/{id}": {"code": 4101, "msg": "no"},
        "GET /v1/bots/{id}": {"kind": "body", "body": {"code": 0, "msg": "", "data": [None]}, "status": 201},
    }
    client.post("/sandbox/settings", json={"fail": faults}).raise_for_status()
    assert code_of(client.put(path, json={"name": "n"})) == 4101
    lie = client.get(f"/v1/bots/{DEFAULT_BOT_ID}")
    assert (lie.status_code, lie.json()) == (201, {"code": 0, "msg": "", "data": [None]})
    assert code_of(client.delete(path)) == 0


def test_paths_can_be_told_to_be_slow(client: httpx.Client) -> None:
    client.post("/sandbox/settings", json={"fail": {"/v1/users/me": {"kind": "slow", "seconds": 600}}})
    with pytest.raises(httpx.ReadTimeout):
        client.get("/v1/users/me", timeout=0.2)
    client.post("/sandbox/settings", json={"fail": {"/v1/users/me": {"kind": "slow", "seconds": 0.01}}})
    assert client.get("/v1/users/me").json()["data"]["user_id"]


def test_messages_can_be_added(client: httpx.Client) -> None:
    created = client.post("/v1/conversation/create", json={"bot_id": DEFAULT_BOT_ID}).json()["data"]
    path = f"/sandbox/conversations/{created['id']}/messages"
    odd = [{"content": content, "id": number} for number, content in enumerate((None, 5, {"deep": [1]}, "good"))]
    added = client.post(path, json={"turns": 2, "messages": odd}).json()["messages"]
    assert (len(added), added[4:]) == (8, [0, 1, 2, 3])
    params = {"conversation_id": created["id"]}
    messages = client.post("/v1/conversation/message/list", params=params).json()["data"]
    assert [message["id"] for message in messages] == added[::-1]
    assert [message["content"] for message in messages[3::-1]] == [message["content"] for message in odd]
    assert [message["created_at"] for message in messages[::-1]] == sorted(m["created_at"] for m in messages)
    (found,) = client.get("/sandbox/state").json()["conversations"]
    assert (found["id"], found["messages"], found["deleted"]) == (created["id"], 8, False)
    # The bot remembers what it can read of them.
    assert "holds 5 messages" in text_of(chat(client, "do you remember?", conversation_id=created["id"]))
    assert client.get("/sandbox/state?conversations=0").json()["conversations"] == []
    bad: Json
    for bad in ({"turns": 2_001}, {"turns": 1.5}, {"messages": {}}, {"messages": [1]}):
        assert client.post(path, json=bad).status_code == 400
    assert client.post("/sandbox/conversations/1/messages", json={"turns": 1}).status_code == 400


def test_state_tells_what_else_a_chat_carried(client: httpx.Client) -> None:
    extras: Json = {
        "parameters": {"any": ["thing"]},
        "custom_variables": {"user_name": "Ann"},
        "meta_data": {"k": "v"},
        "extra_params": {"latitude": "1.5"},
    }
    stream = events(client.post("/v3/chat", json=body(bot_id=bot("5360"), **extras)).content)
    assert text_of(stream) == 'custom_variables: {"user_name":"Ann"}\nparameters: {"any":["thing"]}'
    state = client.get("/sandbox/state").json()["chats"][0]
    assert {name: state[name] for name in extras} == extras
    ids = {"conversation_id": stream[0][1]["conversation_id"], "chat_id": stream[0][1]["id"]}
    assert client.get("/v3/chat/retrieve", params=ids).json()["data"]["meta_data"] == {"k": "v"}
    client.post("/v3/chat", json=body())
    state = client.get("/sandbox/state").json()["chats"][1]
    assert (state["parameters"], state["custom_variables"], state["meta_data"]) == (None, None, {})


@pytest.mark.parametrize(
    "bad",
    [
        {"delta_seconds": -1},
        {"delta_seconds": True},
        {"workspaces": 1.5},
        {"upload_types": "some"},
        {"colour": 1},
        {"fail": []},
        {"fail": {"/v1/users/me": {"kind": "smoke"}}},
        {"fail": {"/v1/users/me": {"status": "401"}}},
        {"fail": {"/v1/users/me": {"kind": "slow", "seconds": -1}}},
        {"bots": {"1": []}},
        {"sample_messages": 1},
    ],
)
def test_bad_dials_are_refused(client: httpx.Client, bad: Json) -> None:
    assert client.post("/sandbox/settings", json=bad).status_code == 400


def test_the_contract_lists_the_file_endings_that_coze_takes() -> None:
    assert sorted(contract().file_extensions) == sorted(LISTED)


def test_any_file_ending_can_be_allowed(client: httpx.Client) -> None:
    client.post("/sandbox/settings", json={"upload_types": "any"})
    assert code_of(client.post("/v1/files/upload", files={"file": ("upload", b"x")})) == 0


# --- Coze Studio


def test_studio_lacks_what_it_lacks(studio: httpx.Client) -> None:
    for path in ("/v1/users/me", "/v1/workspaces", "/v1/files/retrieve"):
        answer = studio.get(path)
        assert (answer.status_code, answer.json()) == (401, {"code": 401, "msg": "missing session_key in cookie"})
        assert "x-log-id" in answer.headers
    assert studio.post("/v3/chat/retrieve").status_code == 404
    assert studio.get("/v1/nothing").json() == {"code": 404, "msg": "not found"}
    bad = studio.get("/v1/bots/1", headers={"Authorization": "Bearer x"})
    assert (bad.status_code, code_of(bad)) == (200, 700012006)


def test_studio_streams_unless_told_not_to(studio: httpx.Client) -> None:
    request = body("who are you?")
    del request["stream"]
    answer = studio.post("/v3/chat", json=request)
    assert answer.headers["x-accel-buffering"] == "no"
    stream = events(answer.content)
    assert stream[-1] == ("conversation.stream.done", None)
    assert stream[-2][0] == "conversation.chat.completed"
    assert "last_error" not in stream[-2][1]
    data = studio.post("/v3/chat", json=body(stream=False)).json()["data"]
    assert data["status"] == "created"
    ids = {"conversation_id": data["conversation_id"], "chat_id": data["id"]}
    until(lambda: studio.get("/v3/chat/retrieve", params=ids).json()["data"]["status"] == "completed")
    listed = studio.get("/v3/chat/message/list", params=ids).json()
    assert "data" not in listed
    assert listed["Messages"][1]["type"] == "answer"


def test_studio_bounds_no_extras_and_drops_meta_data(studio: httpx.Client) -> None:
    extras: Json = {"meta_data": {"k": ""}, "custom_variables": {"a b": "x"}, "extra_params": {"any": "key"}}
    stream = events(studio.post("/v3/chat", json=body(auto_save_history=False, **extras)).content)
    ids = {"conversation_id": stream[0][1]["conversation_id"], "chat_id": stream[0][1]["id"]}
    assert "meta_data" not in studio.get("/v3/chat/retrieve", params=ids).json()["data"]
    state = studio.get("/sandbox/state").json()["chats"][0]
    assert {name: state[name] for name in extras} == extras


def test_studio_cancels_in_its_own_words(studio: httpx.Client) -> None:
    with open_chat(studio, bot("0203")) as running_chat:
        ids = {"conversation_id": running_chat["conversation_id"], "chat_id": running_chat["id"]}
        answer = studio.post("/v3/chat/cancel", json=ids).json()
        assert answer["ChatV3ChatDetail"]["status"] == "cancelled"
    failed = studio.get("/v3/chat/retrieve", params={"conversation_id": "1", "chat_id": "1"})
    assert (failed.status_code, failed.headers["content-type"]) == (500, "text/plain; charset=utf-8")


def test_studio_refuses_in_its_own_way(studio: httpx.Client) -> None:
    odd: list[Json] = [{"bot_id": "abc"}, {"bot_id": None}, {"stream": "x"}, {"parameters": "{}"}]
    odd += [{"custom_variables": {"a": 1}}, {"meta_data": {"k": 1}}]
    for bad in odd:
        answer = studio.post("/v3/chat", json=body() | bad)
        assert (answer.status_code, code_of(answer)) == (400, 400)
    assert studio.post("/v3/chat", params={"conversation_id": "abc"}, json=body()).status_code == 400
    system: Json = {"additional_messages": [{"role": "system", "content": "x", "content_type": "text"}]}
    for refused in (system, {"bot_id": "1"}):
        stream = events(studio.post("/v3/chat", json=body() | refused).content)
        assert (stream[0][0], stream[0][1]["code"]) == ("error", 103100001)
        answer = studio.post("/v3/chat", json=body(stream=False) | refused)
        assert (answer.status_code, code_of(answer)) == (400, 400)


def test_studio_makes_a_new_conversation_for_one_it_does_not_know(studio: httpx.Client) -> None:
    created = chat(studio, conversation_id="12345")[0][1]
    assert created["conversation_id"] != "12345"
    conversation = studio.post("/v1/conversation/create", json={}).json()["data"]
    assert conversation["meta_data"] is None


def test_studio_s_uploads_have_a_link(studio: httpx.Client) -> None:
    data = studio.post("/v1/files/upload", files={"file": ("a.exe", b"MZ")}).json()["data"]
    assert {"url", "uri", "CreatedAt"} < data.keys()
    assert http.get(data["url"]).content == b"MZ"
    assert http.get(data["url"] + "0").status_code == 404
    assert code_of(studio.post("/v1/files/upload", files={"file": ("a.exe", b"")})) == 104000006


# --- the tokens of service apps

TOKEN_PATH = "/api/permission/oauth2/token"
GRANT = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer"}
APP_KEY = RSAKey.generate_key(2048)


def proof(url: str, **changed: Any) -> str:
    """A JWT as Coze wants it, but for what is changed; None leaves a claim out."""
    now = int(time.time())
    claims = {"iss": "310000000002", "aud": httpx.URL(url).netloc.decode(), "iat": now, "exp": now + 600, "jti": "once"}
    claims = {name: value for name, value in (claims | changed).items() if value is not None}
    return jwt.encode({"alg": "RS256", "typ": "JWT", "kid": "fingerprint"}, claims, APP_KEY)


def ask_for_token(client: httpx.Client, signed: str, body: Json = GRANT) -> httpx.Response:
    return client.post(TOKEN_PATH, json=body, headers={"Authorization": f"Bearer {signed}"})


def test_a_jwt_is_good_for_one_token(client: httpx.Client, cloud: str) -> None:
    answer = ask_for_token(client, proof(cloud)).json()
    assert answer.keys() == {"access_token", "expires_in", "token_type", "detail"}
    again = ask_for_token(client, proof(cloud))
    assert (again.status_code, again.json()["error_code"]) == (401, "invalid_client")


@pytest.mark.parametrize(
    "changed",
    [{"aud": "api.coze.com"}, {"exp": 1}, {"exp": None}, {"iat": None}, {"iat": 1 << 40}, {"jti": None}, {"iss": ""}],
    ids=str,
)
def test_a_jwt_with_a_wrong_claim_is_refused(client: httpx.Client, cloud: str, changed: Json) -> None:
    assert ask_for_token(client, proof(cloud, **changed)).json()["error_code"] == "invalid_client"
    assert ask_for_token(client, proof(cloud)).status_code == 200


def test_a_jwt_of_another_key_and_what_is_no_jwt_are_refused(client: httpx.Client, cloud: str) -> None:
    other = RSAKey.generate_key(2048).as_pem(private=False).decode()
    client.post("/sandbox/settings", json={"oauth_public_key": other}).raise_for_status()
    for signed in (proof(cloud), "x", "a.b.c"):
        assert ask_for_token(client, signed).json()["error_code"] == "invalid_client"


def test_the_other_fields_of_a_token_request(client: httpx.Client, cloud: str) -> None:
    wrong = ask_for_token(client, proof(cloud), {"grant_type": "password"})
    assert wrong.json()["error_code"] == "unsupported_grant_type"
    for seconds in (86_400, -1, "900"):
        answer = ask_for_token(client, proof(cloud), {**GRANT, "duration_seconds": seconds})
        assert answer.json()["error_code"] == "invalid_request"


def test_the_studio_gives_no_tokens(studio: httpx.Client, studio_url: str) -> None:
    assert ask_for_token(studio, proof(studio_url)).status_code == 404


# --- many at once


def test_many_streams_at_once_and_left(client: httpx.Client, cloud: str) -> None:
    async def leave(session: aiohttp.ClientSession) -> None:
        async with session.post("/v3/chat", json=body("n=5 d=0.3", bot("0604"))) as answer:
            await answer.content.readline()
            answer.close()

    async def main() -> None:
        connector = aiohttp.TCPConnector(limit=100)
        async with aiohttp.ClientSession(cloud, headers=HEADERS, connector=connector) as session:
            await asyncio.gather(*(leave(session) for _ in range(200)))

    asyncio.run(main())
    state = until(lambda: (s := client.get("/sandbox/state").json())["running"] == 0 and s)
    assert len(state["chats"]) == 200
    assert {found["status"] for found in state["chats"]} == {"completed"}
    assert state["streams"] == 0
    assert all(found["client_left"] for found in state["chats"])


def test_a_client_that_sends_nonsense_does_not_matter(client: httpx.Client, cloud: str) -> None:
    host, _, port = cloud.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as raw:
        raw.sendall(b"nonsense\r\n\r\n")
        assert b" 400 " in raw.recv(1_000)
    assert client.get("/v1/users/me").json()["code"] == 0
