"""A user's conversations: renamed, deleted, cleared, read again and rated; and nobody else's, by any operation."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import BOT, Service, Start, Upstream, ValkeyServer, events_of, http, running_service, wait_until
from envelope import assert_error
from operations import OPERATIONS, Headers, Operation, each_operation, visitor

CHATS = "/api/v1/conversations"
LIST = "/v1/conversation/message/list"  # Coze's
EPOCH = "1970-01-01T00:00:00.000Z"
PICTURE = b"\x89PNG\r\n\x1a\nof a cat"


def ask(service: Service, headers: Headers, content: str = "Hello", **fields: Any) -> dict[str, Any]:
    body = {"messages": [{"role": "user", "content": content}], **fields}
    answer = service.http.post("/api/v1/chat", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    said: dict[str, Any] = answer.json()
    return {**said, **said["data"]}


def listed(service: Service, headers: Headers) -> list[dict[str, Any]]:
    data: list[dict[str, Any]] = service.http.get(CHATS, headers=headers).json()["data"]
    return data


def messages(service: Service, headers: Headers, conversation_id: str, **params: Any) -> dict[str, Any]:
    answer = service.http.get(f"{CHATS}/{conversation_id}/messages", headers=headers, params=params)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


def at_coze(upstream: Upstream, conversation_id: str) -> dict[str, Any]:
    """A conversation as the sandbox has it; nothing if it has none."""
    return next((one for one in upstream.state(0)["conversations"] if one["id"] == conversation_id), {})


def asked(upstream: Upstream) -> dict[str, int]:
    """What Coze was asked so far, and how often."""
    requests: dict[str, int] = upstream.state(0)["requests"]
    return requests


def put(upstream: Upstream, conversation_id: str, **what: Any) -> list[str]:
    """Puts messages into a conversation at the sandbox; their ids."""
    answer = http.post(f"{upstream.url}/sandbox/conversations/{conversation_id}/messages", json=what)
    ids: list[str] = answer.raise_for_status().json()["messages"]
    return ids


@pytest.fixture
def ann(service: Service) -> Headers:
    return visitor(service.http)


@pytest.fixture
def talk(service: Service, ann: Headers) -> str:
    """A conversation of Ann's."""
    return str(ask(service, ann)["conversation_id"])


# Names


def test_another_name(service: Service, upstream: Upstream, ann: Headers, talk: str) -> None:
    (before,) = listed(service, ann)
    answer = service.http.patch(f"{CHATS}/{talk}", json={"name": "东京 🗼"}, headers=ann)
    assert answer.json()["data"] == {**before, "name": "东京 🗼"}
    assert listed(service, ann) == [{**before, "name": "东京 🗼"}]
    assert at_coze(upstream, talk)["name"] == "东京 🗼"
    ask(service, ann, "The next turn gives it no name", conversation_id=talk)
    assert [one["name"] for one in listed(service, ann)] == ["东京 🗼"]


def test_a_name_that_coze_does_not_take_is_ours_all_the_same(
    service: Service, upstream: Upstream, ann: Headers, talk: str
) -> None:
    upstream.set(fail={f"/v1/conversations/{talk}": {"code": 4000}})
    try:
        assert service.http.patch(f"{CHATS}/{talk}", json={"name": "Mine"}, headers=ann).status_code == 200
    finally:
        upstream.set(fail={})
    assert [one["name"] for one in listed(service, ann)] == ["Mine"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b'{"name": ""}', b'{"name": null}', b'{"name": 1}', b"[]", b"{", b'{"name": "%s"}' % (b"x" * 101)],
)
def test_what_is_no_name(service: Service, ann: Headers, talk: str, body: bytes) -> None:
    headers = {**ann, "Content-Type": "application/json"}
    assert_error(service.http.patch(f"{CHATS}/{talk}", content=body, headers=headers), 400)
    assert [one["name"] for one in listed(service, ann)] == ["Hello"]


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_a_body_that_is_too_long(service: Service, ann: Headers, talk: str, method: str) -> None:
    path = f"{CHATS}/{talk}" + ("/messages/1/feedback" if method == "PUT" else "")
    answer = service.http.request(method, path, json={"name": "x" * 17_000}, headers=ann)
    assert "16KB" in assert_error(answer, 413)


