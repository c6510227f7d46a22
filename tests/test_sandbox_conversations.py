"""The sandbox keeps conversations and their messages as Coze does, and as Coze Studio does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from coze_wire import (
    PNG,
    Json,
    body,
    bot,
    chat,
    code_of,
    events,
    fresh_client,
    objects,
    open_chat,
    said,
    text_of,
    until,
)

from service.sandbox import DEFAULT_BOT_ID, running
from service.sandbox.world import EXAMPLE_ANSWER, EXAMPLE_CHAT, EXAMPLE_CONVERSATION, EXAMPLE_QUESTION

OTHER = {"Authorization": "Bearer pat_other_1"}
FIELDS = {
    "id",
    "name",
    "created_at",
    "updated_at",
    "last_section_id",
    "creator_id",
    "connector_id",
    "meta_data",
}
MESSAGE = {
    "id",
    "conversation_id",
    "bot_id",
    "chat_id",
    "section_id",
    "role",
    "type",
    "content",
    "content_type",
    "meta_data",
    "created_at",
    "updated_at",
}
NO_SESSION = (401, {"code": 401, "msg": "missing session_key in cookie"})


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


def create(client: httpx.Client, **fields: Any) -> Json:
    data: Json = client.post("/v1/conversation/create", json={"bot_id": DEFAULT_BOT_ID, **fields}).json()["data"]
    return data


def filled(client: httpx.Client, turns: int, **fields: Any) -> str:
    """The id of a new conversation with so many questions and answers."""
    conversation_id = str(create(client, **fields)["id"])
    client.post(f"/sandbox/conversations/{conversation_id}/messages", json={"turns": turns}).raise_for_status()
    return conversation_id


def listed(client: httpx.Client, conversation_id: str, **fields: Any) -> Json:
    answer = client.post(
        "/v1/conversation/message/list", params={"conversation_id": conversation_id}, json=fields
    ).json()
    assert answer["code"] == 0, answer
    return dict(answer)


def contents(page: Json) -> list[str]:
    return [message["content"] for message in page["data"]]


def conversations(client: httpx.Client, **query: Any) -> Json:
    data: Json = client.get("/v1/conversations", params={"bot_id": DEFAULT_BOT_ID, **query}).json()["data"]
    return data


# --- conversations of the cloud


def test_a_conversation_is_created_and_retrieved(client: httpx.Client) -> None:
    made = create(client, name="n", meta_data={"k": "v"}, messages=said("one", "two"))
    assert made.keys() == FIELDS
    assert (made["name"], made["meta_data"], made["connector_id"]) == ("n", {"k": "v"}, "1024")
    assert made["last_section_id"] == made["id"]
    params = {"conversation_id": made["id"]}
    assert client.get("/v1/conversation/retrieve", params=params).json()["data"] == made
    assert contents(listed(client, made["id"])) == ["two", "one"]
    assert client.post("/v1/conversation/create").json()["data"]["meta_data"] == {}


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"name": "x" * 101}, 4000),
        ({"name": 1}, 4000),
        ({"bot_id": 1}, 4000),
        ({"bot_id": "1"}, 5000),
        ({"connector_id": 1}, 4000),
        ({"messages": said(*["x"] * 17)}, 4004),
        ({"meta_data": {"": "x"}}, 4003),
    ],
)
def test_a_bad_conversation_is_not_created(client: httpx.Client, fields: Json, code: int) -> None:
    assert code_of(client.post("/v1/conversation/create", json=fields)) == code


def test_conversations_are_listed_by_bot_newest_first(client: httpx.Client) -> None:
    made = [create(client)["id"] for _ in range(3)]
    create(client, bot_id=bot("0404"))
    create(client, bot_id=None)
    create(client, connector_id="999")
    client.post("/v1/conversation/create", json={"bot_id": DEFAULT_BOT_ID}, headers=OTHER)
    first = conversations(client, page_size=2)
    assert [row["id"] for row in first["conversations"]] == [made[2], made[1]]
    assert first["has_more"] is True
    assert all(row.keys() == FIELDS for row in first["conversations"])
    last = conversations(client, page_size=2, page_num=2)
    assert ([row["id"] for row in last["conversations"]], last["has_more"]) == ([made[0]], False)
    assert conversations(client, page_num=9) == {"conversations": [], "has_more": False}
    assert [row["id"] for row in conversations(client, sort_order="ASC")["conversations"]] == made
    assert len(conversations(client, connector_id="999")["conversations"]) == 1
    for bad in ({"page_size": 51}, {"page_num": 0}, {"sort_order": "up"}, {"connector_id": "7"}, {"bot_id": ""}):
        assert code_of(client.get("/v1/conversations", params={"bot_id": DEFAULT_BOT_ID, **bad})) == 4000


def test_a_chat_makes_a_conversation_with_a_name(client: httpx.Client) -> None:
    created = chat(client, "My cat is called Tom")[0][1]
    (row,) = conversations(client)["conversations"]
    assert (row["id"], row["name"]) == (created["conversation_id"], "My cat is called Tom")
    assert created["section_id"] == row["last_section_id"]
    chat(client, "And my dog?", conversation_id=row["id"])
    assert conversations(client)["conversations"][0]["name"] == "My cat is called Tom"


def test_a_conversation_is_renamed(client: httpx.Client) -> None:
    path = f"/v1/conversations/{create(client)['id']}"
    renamed = client.put(path, json={"name": "x" * 100}).json()["data"]
    assert renamed.keys() == FIELDS
    assert conversations(client)["conversations"] == [renamed]
    for bad in ({}, {"name": None}, {"name": ""}, {"name": "x" * 101}, {"name": 1}):
        assert code_of(client.put(path, json=bad)) == 4000
    assert code_of(client.put(path, content=b"x")) == 4000


def test_a_deleted_conversation_is_gone(client: httpx.Client) -> None:
    created = chat(client)[0][1]
    conversation_id = created["conversation_id"]
    ids = {"conversation_id": conversation_id, "chat_id": created["id"]}
    answer = client.delete(f"/v1/conversations/{conversation_id}").json()
    assert (answer["code"], "data" in answer) == (0, False)
    assert code_of(client.delete(f"/v1/conversations/{conversation_id}")) == 4002
    assert code_of(client.post("/v3/chat", params=ids, json=body())) == 4002
    assert code_of(client.post("/v1/conversation/message/list", params=ids)) == 4002
    assert code_of(client.get("/v3/chat/retrieve", params=ids)) == 4001
    assert conversations(client)["conversations"] == []


def test_clearing_opens_a_section_and_keeps_the_messages(client: httpx.Client) -> None:
    created = chat(client, "My cat is called Tom")[0][1]
    conversation_id = created["conversation_id"]
    section = client.post(f"/v1/conversations/{conversation_id}/clear").json()["data"]
    assert section["conversation_id"] == conversation_id
    assert section["id"] != created["section_id"]
    assert "first message" in text_of(chat(client, "What did I ask before?", conversation_id=conversation_id))
    page = listed(client, conversation_id)
    assert [message["section_id"] for message in page["data"]] == [section["id"]] * 2 + [created["section_id"]] * 2
    params = {"conversation_id": conversation_id}
    found = client.get("/v1/conversation/retrieve", params=params).json()["data"]
    assert found["last_section_id"] == section["id"]


def test_what_belongs_to_another_account_is_not_there(client: httpx.Client) -> None:
    created = chat(client)[0][1]
    ids = {"conversation_id": created["conversation_id"], "chat_id": created["id"]}
    message_id = listed(client, ids["conversation_id"])["data"][0]["id"]
    for conversation_id, headers in ((ids["conversation_id"], OTHER), ("1", {})):
        query = {"conversation_id": conversation_id, "message_id": message_id}
        path = f"/v1/conversations/{conversation_id}"
        for method, target, code in (
            ("GET", "/v1/conversation/retrieve", 4002),
            ("POST", "/v1/conversation/message/list", 4002),
            ("GET", "/v1/conversation/message/retrieve", 4002),
            ("PUT", path, 4002),
            ("DELETE", path, 4002),
            ("POST", f"{path}/clear", 4002),
            ("POST", f"{path}/messages/{message_id}/feedback", 4002),
            ("DELETE", f"{path}/messages/{message_id}/feedback", 4002),
            ("GET", "/v3/chat/retrieve", 4001),
            ("GET", "/v3/chat/message/list", 4001),
        ):
            params = {**query, "chat_id": ids["chat_id"]}
            answer = client.request(method, target, params=params, headers=headers)
            assert (answer.status_code, code_of(answer)) == (200, code), target
        asked = {"conversation_id": conversation_id}
        assert code_of(client.post("/v3/chat", params=asked, json=body(), headers=headers)) == 4002
        cancel = {**ids, "conversation_id": conversation_id}
        assert code_of(client.post("/v3/chat/cancel", json=cancel, headers=headers)) == 4001


# --- messages of the cloud


def test_messages_are_the_questions_and_answers_of_a_chat(client: httpx.Client) -> None:
    created = chat(client, "how is the weather?", bot("0404"))[0][1]
    page = listed(client, created["conversation_id"])
    assert [(message["role"], message["type"]) for message in page["data"]] == [
        ("assistant", "answer"),
        ("user", "question"),
    ]
    answer, question = page["data"]
    assert question.keys() == MESSAGE
    assert answer.keys() == MESSAGE - {"meta_data"}
    assert {question["chat_id"], answer["chat_id"]} == {created["id"]}
    assert isinstance(answer["created_at"], int)
    assert (page["first_id"], page["last_id"], page["has_more"]) == (answer["id"], question["id"], False)
    ids = {"conversation_id": created["conversation_id"], "chat_id": created["id"]}
    of_chat = client.get("/v3/chat/message/list", params=ids).json()["data"]
    assert {message["type"] for message in of_chat} == {
        "knowledge",
        "verbose",
        "function_call",
        "tool_response",
        "tool_output",
        "answer",
        "follow_up",
    }
    for message in (question, *of_chat):
        params = {"conversation_id": ids["conversation_id"], "message_id": message["id"]}
        assert client.get("/v1/conversation/message/retrieve", params=params).json()["data"] == message
    params = {"conversation_id": ids["conversation_id"], "message_id": "1"}
    assert code_of(client.get("/v1/conversation/message/retrieve", params=params)) == 4005


def test_pages_go_on_after_the_last_id(client: httpx.Client) -> None:
    conversation_id = filled(client, 5)
    seen: list[str] = []
    page = listed(client, conversation_id, limit=4)
    seen += contents(page)
    while page["has_more"]:
        page = listed(client, conversation_id, limit=4, after_id=page["last_id"])
        seen += contents(page)
    assert seen == [f"{kind} {n}" for n in range(5, 0, -1) for kind in ("Answer", "Question")]
    back = listed(client, conversation_id, limit=2, before_id=page["first_id"])
    assert (contents(back), back["has_more"]) == (["Answer 2", "Question 2"], True)
    assert len(contents(listed(client, conversation_id, after_id="0", before_id=None, chat_id=None))) == 10
    for bad in ({"limit": 51}, {"limit": 0}, {"limit": "2"}, {"limit": True}, {"order": "up"}):
        params = {"conversation_id": conversation_id}
        assert code_of(client.post("/v1/conversation/message/list", params=params, json=bad)) == 4000


def test_ascending_order_names_a_last_id_that_leads_nowhere(client: httpx.Client) -> None:
    conversation_id = filled(client, 2)
    page = listed(client, conversation_id, limit=2, order="asc")
    assert contents(page) == ["Question 1", "Answer 1"]
    assert (page["first_id"], page["last_id"]) == (page["data"][1]["id"], page["data"][0]["id"])
    params = {"conversation_id": conversation_id, "order": "asc", "limit": "1"}
    assert contents(client.get("/v1/conversation/message/list", params=params).json()) == ["Question 1"]


def test_a_list_of_one_chat_is_without_its_question(client: httpx.Client) -> None:
    conversation_id = filled(client, 2)
    chat_id = listed(client, conversation_id)["data"][0]["chat_id"]
    assert contents(listed(client, conversation_id, chat_id=chat_id)) == ["Answer 2"]


def test_an_empty_conversation_lists_nothing(client: httpx.Client) -> None:
    page = listed(client, create(client)["id"])
    assert (page["data"], page["has_more"], page["first_id"], page["last_id"]) == ([], False, "", "")


def test_a_question_with_files_comes_back_as_it_was_sent(client: httpx.Client) -> None:
    file_id = client.post("/v1/files/upload", files={"file": ("a.png", PNG)}).json()["data"]["id"]
    content = json.dumps([{"type": "text", "text": "what is it?"}, {"type": "image", "file_id": file_id}])
    asked = [{**objects(content), "meta_data": {"k": "v"}}]
    stream = events(client.post("/v3/chat", json=body(additional_messages=asked, meta_data={"c": "d"})).content)
    question = listed(client, stream[0][1]["conversation_id"])["data"][1]
    assert (question["content_type"], question["content"], question["meta_data"]) == (
        "object_string",
        content,
        {"k": "v"},
    )


def test_thoughts_are_listed_with_the_answer(client: httpx.Client) -> None:
    stream = chat(client, bot_id=bot("0405"))
    thoughts = "".join(
        data.get("reasoning_content", "") for name, data in stream if name == "conversation.message.delta"
    )
    answer = listed(client, stream[0][1]["conversation_id"])["data"][0]
    assert answer["reasoning_content"] == thoughts != ""
    completed = next(data for name, data in stream if name == "conversation.message.completed")
    assert (completed["type"], "reasoning_content" in completed) == ("answer", False)


def test_a_canceled_chat_leaves_its_question_and_is_no_context(client: httpx.Client) -> None:
    with open_chat(client, bot("0203"), "My cat is called Tom") as running_chat:
        ids = {"conversation_id": running_chat["conversation_id"], "chat_id": running_chat["id"]}
        client.post("/v3/chat/cancel", json=ids)
    assert contents(listed(client, ids["conversation_id"])) == ["My cat is called Tom"]
    answer = text_of(chat(client, "What did I ask before?", conversation_id=ids["conversation_id"]))
    assert "first message" in answer


@pytest.mark.parametrize(
    ("number", "left"),
    [("0321", ["hello"]), ("0322", ["hello"]), ("0311", ["hello"]), ("4028", [])],
)
def test_a_failed_chat_leaves_its_question(client: httpx.Client, number: str, left: list[str]) -> None:
    conversation_id = create(client)["id"]
    client.post("/v3/chat", params={"conversation_id": conversation_id}, json=body(bot_id=bot(number)))
    assert contents(listed(client, conversation_id)) == left


def test_messages_can_look_as_in_coze_s_samples(client: httpx.Client) -> None:
    conversation_id = filled(client, 1)
    client.post("/sandbox/settings", json={"sample_messages": True}).raise_for_status()
    answer, question = listed(client, conversation_id)["data"]
    for message in (answer, question):
        assert (message["type"], message["created_at"].isdecimal()) == ("", True)
    assert answer["chat_id"]
    assert (question["chat_id"], question["bot_id"]) == ("", "")


def test_the_conversation_of_the_examples_is_there(client: httpx.Client) -> None:
    page = listed(client, EXAMPLE_CONVERSATION)
    assert [(message["id"], message["type"]) for message in page["data"]] == [
        (EXAMPLE_ANSWER, "answer"),
        (EXAMPLE_QUESTION, "question"),
    ]
    assert {message["chat_id"] for message in page["data"]} == {EXAMPLE_CHAT}


# --- feedback


def test_feedback_is_given_and_taken_back(client: httpx.Client) -> None:
    conversation_id = filled(client, 1)
    answer, question = listed(client, conversation_id)["data"]
    path = f"/v1/conversations/{conversation_id}/messages/{answer['id']}/feedback"
    good = {"feedback_type": "unlike", "reason_types": ["x" * 30] * 10, "comment": "x" * 250}
    for given in (good, {"feedback_type": "like", "reason_types": None, "comment": None}):
        reply = client.post(path, json=given).json()
        assert (reply["code"], "data" in reply) == (0, False)
        (kept,) = client.get("/sandbox/state").json()["conversations"][0]["feedback"].values()
        assert kept == {name: value for name, value in given.items() if value is not None}
    for _ in range(2):
        assert code_of(client.delete(path)) == 0
        assert client.get("/sandbox/state").json()["conversations"][0]["feedback"] == {}
    for bad in (
        {},
        {"feedback_type": "meh"},
        {**good, "reason_types": ["x" * 31]},
        {**good, "reason_types": ["x"] * 11},
        {**good, "reason_types": [1]},
        {**good, "comment": "x" * 251},
    ):
        assert code_of(client.post(path, json=bad)) == 4000
    for message_id in (question["id"], "1"):
        other = f"/v1/conversations/{conversation_id}/messages/{message_id}/feedback"
        assert code_of(client.post(other, json=good)) == code_of(client.delete(other)) == 4005


# --- Coze Studio


def test_studio_creates_without_a_name(studio: httpx.Client) -> None:
    fields = {"name": "n", "messages": said("one"), "connector_id": "7", "user_id": "u1"}
    made = create(studio, **fields)
    assert made.keys() == {"id", "created_at", "meta_data", "last_section_id", "connector_id", "user_id"}
    assert (made["meta_data"], made["connector_id"], made["user_id"]) == (None, "1024", "u1")
    found = studio.get("/v1/conversation/retrieve", params={"conversation_id": made["id"]}).json()
    assert "data" not in found
    assert found["ConversationData"]["name"] == ""
    assert "creator_d" in found["ConversationData"]
    assert "data" not in listed(studio, made["id"])


def test_studio_pages_conversations_in_its_own_way(studio: httpx.Client) -> None:
    assert conversations(studio) == {"conversations": None, "has_more": False}
    made = [create(studio, user_id=f"u{n}")["id"] for n in range(3)]
    everything = conversations(studio)
    assert ([row["id"] for row in everything["conversations"]], everything["has_more"]) == ([made[2], made[1]], True)
    page = conversations(studio, page_size=2, page_num=2, sort_order="Asc")
    assert ([row["id"] for row in page["conversations"]], page["has_more"]) == ([made[2]], False)
    (row,) = conversations(studio, page_size=100, user_id="u1")["conversations"]
    assert (row["id"], row["user_id"]) == (made[1], "u1")
    chat(studio)
    assert conversations(studio, page_size=100, user_id="tester")["conversations"][0]["name"] == ""


def test_studio_renames_deletes_and_clears(studio: httpx.Client) -> None:
    created = chat(studio, "My cat is called Tom")[0][1]
    conversation_id = created["conversation_id"]
    path = f"/v1/conversations/{conversation_id}"
    assert studio.put(path, json={"name": "x" * 200}).json()["data"]["meta_data"] is None
    assert studio.put(path, json={"name": ""}).json()["data"]["name"] == "x" * 200
    section = studio.post(f"{path}/clear").json()["data"]
    assert section["id"] != created["section_id"]
    assert "first message" in text_of(chat(studio, "What did I ask before?", conversation_id=conversation_id))
    assert "data" not in studio.delete(path).json()
    assert conversations(studio, page_size=9)["conversations"] is None
    # It is only hidden.
    assert code_of(studio.delete(path)) == 0
    assert len(listed(studio, conversation_id)["data"]) == 4
    assert chat(studio, conversation_id=conversation_id)[0][1]["conversation_id"] == conversation_id


def test_studio_s_codes_tell_some_foreign_conversations_from_unknown_ones(studio: httpx.Client) -> None:
    conversation_id = chat(studio)[0][1]["conversation_id"]
    path = f"/v1/conversations/{conversation_id}"
    params = {"conversation_id": conversation_id}
    for method, target, code in (
        ("GET", "/v1/conversation/retrieve", 103000002),
        ("DELETE", path, 103000002),
        ("POST", f"{path}/clear", 103000002),
        ("PUT", path, 103000001),
        ("POST", "/v1/conversation/message/list", 103000001),
    ):
        answer = studio.request(method, target, params=params, headers=OTHER)
        assert (answer.status_code, code_of(answer)) == (200, code), target
        unknown = studio.request(method, target.replace(conversation_id, "1"), params={"conversation_id": "1"})
        assert code_of(unknown) == 103000002, target
        if target.startswith(path):
            odd = studio.request(method, target.replace(conversation_id, "abc"))
            assert (odd.status_code, odd.json()) == NO_SESSION
    refused = events(studio.post("/v3/chat", params=params, json=body(), headers=OTHER).content)
    assert (refused[0][0], refused[0][1]) == ("error", {"code": 103100001, "msg": "user not match"})


def test_studio_needs_numbers_for_ids(studio: httpx.Client) -> None:
    for query in ({"conversation_id": "abc"}, {}):
        for method, path in (("GET", "/v1/conversation/retrieve"), ("POST", "/v1/conversation/message/list")):
            answer = studio.request(method, path, params=query)
            assert (answer.status_code, code_of(answer)) == (400, 400)


def test_studio_has_no_feedback_and_retrieves_no_message(studio: httpx.Client) -> None:
    conversation_id = filled(studio, 1)
    answer = listed(studio, conversation_id)["data"][0]
    path = f"/v1/conversations/{conversation_id}/messages/{answer['id']}/feedback"
    for method, target in (("POST", path), ("DELETE", path), ("GET", "/v1/conversation/message/retrieve")):
        refused = studio.request(method, target)
        assert (refused.status_code, refused.json()) == NO_SESSION


def test_studio_pages_messages_by_time(studio: httpx.Client) -> None:
    conversation_id = filled(studio, 3)
    page = listed(studio, conversation_id, order="asc", limit=2)
    assert (contents(page), page["has_more"]) == (["Answer 3", "Question 3"], True)
    older = listed(studio, conversation_id, after_id=page["last_id"], limit=100)
    assert contents(older) == ["Answer 2", "Question 2", "Answer 1", "Question 1"]
    newer = listed(studio, conversation_id, before_id=older["last_id"], after_id=older["first_id"], limit=2)
    assert (contents(newer), newer["has_more"]) == (["Answer 1", "Question 2"], True)
    assert (newer["first_id"], newer["last_id"]) == (newer["data"][0]["id"], newer["data"][1]["id"])
    nothing = listed(studio, conversation_id, limit=0)
    assert ("data" in nothing, nothing["has_more"], nothing["first_id"]) == (False, True, "0")
    params = {"conversation_id": conversation_id}
    unknown = studio.post("/v1/conversation/message/list", params=params, json={"after_id": "1"})
    assert (unknown.status_code, code_of(unknown)) == (500, 500)
    first_turn = listed(studio, conversation_id)["data"][-1]["chat_id"]
    assert contents(listed(studio, conversation_id, chat_id=first_turn)) == ["Answer 1", "Question 1"]


def test_studio_skips_messages_of_the_same_time(studio: httpx.Client) -> None:
    conversation_id = create(studio)["id"]
    same = {"messages": [{"content": "one", "created_at": 1}, {"content": "two", "created_at": 1}]}
    added = studio.post(f"/sandbox/conversations/{conversation_id}/messages", json=same).json()["messages"]
    assert contents(listed(studio, conversation_id)) == ["two", "one"]
    assert "data" not in listed(studio, conversation_id, after_id=added[1])


def test_studio_shows_questions_in_its_own_way(studio: httpx.Client) -> None:
    uploaded = studio.post("/v1/files/upload", files={"file": ("a.png", PNG)}).json()["data"]
    first = json.dumps([{"type": "text", "text": "first"}, {"type": "image", "file_id": uploaded["id"]}])
    second = json.dumps([{"type": "text", "text": "second"}, {"type": "image", "file_url": "https://example.com/b"}])
    request = body(additional_messages=[objects(first), objects(second)], extra_params={"any": "key"})
    created = events(studio.post("/v3/chat", json=request).content)[0][1]
    answer, question, context = listed(studio, created["conversation_id"])["data"]
    assert (context["content"], context["content_type"]) == ("first", "object_string")
    assert context["chat_id"] not in ("", created["id"])
    text, image = json.loads(question["content"])
    assert (text["text"], image["name"], image["size"], image["file_url"]) == ("first", "a.png", 108, uploaded["url"])
    assert (question["chat_id"], question["meta_data"]) == (created["id"], {"any": "key"})
    assert (answer["reasoning_content"], "bot_state" in answer["meta_data"]) == ("", True)
    ids = {"conversation_id": created["conversation_id"], "chat_id": created["id"]}
    of_chat = studio.get("/v3/chat/message/list", params=ids).json()["Messages"]
    assert [(message["type"], message["content_type"]) for message in of_chat[:2]] == [
        ("question", "mix"),
        ("answer", "text"),
    ]


def test_studio_shows_a_chat_of_any_conversation(studio: httpx.Client) -> None:
    secret = chat(studio, "a secret")[0][1]
    theirs = studio.post("/v1/conversation/create", json={}, headers=OTHER).json()["data"]["id"]
    ids = {"conversation_id": theirs, "chat_id": secret["id"]}
    assert studio.get("/v3/chat/retrieve", params=ids, headers=OTHER).json()["data"]["id"] == secret["id"]
    assert "a secret" in studio.get("/v3/chat/message/list", params=ids, headers=OTHER).text
    assert code_of(studio.post("/v3/chat/cancel", json=ids, headers=OTHER)) == 103200003


def test_studio_s_canceled_chat_runs_to_its_end_and_stays(studio: httpx.Client) -> None:
    with studio.stream("POST", "/v3/chat", json=body("n=20 d=0.01", bot("0604"))) as answer:
        raw = answer.iter_raw()
        first = next(raw)
        created = json.loads(first.split(b"\n")[1][5:])
        ids = {"conversation_id": created["conversation_id"], "chat_id": created["id"]}
        studio.post("/v3/chat/cancel", json=ids)
        assert studio.get("/v3/chat/retrieve", params=ids).json()["data"]["status"] == "cancelled"
        for _ in raw:
            pass
    until(lambda: studio.get("/v3/chat/retrieve", params=ids).json()["data"]["status"] == "completed")
    assert [message["type"] for message in listed(studio, ids["conversation_id"])["data"]] == ["answer", "question"]
    assert "holds 2 messages" in text_of(chat(studio, "do you remember?", conversation_id=ids["conversation_id"]))
