"""POST /api/v1/chat: what is taken, what is refused, and that both forms of an answer say the same."""

import contextlib
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import BOT, COMMAND, Service, Start, Upstream, events_of, http, running_service, text_of
from envelope import assert_error

TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z")
USER = {"role": "user", "content": "Hello"}
FEW_FILES = "fewer files may be open than MAX_CONCURRENT_CHATS takes"


def post(service: Service, **body: Any) -> httpx.Response:
    return service.http.post("/api/v1/chat", json={"user_id": "u", "messages": [USER], **body})


def test_json(service: Service) -> None:
    answer = service.chat("你好，请介绍一下自己", bot=BOT)
    assert answer.status_code == 200
    body = answer.json()
    assert (body["success"], body["message"]) == (True, "Chat completed successfully")
    assert body["conversation_id"]
    data = body["data"]
    assert "沙盒" in data["content"]
    assert (data["bot_id"], data["user_id"]) == (BOT, "tester")
    assert TIME.fullmatch(data["timestamp"])
    said = datetime.fromisoformat(data["timestamp"])
    assert abs((datetime.now(UTC) - said).total_seconds()) < 3600
    assert set(data["usage"]) == {"token_count", "output_count", "input_count"}


def test_stream(service: Service) -> None:
    answer = service.chat("你好，请介绍一下自己", stream=True)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache, no-transform"
    events = events_of(answer.text)
    assert [event["type"] for event in events[-2:]] == ["chat_completed", "end"]
    assert events[-1] == {"type": "end"}
    assert events[-2]["conversation_id"]
    assert all(TIME.fullmatch(event["timestamp"]) for event in events[:-1])
    assert sum(event["type"] == "message_delta" for event in events) > 5
    assert "您好" in answer.text  # not escaped


def test_both_forms_say_the_same(service: Service) -> None:
    for content in ("Hello", "你好", "help", "tell me twice"):
        plain = service.chat(content).json()
        events = events_of(service.chat(content, stream=True).text)
        assert text_of(events) == plain["data"]["content"]
        assert [e["content"] for e in events if e["type"] == "follow_up"] == plain["data"].get("follow_ups", [])


def test_no_line_reader_takes_a_character_for_the_end_of_a_line(service: Service, bots: dict[str, str]) -> None:
    """As str.splitlines does, and the readers of httpx and requests with it."""
    answer = service.chat(bot=bots["separators"], stream=True)
    lines = answer.text.splitlines()
    assert lines == answer.text.split("\n")[:-1]
    assert r"line\u2028paragraph\u2029next\u0085unit" in answer.text
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert text_of(events) == "Raw separators: line\u2028paragraph\u2029next\u0085unit\u001c\u000bend"


@pytest.mark.parametrize("bot", ["reasoning", "late-thoughts"])
def test_reasoning_is_kept_apart(service: Service, bots: dict[str, str], bot: str) -> None:
    plain = service.chat(bot=bots[bot]).json()["data"]
    events = events_of(service.chat(bot=bots[bot], stream=True).text)
    thought = "".join(event["content"] for event in events if event["type"] == "reasoning_delta")
    assert thought == plain["reasoning_content"]
    assert thought
    assert thought not in plain["content"]


@pytest.mark.parametrize("bot", ["asks", "asks-as-studio", "asks-as-sample"])
def test_a_bot_that_asks_is_answered_with_the_next_message(service: Service, bots: dict[str, str], bot: str) -> None:
    asked = service.chat("book me a trip", bot=bots[bot]).json()
    assert asked["data"]["content"] == "Which city do you want to go to?"
    answer = service.chat("Lijiang", bot=bots[bot], conversation_id=asked["conversation_id"]).json()
    assert answer["data"]["content"] == "So you want to go to Lijiang."
    events = events_of(service.chat("book me a trip", bot=bots[bot], stream=True).text)
    assert text_of(events) == "Which city do you want to go to?"
    assert [event["type"] for event in events[-2:]] == ["chat_completed", "end"]
    conversation = events[-2]["conversation_id"]
    events = events_of(service.chat("Lijiang", bot=bots[bot], conversation_id=conversation, stream=True).text)
    assert text_of(events) == "So you want to go to Lijiang."
    assert events[-2]["conversation_id"] == conversation