# The end of a conversation


def test_deleted_is_gone(service: Service, upstream: Upstream, ann: Headers, talk: str) -> None:
    path = f"{CHATS}/{talk}"
    assert service.http.delete(path, headers=ann).json()["data"] is None
    assert listed(service, ann) == []
    assert at_coze(upstream, talk) == {}
    missing = assert_error(service.http.delete(path, headers=ann), 404)
    for answer in (
        service.http.patch(path, json={"name": "x"}, headers=ann),
        service.http.get(f"{path}/messages", headers=ann),
        service.http.post(
            "/api/v1/chat", json={"messages": [{"role": "user", "content": "?"}], "conversation_id": talk}, headers=ann
        ),
        service.chat(conversation_id=talk),
    ):
        assert assert_error(answer, 404) == missing


def test_a_conversation_that_coze_has_lost_can_be_deleted(
    service: Service, upstream: Upstream, ann: Headers, talk: str
) -> None:
    http.delete(
        f"{upstream.url}/v1/conversations/{talk}", headers={"Authorization": "Bearer pat_test"}
    ).raise_for_status()
    assert_error(service.http.get(f"{CHATS}/{talk}/messages", headers=ann), 404)
    assert service.http.delete(f"{CHATS}/{talk}", headers=ann).status_code == 200
    assert listed(service, ann) == []


def test_a_conversation_that_coze_cannot_delete_now_stays(
    service: Service, upstream: Upstream, ann: Headers, talk: str
) -> None:
    upstream.set(fail={f"/v1/conversations/{talk}": {"kind": "html502"}})
    try:
        assert_error(service.http.delete(f"{CHATS}/{talk}", headers=ann), 503)
    finally:
        upstream.set(fail={})
    assert [one["conversation_id"] for one in listed(service, ann)] == [talk]
    assert service.http.delete(f"{CHATS}/{talk}", headers=ann).status_code == 200


def test_a_chat_that_runs_in_it_is_stopped_first(
    service: Service, upstream: Upstream, bots: dict[str, str], ann: Headers
) -> None:
    body = {"messages": [{"role": "user", "content": "x"}], "bot_id": bots["for-ever"], "stream": True}
    with service.http.stream("POST", "/api/v1/chat", json=body, headers=ann) as answer:
        chunks = answer.iter_text()
        seen = next(chunks)
        talk = events_of(seen[: seen.index("\n\n") + 2])[0]["conversation_id"]
        deleted: list[int] = []
        delete = lambda: deleted.append(service.http.delete(f"{CHATS}/{talk}", headers=ann).status_code)  # noqa: E731
        thread = threading.Thread(target=delete)
        thread.start()
        events = events_of(seen + "".join(chunks))
        thread.join()
    assert deleted == [200]
    assert [event["type"] for event in events[-2:]] == ["error", "end"]
    (chat,) = [chat for chat in upstream.state()["chats"] if chat["conversation_id"] == talk]
    assert (chat["cancel_calls"], chat["status"]) == (1, "canceled")
    assert listed(service, ann) == []


def test_a_chat_that_coze_has_not_begun_yet_is_stopped_too(
    service: Service, upstream: Upstream, bots: dict[str, str], ann: Headers, talk: str
) -> None:
    answers: list[int] = []
    slow = {"bot_id": bots["late-headers"], "conversation_id": talk}
    body = {"messages": [{"role": "user", "content": "pause=2"}], **slow}
    thread = threading.Thread(
        target=lambda: answers.append(service.http.post("/api/v1/chat", json=body, headers=ann).status_code)
    )
    before = asked(upstream)
    # Once it has begun, it goes on for longer than any process stands still.
    upstream.set(delta_seconds=10)
    thread.start()
    wait_until(lambda: asked(upstream) != before)
    assert service.http.delete(f"{CHATS}/{talk}", headers=ann).status_code == 200
    thread.join()
    assert answers == [503]


@pytest.mark.parametrize(("on_server", "kept"), [(False, False), (True, False), (True, True)])
def test_a_chat_that_another_process_reads_is_stopped_too(
    upstream: Upstream,
    bots: dict[str, str],
    start: Start,
    valkey_server: ValkeyServer,
    tmp_path: Path,
    on_server: bool,
    kept: bool,
) -> None:
    where = valkey_server.uri() if on_server else str(tmp_path)
    # With one worker each would take itself to be alone in a folder.
    reader, other = (start(STORE=where, WORKERS="1" if on_server else "2") for _ in range(2))
    ann = visitor(reader.http)
    body = {"messages": [{"role": "user", "content": "x"}], "bot_id": bots["for-ever"], "stream": True}
    if kept:
        body["on_disconnect"] = "continue"
    with reader.http.stream("POST", "/api/v1/chat", json=body, headers=ann) as answer:
        lines = (line for line in answer.iter_lines() if line.startswith("data: "))
        talk = json.loads(next(lines)[6:])["conversation_id"]
        assert other.http.delete(f"{CHATS}/{talk}", headers=ann).status_code == 200
        events = [json.loads(line[6:]) for line in lines]
    assert [event["type"] for event in events[-2:]] == ["error", "end"]
    assert events[-2]["code"] == "chat_cancelled"


# What was said


def test_cleared_is_forgotten_by_the_bot_and_can_still_be_read(
    service: Service, upstream: Upstream, ann: Headers, talk: str
) -> None:
    section = at_coze(upstream, talk)["section_id"]
    before = messages(service, ann, talk)
    assert service.http.post(f"{CHATS}/{talk}/clear", headers=ann).json()["data"] is None
    assert at_coze(upstream, talk)["section_id"] != section
    assert messages(service, ann, talk) == before
    assert [one["conversation_id"] for one in listed(service, ann)] == [talk]


def test_a_turn_is_read_again(service: Service, bots: dict[str, str], ann: Headers) -> None:
    said = ask(service, ann, "Why?", bot_id=bots["reasoning"])
    page = messages(service, ann, said["conversation_id"])
    question, answer = page["data"]
    assert page["has_more"] is False
    assert (question["role"], question["content"]) == ("user", "Why?")
    assert (answer["role"], answer["content"]) == ("assistant", said["content"])
    assert answer["message_id"] == said["message_id"]
    assert question["chat_id"] == answer["chat_id"] == said["chat_id"]
    assert answer["reasoning_content"] == said["reasoning_content"]
    assert question["created_at"] <= answer["created_at"]


def test_pages_neither_repeat_nor_lose_while_new_ones_come(
    service: Service, upstream: Upstream, ann: Headers, talk: str
) -> None:
    put(upstream, talk, turns=70)
    expected = ["Hello", None, *(f"{what} {turn}" for turn in range(1, 71) for what in ("Question", "Answer"))]
    seen: list[str] = []
    before: dict[str, str] = {}
    while True:
        page = messages(service, ann, talk, limit=33, **before)
        seen = [message["content"] for message in page["data"]] + seen
        if not page["has_more"]:
            break
        assert len(page["data"]) == 33
        before = {"before": page["data"][0]["message_id"]}
        put(upstream, talk, turns=1)
    assert [seen[0], *seen[2:]] == [expected[0], *expected[2:]]