@pytest.mark.parametrize("nothing", [None, ""])
def test_null_and_empty_mean_absent(service: Service, nothing: str | None) -> None:
    answer = post(service, bot_id=nothing, conversation_id=nothing, stream=None)
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"]["bot_id"] == BOT
    assert post(service, messages=[{**USER, "content_type": None}]).status_code == 200


def test_unknown_fields_and_parameters_are_ignored(service: Service) -> None:
    body = {"user_id": "u", "messages": [{**USER, "mood": "good"}], "temperature": {"deep": [1, {}]}}
    assert service.http.post("/api/v1/chat?debug=1&user_id=x", json=body).status_code == 200


def test_no_bot_at_all(start: Start) -> None:
    message = assert_error(start(COZE_BOT_ID="").chat(), 400)
    assert message == "bot_id is required either in request or environment variable COZE_BOT_ID"


def test_two_turns_of_one_conversation(service: Service, upstream: Upstream) -> None:
    first = service.chat("My name is Ada").json()
    history = [
        {"role": "user", "content": "My name is Ada"},
        {"role": "assistant", "content": first["data"]["content"]},
        {"role": "user", "content": "What did I ask before?"},
    ]
    second = post(service, messages=history, conversation_id=first["conversation_id"]).json()
    assert second["conversation_id"] == first["conversation_id"]
    assert "My name is Ada" in second["data"]["content"]
    sent = upstream.state()["chats"][-1]["messages"]
    assert [message["content"] for message in sent] == ["What did I ask before?"]


def test_the_uploaded_file_is_described(service: Service) -> None:
    upload = service.http.post("/api/v1/upload", files={"file": ("cats 猫.csv", b"name,age\n")}).json()
    content = f'[{{"type":"text","text":"What is it?"}},{{"type":"file","file_id":"{upload["file_id"]}"}}]'
    answer = post(service, messages=[{"role": "user", "content": content, "content_type": "object_string"}])
    assert "cats 猫.csv" in answer.json()["data"]["content"]


def test_an_unknown_conversation_and_an_unknown_bot(service: Service) -> None:
    assert_error(post(service, conversation_id="7000000000000000000"), 404)
    assert_error(post(service, bot_id="7000000000000000000"), 404)


@pytest.mark.parametrize(
    "body",
    [
        {"user_id": ""},
        {"user_id": None},
        {"user_id": 5},
        {"messages": []},
        {"messages": None},
        {"messages": {}},
        {"messages": [USER] * 101},
        {"messages": [{"role": "tool", "content": "x"}]},
        {"messages": [{"role": "user"}]},
        {"messages": [{"content": "x"}]},
        {"messages": [{"role": "user", "content": None}]},
        {"messages": [{"role": "user", "content": 5}]},
        {"messages": [{**USER, "content_type": "card"}]},
        {"messages": ["Hello"]},
        {"messages": [{"role": "user", "content": ""}]},
        {"messages": [{"role": "assistant", "content": "x"}]},
        {"messages": [{**USER, "content_type": "object_string"}]},
        {"stream": "true"},
        {"stream": 0},
        {"bot_id": 7537334510896185359},
        {"bot_id": "x" * 129},
        {"conversation_id": "x" * 129},
        {"conversation_id": []},
    ],
    ids=repr,
)
def test_bad_fields(service: Service, body: dict[str, Any]) -> None:
    assert len(assert_error(post(service, **body), 400)) <= 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"[]",
        b"null",
        b'"text"',
        b'{"user_id": "u", "messages": [{"role": "user", "content": "\xff"}]}',
        b'{"user_id": "u", "messages": [{"role": "user", "content": "\xed\xa0\xbd"}]}',
        b'{"user_id": "u", "messages": [{"role": "user", "content": "x"}]} trailing',
        b'{"user_id": "u", "user_id": "u"',
        '{"user_id": "u", "messages": [{"role": "user", "content": "你好"}]}'.encode("gbk"),
        b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"x": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
        b'{"user_id": "u", "messages": [{"role": "user", "content": "x"}], "x": NaN}',
        b"\xef\xbb\xbf{}",
        b'\xef\xbb\xbf\xef\xbb\xbf{"user_id": "u", "messages": [{"role": "user", "content": "x"}]}',
        '{"user_id": "u", "messages": [{"role": "user", "content": "x"}]}'.encode("utf-16"),
        b"\x00",
    ],
    ids=lambda body: repr(body[:40]),
)
def test_bodies_that_are_no_chat(service: Service, body: bytes) -> None:
    answer = service.http.post("/api/v1/chat", content=body, headers={"content-type": "application/json"})
    assert_error(answer, 400)