def test_only_what_somebody_said_is_shown(service: Service, upstream: Upstream, ann: Headers, talk: str) -> None:
    rows = [
        {"id": 7_000_000_000_000_000_001, "role": "user", "content": "A number", "created_at": 1_735_732_802_000},
        {"id": None, "role": "user", "content": "CANARY"},
        {"id": "7", "role": ["user"], "content": "CANARY"},
        {"id": "6", "role": "assistant", "type": "answer", "content": None, "created_at": "1735732801"},
        {"id": "5", "role": "assistant", "type": "answer", "content": "{}", "content_type": "card", "chat_id": ""},
        {"id": "4", "role": "tool", "type": "answer", "content": "CANARY"},
        *(
            {"id": "3", "role": "assistant", "type": kind, "content": "CANARY"}
            for kind in ("function_call", "tool_response", "verbose", "follow_up", "knowledge", "new")
        ),
        {"id": "2", "role": "assistant", "type": "", "content": "No type", "chat_id": 9},
    ]
    upstream.set(fail={LIST: {"kind": "body", "body": {"code": 0, "data": rows, "has_more": True}}})
    try:
        page = messages(service, ann, talk)
    finally:
        upstream.set(fail={})
    assert page["has_more"] is True
    assert page["data"] == [
        {"message_id": "2", "chat_id": "9", "role": "assistant", "content": "No type", "created_at": EPOCH},
        {"message_id": "5", "role": "assistant", "content": "{}", "content_type": "card", "created_at": EPOCH},
        {"message_id": "6", "role": "assistant", "content": "", "created_at": "2025-01-01T12:00:01.000Z"},
        {
            "message_id": "7000000000000000001",
            "role": "user",
            "content": "A number",
            "created_at": "2025-01-01T12:00:02.000Z",
        },
    ]


@pytest.mark.parametrize("data", [None, "x", {"a": 1}, [None, 1, "x", {}]], ids=repr)
def test_a_list_that_makes_no_sense(
    service: Service, upstream: Upstream, ann: Headers, talk: str, data: object
) -> None:
    body = {"code": 0, "data": data, "has_more": "x"}
    upstream.set(fail={LIST: {"kind": "body", "body": body}})
    try:
        answer = service.http.get(f"{CHATS}/{talk}/messages", headers=ann)
    finally:
        upstream.set(fail={})
    if isinstance(data, list) or data is None:
        assert answer.json()["data"] == []
    else:
        assert_error(answer, 503)


def test_files_are_shown_with_their_names_and_links(service: Service, ann: Headers) -> None:
    upload = service.http.post("/api/v1/upload", files={"file": ("猫.png", PICTURE)}, headers=ann).json()
    parts = [
        {"type": "image", "file_id": upload["file_id"]},
        {"type": "text", "text": "What is it?"},
        {"type": "image", "file_url": "https://example.com/dog.png"},
    ]
    content = {"role": "user", "content": json.dumps(parts), "content_type": "object_string"}
    said = service.http.post("/api/v1/chat", json={"messages": [content]}, headers=ann).json()
    question = messages(service, ann, said["conversation_id"])["data"][0]
    assert question["content"] == "What is it?"
    assert "content_type" not in question
    cat, dog = question["files"]
    link = cat.pop("url")
    assert cat == {"type": "image", "file_id": upload["file_id"], "name": "猫.png"}
    assert dog == {"type": "image", "file_id": None, "name": None, "url": "https://example.com/dog.png"}
    assert http.get(link).content == PICTURE


def test_addresses_of_coze_s_are_web_addresses_or_none(
    service: Service, upstream: Upstream, ann: Headers, talk: str
) -> None:
    parts = [
        {"type": "file", "file_id": "9", "name": "a.txt", "file_url": "javascript:alert(1)"},
        {"type": "file", "file_id": 9, "name": ["a"], "file_url": None},
        {"type": "video", "file_id": "9"},
        "text",
        {"type": "text", "text": 1},
        {"type": "text", "text": "Two"},
        {"type": "text", "text": "texts"},
    ]
    message = {"role": "user", "content": json.dumps(parts), "content_type": "object_string"}
    texts = "[plain text", "[" * 100_000
    put(upstream, talk, messages=[message, *({**message, "content": text} for text in texts)])
    broken, *plain = messages(service, ann, talk)["data"][2:]
    nothing = {"type": "file", "file_id": None, "name": None, "url": None}
    assert broken["content"] == "Two\ntexts"
    assert broken["files"] == [{**nothing, "file_id": "9", "name": "a.txt"}, nothing]
    for said, text in zip(plain, texts, strict=True):
        assert (said["content"], said.get("files"), said.get("content_type")) == (text, None, None)


@pytest.mark.parametrize(
    "params", [{"limit": 0}, {"limit": 51}, {"limit": "x"}, {"before": ""}, {"before": "a"}], ids=str
)
def test_wrong_parameters(service: Service, ann: Headers, talk: str, params: dict[str, Any]) -> None:
    (name,) = params
    assert name in assert_error(service.http.get(f"{CHATS}/{talk}/messages", headers=ann, params=params), 400)


# Feedback


def test_an_answer_is_rated_and_the_rating_taken_back(service: Service, upstream: Upstream, ann: Headers) -> None:
    said = ask(service, ann)
    talk, message_id = said["conversation_id"], said["message_id"]
    path = f"{CHATS}/{talk}/messages/{message_id}/feedback"
    good = {"rating": "like"}
    bad = {"rating": "unlike", "reasons": ["不准确"], "comment": "年份不对"}
    assert service.http.put(path, json=good, headers=ann).json()["data"] is None
    assert service.http.put(path, json=bad, headers=ann).status_code == 200
    known = at_coze(upstream, talk)["feedback"][message_id]
    assert known == {"feedback_type": "unlike", "reason_types": ["不准确"], "comment": "年份不对"}
    assert service.http.delete(path, headers=ann).status_code == 200
    assert at_coze(upstream, talk)["feedback"] == {}
    assert_error(service.http.put(f"{CHATS}/{talk}/messages/7000000000000000009/feedback", json=good, headers=ann), 404)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"rating": "love"},
        {"rating": None},
        {"rating": "like", "reasons": ["x"] * 21},
        {"rating": "like", "reasons": ["x" * 31]},
        {"rating": "like", "reasons": [""]},
        {"rating": "like", "comment": "x" * 251},
    ],
    ids=str,
)
def test_what_is_no_rating(service: Service, ann: Headers, talk: str, body: dict[str, Any]) -> None:
    assert_error(service.http.put(f"{CHATS}/{talk}/messages/1/feedback", json=body, headers=ann), 400)


# Somebody else's, by every operation of the contract

OF_ONE = [operation for operation in OPERATIONS.values() if "conversation_id" in operation.path]


@pytest.mark.parametrize("operation", OF_ONE, ids=[operation.name for operation in OF_ONE])
def test_somebody_else_s_is_answered_as_what_is_not_there(
    service: Service, upstream: Upstream, operation: Operation
) -> None:
    ann, bob = visitor(service.http), visitor(service.http)
    said = ask(service, ann)
    theirs = {"conversation_id": said["conversation_id"], "message_id": said["message_id"]}
    before = asked(upstream)
    answers = [
        operation.call(service.http, operation.path.format_map(theirs), headers=bob),
        operation.call(service.http, operation.path.format_map(theirs), headers=bob, params={"user_id": "x"}),
        operation.call(service.http, operation.nowhere, headers=bob),
        service.http.request(operation.method, operation.path.format_map(theirs)),
    ]
    assert assert_error(answers[0], 404) == assert_error(answers[2], 404)
    assert_error(answers[1], 403)
    assert_error(answers[3], 401)
    assert asked(upstream) == before, "Coze is not even asked"
    assert operation.call(service.http, operation.path.format_map(theirs), headers=ann).status_code == 200


@each_operation("createVisitor")
def test_no_operation_tells_a_user_of_another_s(
    service: Service, theirs: tuple[Headers, str], operation: Operation
) -> None:
    """Every operation, called by Bob in his own right, after Ann has talked: a new operation cannot be forgotten."""
    _, secret = theirs
    answer = operation.call(service.http, headers=visitor(service.http))
    assert secret not in answer.text
    if operation.name == "listConversations":
        assert answer.json()["data"] == []


@pytest.fixture(scope="module")
def theirs(service: Service) -> tuple[Headers, str]:
    """A user with a conversation, and the words of it, which are its name as well."""
    headers = visitor(service.http)
    ask(service, headers, "SOMETHING PRIVATE")
    return headers, "SOMETHING PRIVATE"


@pytest.mark.parametrize("conversation_id", ["x", "1%2F..%2F2", "1?x=y", "..", "-1", "1" * 65, "%00", "１"])
@pytest.mark.parametrize("operation", OF_ONE, ids=[operation.name for operation in OF_ONE])
def test_ids_are_digits(service: Service, upstream: Upstream, operation: Operation, conversation_id: str) -> None:
    ann = visitor(service.http)
    before = asked(upstream)
    path = operation.path.format_map({"conversation_id": conversation_id, "message_id": "1"})
    answer = operation.call(service.http, path, headers=ann)
    assert answer.status_code in (404, 405), answer.text
    assert_error(answer, answer.status_code)
    assert asked(upstream) == before