def test_a_byte_order_mark_is_no_part_of_a_chat(service: Service) -> None:
    """PowerShell and Windows editors put one before what they write."""
    body = b'\xef\xbb\xbf{"user_id": "u", "messages": [{"role": "user", "content": "x"}]}'
    answer = service.http.post("/api/v1/chat", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("kind", "content", "sent"),
    [
        ("text", r"cut \ud83d", "cut \ufffd"),
        ("text", r"\uDE00 \\ud83d \ud83d\ude00", "\ufffd \\ud83d 😀"),
        (
            "object_string",
            r"[{\"type\":\"text\",\"text\":\"\\ud83d\"},{\"type\":\"image\",\"file_url\":\"https://example.com/1.png\"}]",
            r'[{"type":"text","text":"\ufffd"},{"type":"image","file_url":"https://example.com/1.png"}]',
        ),
    ],
)
def test_half_an_emoji(service: Service, upstream: Upstream, kind: str, content: str, sent: str) -> None:
    """JavaScript writes one where it has cut a text: no turn would pass whose history holds it."""
    message = f'{{"role": "user", "content_type": "{kind}", "content": "{content}"}}'
    body = f'{{"user_id": "u", "messages": [{message}]}}'.encode()
    answer = service.http.post("/api/v1/chat", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 200, answer.text
    assert upstream.state()["chats"][-1]["messages"][-1]["content"] == sent


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("Application/JSON;charset=UTF-8", 200),
        ("text/plain", 400),
        ("application/x-www-form-urlencoded", 400),
        ("multipart/form-data; boundary=x", 400),
        ("application/jsonx", 400),
        ("", 400),
    ],
)
def test_media_types(service: Service, kind: str, status: int) -> None:
    body = b'{"user_id": "u", "messages": [{"role": "user", "content": "x"}]}'
    answer = service.http.post("/api/v1/chat", content=body, headers={"content-type": kind} if kind else {})
    assert answer.status_code == status, answer.text


def test_two_mebibytes_and_not_one_byte_more(service: Service) -> None:
    frame = b'{"user_id": "u", "messages": [{"role": "user", "content": "x"}], "padding": "%b"}'
    room = 2 * 1024 * 1024 - len(frame) + 2
    headers = {"content-type": "application/json"}
    assert service.http.post("/api/v1/chat", content=frame % (b"x" * room), headers=headers).status_code == 200
    too_much = frame % (b"x" * (room + 1))
    message = assert_error(service.http.post("/api/v1/chat", content=too_much, headers=headers), 413)
    assert message == "Request body too large. Maximum size is 2MB"
    chunks = (too_much[start : start + 65536] for start in range(0, len(too_much), 65536))
    assert_error(service.http.post("/api/v1/chat", content=chunks, headers=headers), 413)


def test_a_stream_s_first_failure_has_its_status(service: Service, bots: dict[str, str]) -> None:
    answer = service.chat(bot=bots["error-first-4016"], stream=True)
    assert_error(answer, 429)
    assert answer.headers["content-type"] == "application/json"


def test_more_chats_than_allowed_at_once(start: Start, bots: dict[str, str]) -> None:
    service = start(MAX_CONCURRENT_CHATS="2")
    body = {"user_id": "u", "messages": [USER], "bot_id": bots["for-ever"], "stream": True}
    with (
        http.stream("POST", f"{service.url}/api/v1/chat", json=body) as first,
        http.stream("POST", f"{service.url}/api/v1/chat", json=body) as second,
    ):
        assert (first.status_code, second.status_code) == (200, 200)
        answer = service.chat()
        assert_error(answer, 503)
        assert int(answer.headers["retry-after"]) >= 1
        assert service.http.get("/health").status_code == 200


def where_files_are_few(limit: str) -> tuple[str, ...]:
    """The service's command under `ulimit` so."""
    return ("sh", "-c", f'ulimit {limit} && exec "$@"', "sh", *COMMAND)


def test_more_chats_than_a_process_gets_files_for_unasked(
    upstream: Upstream, bots: dict[str, str], tmp_path: Path
) -> None:
    """Each takes two, and many systems let a process open 1,024 until it asks for more."""
    env = {"COZE_API_TOKEN": "pat_test", "COZE_API_BASE": upstream.url}
    body = {"user_id": "u", "messages": [USER], "bot_id": bots["for-ever"], "stream": True}
    with running_service(tmp_path, command=where_files_are_few("-Sn 128"), **env) as service:
        with contextlib.ExitStack() as chats:
            client = chats.enter_context(httpx.Client(timeout=60, limits=httpx.Limits(max_connections=None)))
            for _ in range(150):
                chat = chats.enter_context(client.stream("POST", f"{service.url}/api/v1/chat", json=body))
                assert chat.status_code == 200
        assert FEW_FILES not in service.output()


def test_fewer_files_than_chats_take(tmp_path: Path) -> None:
    command = where_files_are_few("-n 256")
    with running_service(tmp_path, command=command, COZE_API_TOKEN="pat_test", WORKERS="2") as service:
        told = [line for line in service.lines() if line["event"] == FEW_FILES]
        assert [(line["allowed"], line["taken"], line["level"]) for line in told] == [(256, 2200, "warning")]


@pytest.mark.parametrize("stream", [True, False])
def test_a_chat_names_its_ids(service: Service, upstream: Upstream, stream: bool) -> None:
    upstream.reset()
    answer = service.chat(stream=stream)
    (chat,) = upstream.state()["chats"]
    ids = {"conversation_id": chat["conversation_id"], "chat_id": chat["id"]}
    if stream:
        first, *_, last, _ = events_of(answer.text)
        assert first == {"type": "chat_started", **ids, "timestamp": first["timestamp"]}
        assert last.items() >= {"type": "chat_completed", **ids}.items()
        assert last["message_id"]
    else:
        data = answer.json()["data"]
        assert (answer.json()["conversation_id"], data["chat_id"]) == (chat["conversation_id"], chat["id"])
        assert data["message_id"]


EXTRAS: dict[str, Any] = {
    "parameters": {"深": [1, {"two": None}], "big": 2**70},
    "custom_variables": {"user_name": "小明", "empty": ""},
    "meta_data": {str(number): "x" * 512 for number in range(15)} | {"k" * 64: "v"},
}


def test_what_else_a_chat_carries_comes_to_coze_as_it_is(service: Service, upstream: Upstream) -> None:
    upstream.reset()
    assert service.chat(**EXTRAS).status_code == 200
    nothing: dict[str, Any] = dict.fromkeys(EXTRAS)
    assert service.chat(**nothing).status_code == 200
    with_them, without = upstream.state()["chats"]
    assert {name: with_them[name] for name in EXTRAS} == EXTRAS
    assert not any(without[name] for name in EXTRAS)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("parameters", "text"),
        ("parameters", []),
        ("custom_variables", {"a b": "x"}),
        ("custom_variables", {"a\n": "x"}),
        ("custom_variables", {"": "x"}),
        ("custom_variables", {"a": 1}),
        ("custom_variables", {"a": None}),
        ("meta_data", {str(number): "x" for number in range(17)}),
        ("meta_data", {"": "x"}),
        ("meta_data", {"k" * 65: "x"}),
        ("meta_data", {"k": ""}),
        ("meta_data", {"k": "x" * 513}),
        ("meta_data", {"k": 1}),
        ("meta_data", ["k"]),
    ],
    ids=str,
)
def test_what_else_a_chat_carries_has_coze_s_limits(
    service: Service, upstream: Upstream, field: str, value: Any
) -> None:
    upstream.reset()
    assert field in assert_error(service.chat(**{field: value}), 400)
    assert not upstream.state()["chats"]