# Coze or the store away


# What an operation answers all the same: names are ours, and what Coze has lost is gone.
DESPITE = {("renameConversation", 503), ("renameConversation", 500), ("renameConversation", 404)}
DESPITE |= {("deleteConversation", 404)}


@pytest.mark.parametrize(
    ("fault", "status"),
    [({"kind": "html502"}, 503), ({"code": 4101, "status": 401}, 500), ({"code": 4002}, 404)],
    ids=str,
)
def test_while_coze_fails(
    service: Service, upstream: Upstream, ann: Headers, fault: dict[str, Any], status: int
) -> None:
    said = [ask(service, ann) for _ in OF_ONE]
    for turn, operation in zip(said, OF_ONE, strict=True):
        theirs = {"conversation_id": turn["conversation_id"], "message_id": turn["message_id"]}
        path = f"/v1/conversations/{turn['conversation_id']}"
        paths = (LIST, path, f"{path}/clear", f"{path}/messages/{turn['message_id']}/feedback")
        upstream.set(fail=dict.fromkeys(paths, fault))
        try:
            answer = operation.call(service.http, operation.path.format_map(theirs), headers=ann)
        finally:
            upstream.set(fail={})
        if (operation.name, status) in DESPITE:
            assert answer.status_code == 200
        else:
            assert_error(answer, status)


@pytest.fixture
def stored(upstream: Upstream, tmp_path: Path) -> Iterator[Service]:
    env = {"COZE_API_TOKEN": "pat_test", "COZE_API_BASE": upstream.url, "COZE_BOT_ID": BOT, "STORE": "store"}
    with running_service(tmp_path, **env) as service:
        yield service


def test_while_the_store_is_away_nothing_is_done(stored: Service, upstream: Upstream, tmp_path: Path) -> None:
    ann = visitor(stored.http)
    said = ask(stored, ann)
    theirs = {"conversation_id": said["conversation_id"], "message_id": said["message_id"]}
    (tmp_path / "store").rename(tmp_path / "gone")
    (tmp_path / "store").write_text("in its place")
    before = asked(upstream)
    for operation in OF_ONE:
        assert_error(operation.call(stored.http, operation.path.format_map(theirs), headers=ann), 503)
    assert asked(upstream) == before


def test_two_machines_on_one_server_have_the_same_users(
    valkey_server: ValkeyServer, upstream: Upstream, start: Start, tmp_path: Path
) -> None:
    store = valkey_server.uri()
    env = {"COZE_API_TOKEN": "pat_test", "COZE_API_BASE": upstream.url, "COZE_BOT_ID": BOT, "STORE": store}
    other = start(STORE=store)
    with running_service(tmp_path / "one", **env) as one:
        ann, bob = visitor(one.http), visitor(other.http)
        hers, his = (str(ask(machine, user)["conversation_id"]) for machine, user in ((other, ann), (one, bob)))
        for machine in (one, other):
            assert [chat["conversation_id"] for chat in listed(machine, ann)] == [hers]
            assert [chat["conversation_id"] for chat in listed(machine, bob)] == [his]
            assert_error(machine.http.get(f"{CHATS}/{hers}/messages", headers=bob), 404)
        assert other.http.patch(f"{CHATS}/{hers}", json={"name": "Hers"}, headers=ann).status_code == 200
        one.process.kill()
        one.process.wait()
    with running_service(tmp_path / "again", **env) as again:
        assert [chat["name"] for chat in listed(again, ann)] == ["Hers"]
        assert ask(again, ann, "More", conversation_id=hers)["conversation_id"] == hers
        assert again.http.delete(f"{CHATS}/{hers}", headers=ann).status_code == 200
        assert_error(other.http.get(f"{CHATS}/{hers}/messages", headers=ann), 404)
        assert [chat["conversation_id"] for chat in listed(other, bob)] == [his]
