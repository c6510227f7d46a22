"""Who the user is, and what is whose: visitors, the frontend's own users, backends, and those who only claim it."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import BOT, Service, Start, Upstream, ValkeyServer, events_of, running_service, wait_until
from envelope import assert_error
from joserfc import jwt
from joserfc.jwk import OctKey

SECRET = "a secret that has more than 32 bytes"
KEY = "key-of-a-backend"
CHATS = "/api/v1/conversations"
HELLO = {"messages": [{"role": "user", "content": "Hello"}]}
Headers = dict[str, str]


def token_of(user_id: str, **claims: Any) -> Headers:
    """The headers of a user of the frontend's own login."""
    signed = jwt.encode(
        {"alg": "HS256"}, {"sub": user_id, "exp": 2**31, **claims}, OctKey.import_key(SECRET), algorithms=["HS256"]
    )
    return {"Authorization": f"Bearer {signed}"}


def visitor(service: Service) -> tuple[Headers, str]:
    data = service.http.post("/api/v1/visitors").json()["data"]
    return {"Authorization": f"Bearer {data['token']}"}, data["user_id"]


def chat(service: Service, headers: Headers, content: str = "Hello", **fields: Any) -> httpx.Response:
    body = {"messages": [{"role": "user", "content": content}], **fields}
    return service.http.post("/api/v1/chat", json=body, headers=headers)


def listed(service: Service, headers: Headers, **params: Any) -> list[dict[str, Any]]:
    answer = service.http.get(CHATS, headers=headers, params=params)
    assert answer.status_code == 200, answer.text
    data: list[dict[str, Any]] = answer.json()["data"]
    return data


@pytest.fixture(scope="module")
def signed(start: Start) -> Service:
    """A service whose users sign in, and that a backend may call."""
    keys = f"shop:{hashlib.sha256(KEY.encode()).hexdigest()}"
    return start(USER_TOKEN_SECRET=SECRET, API_KEYS=keys, LOG_LEVEL="DEBUG")


BACKEND = {"Authorization": f"Bearer {KEY}"}


# Visitors


def test_a_visitor_talks_and_finds_the_conversation_again(service: Service, upstream: Upstream) -> None:
    headers, user_id = visitor(service)
    assert listed(service, headers) == []
    upstream.reset()
    answer = chat(service, headers, "  How do\nI begin?  " + "x" * 60)
    assert answer.json()["data"]["user_id"] == user_id
    (asked,) = upstream.state()["chats"]
    assert asked["user_id"] == user_id
    (found,) = listed(service, headers)
    assert found["conversation_id"] == answer.json()["conversation_id"]
    assert found["bot_id"] == BOT
    assert found["name"] == ("How do I begin? " + "x" * 60)[:60]
    assert found["created_at"] == found["updated_at"]
    again = chat(service, headers, "More", conversation_id=found["conversation_id"], stream=True)
    assert events_of(again.text)[0]["conversation_id"] == found["conversation_id"]
    (later,) = listed(service, headers)
    assert later["updated_at"] > found["updated_at"]
    assert {**later, "updated_at": found["updated_at"]} == found


def test_a_question_with_a_file_is_named_by_its_words(service: Service) -> None:
    headers, _ = visitor(service)
    upload = service.http.post("/api/v1/upload", files={"file": ("a.txt", b"1")}, headers=headers)
    parts = [{"type": "file", "file_id": upload.json()["file_id"]}, {"type": "text", "text": "What is it?"}]
    body = {"messages": [{"role": "user", "content": json.dumps(parts), "content_type": "object_string"}]}
    assert service.http.post("/api/v1/chat", json=body, headers=headers).status_code == 200
    assert [one["name"] for one in listed(service, headers)] == ["What is it?"]


def test_the_list_comes_in_pages_and_by_bot(service: Service, bots: dict[str, str]) -> None:
    headers, _ = visitor(service)
    made = [chat(service, headers, str(number)).json()["conversation_id"] for number in range(5)]
    other = chat(service, headers, "other", bot_id=bots["variables"]).json()["conversation_id"]
    expected = [other, *reversed(made)]
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(3):
        params: dict[str, Any] = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = service.http.get(CHATS, headers=headers, params=params).json()
        seen += [one["conversation_id"] for one in page["data"]]
        cursor = page["next_cursor"]
        # New ones do not disturb a list that is being read.
        chat(service, headers, "meanwhile")
    assert cursor is None
    assert seen == expected
    assert [one["conversation_id"] for one in listed(service, headers, bot_id=bots["variables"])] == [other]
    assert len(listed(service, headers)) == 9


@pytest.mark.parametrize(
    "params",
    [
        {"limit": 0},
        {"limit": 101},
        {"limit": "x"},
        {"limit": "1.0"},
        {"limit": ["1", "2"]},
        {"cursor": "?"},
        {"cursor": "AAAA"},
        {"cursor": "1." + "x" * 129},
        {"cursor": "1" * 16 + ".1"},
        {"bot_id": ""},
        {"bot_id": "1" * 129},
        {"user_id": ""},
        {"user_id": "x" * 256},
    ],
    ids=str,
)
def test_wrong_parameters(service: Service, params: dict[str, Any]) -> None:
    headers, _ = visitor(service)
    (name,) = params
    assert name in assert_error(service.http.get(CHATS, headers=headers, params=params), 400)


def test_a_token_that_was_tampered_with_proves_nothing(service: Service) -> None:
    headers, _ = visitor(service)
    bad = {"Authorization": headers["Authorization"][:-2] + "AA"}
    for answer in (service.http.get(CHATS, headers=bad), chat(service, bad, user_id="u")):
        assert_error(answer, 401)
        assert answer.headers["www-authenticate"] == 'Bearer realm="coze-service", error="invalid_token"'


def test_visitors_go_on_after_a_restart_and_with_a_second_worker(upstream: Upstream, tmp_path: Path) -> None:
    env = {"COZE_API_TOKEN": "pat_test", "COZE_API_BASE": upstream.url, "COZE_BOT_ID": BOT}
    with running_service(tmp_path, **env) as before:
        headers, _ = visitor(before)
        conversation_id = chat(before, headers).json()["conversation_id"]
        before.process.kill()
        before.process.wait()
    with running_service(tmp_path, WORKERS="2", **env) as after:
        for _ in range(6):
            assert [one["conversation_id"] for one in listed(after, headers)] == [conversation_id]


@pytest.mark.parametrize("first", [0, 1])
def test_a_store_that_has_lost_everything_splits_no_visitors(
    upstream: Upstream, valkey_server: ValkeyServer, start: Start, first: int
) -> None:
    """Both machines know the same visitors again, whichever of them is asked first afterwards."""
    here, there = (start(STORE=valkey_server.uri()) for _ in range(2))
    before, _ = visitor(here)
    assert listed(here, before) == []
    valkey_server.client.flushall()
    for machine in ((here, there), (there, here))[first]:
        headers, _ = visitor(machine)
        assert [listed(service, headers) for service in (there, here, there)] == [[]] * 3
    answers = [service.http.get(CHATS, headers=before).status_code for service in (here, there, here)]
    assert answers == [200 if first == 0 else 401] * 3


# Somebody else's


@pytest.fixture(scope="module")
def theirs(service: Service) -> tuple[str, str]:
    """A conversation and a file of a visitor's."""
    headers, _ = visitor(service)
    upload = service.http.post("/api/v1/upload", files={"file": ("a.txt", b"1")}, headers=headers)
    return chat(service, headers).json()["conversation_id"], upload.json()["file_id"]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("proven", [True, False])
def test_what_is_another_user_s_is_not_there(
    service: Service, upstream: Upstream, theirs: tuple[str, str], proven: bool, stream: bool
) -> None:
    headers, fields = (visitor(service)[0], {}) if proven else ({}, {"user_id": "u"})
    conversation_id, file_id = theirs
    upstream.reset()
    answer = chat(service, headers, conversation_id=conversation_id, stream=stream, **fields)
    unknown = chat(service, headers, conversation_id="7000000000000000001", stream=stream, **fields)
    assert assert_error(answer, 404) == assert_error(unknown, 404)
    asked = upstream.state()["requests"]["POST /v3/chat"]
    assert asked == 1, "only of the one that nobody is known to own"
    for text in ("?", "half an emoji \ud83d"):
        content = json.dumps([{"type": "file", "file_id": file_id}, {"type": "text", "text": text}])
        body = {"messages": [{"role": "user", "content": content, "content_type": "object_string"}], **fields}
        assert_error(service.http.post("/api/v1/chat", json={**body, "stream": stream}, headers=headers), 404)
    assert upstream.state()["requests"]["POST /v3/chat"] == asked


# As servers read a number.
SPELLINGS = ["0{}", "000{}", "+{}", " {}", "{} ", "{}\n", "\u00a0{}", "{}.0", "{}_"]


@pytest.mark.parametrize("spelling", [*SPELLINGS, "full width"])
@pytest.mark.parametrize("proven", [True, False])
def test_another_spelling_of_its_id_opens_nothing(
    service: Service, upstream: Upstream, theirs: tuple[str, str], proven: bool, spelling: str
) -> None:
    headers, fields = (visitor(service)[0], {}) if proven else ({}, {"user_id": "u"})
    conversation_id, file_id = (
        "".join(chr(0xFF10 + int(digit)) for digit in name) if spelling == "full width" else spelling.format(name)
        for name in theirs
    )
    upstream.reset()
    unknown = assert_error(chat(service, headers, conversation_id="7000000000000000001", **fields), 404)
    assert assert_error(chat(service, headers, conversation_id=conversation_id, **fields), 404) == unknown
    content = json.dumps([{"type": "file", "file_id": file_id}, {"type": "text", "text": "?"}])
    body = {"messages": [{"role": "user", "content": content, "content_type": "object_string"}], **fields}
    assert_error(service.http.post("/api/v1/chat", json=body, headers=headers), 404)
    assert upstream.state()["requests"]["POST /v3/chat"] == 1, "only of the one that nobody is known to own"


def test_claimed_users_do_as_before(service: Service) -> None:
    first = service.chat().json()["conversation_id"]
    assert service.chat(conversation_id=first).status_code == 200
    assert_error(service.http.get(CHATS, params={"user_id": "tester"}), 401)
    assert "user_id" in assert_error(service.http.post("/api/v1/chat", json=HELLO), 400)
    # Some proxies send one along, which nobody here asked for.
    assert service.http.get("/api/v1/config", headers={"Authorization": "Bearer of-another-service"}).status_code == 200


# Users who sign in, and backends


def test_a_signed_in_user_needs_no_user_id(signed: Service) -> None:
    ann, bob = token_of("ann"), token_of("bob")
    answer = chat(signed, ann)
    assert answer.json()["data"]["user_id"] == "ann"
    assert chat(signed, ann, user_id="ann").status_code == 200
    assert_error(chat(signed, ann, user_id="bob"), 403)
    assert len(listed(signed, ann)) == 2
    assert listed(signed, bob) == []
    assert_error(signed.http.get(CHATS, headers=ann, params={"user_id": "bob"}), 403)
    upload: dict[str, Any] = {"files": {"file": ("a.txt", b"1")}, "headers": ann}
    assert_error(signed.http.post("/api/v1/upload?user_id=bob", **upload), 403)
    assert signed.http.post("/api/v1/upload?user_id=ann", **upload).status_code == 200


def test_a_backend_is_believed(signed: Service) -> None:
    carol = chat(signed, BACKEND, user_id="carol").json()["conversation_id"]
    chat(signed, BACKEND, user_id="dave")
    assert [one["conversation_id"] for one in listed(signed, BACKEND, user_id="carol")] == [carol]
    assert [one["conversation_id"] for one in listed(signed, token_of("carol"))] == [carol]
    assert_error(chat(signed, BACKEND, user_id="dave", conversation_id=carol), 404)
    assert chat(signed, token_of("carol"), conversation_id=carol).status_code == 200
    assert "user_id" in assert_error(signed.http.get(CHATS, headers=BACKEND), 400)
    assert "user_id" in assert_error(chat(signed, BACKEND), 400)
    assert signed.http.post("/api/v1/upload", files={"file": ("a.txt", b"1")}, headers=BACKEND).status_code == 200


def test_without_proof_nothing_is_served(signed: Service) -> None:
    for answer in (signed.http.get("/api/v1/config"), chat(signed, {}, user_id="u"), signed.http.get(CHATS)):
        assert_error(answer, 401)
    assert_error(signed.http.post("/api/v1/visitors"), 404)
    ann = token_of("ann")["Authorization"].removeprefix("Bearer ")
    assert_error(signed.http.get(CHATS, params={"access_token": ann, "authorization": f"Bearer {ann}"}), 401)
    two = [*token_of("ann").items(), *token_of("bob").items()]
    assert_error(signed.http.get(CHATS, headers=two), 401)
    assert_error(signed.http.get(CHATS, headers=token_of("ann", exp=1)), 401)
    assert_error(signed.http.get(CHATS, headers={"Authorization": "Bearer a.b.c"}), 401)


def test_a_token_may_come_twice(signed: Service, service: Service) -> None:
    # openapi-generator's Rust sends it for each scheme of the contract.
    ann = token_of("ann")["Authorization"]
    assert signed.http.get(CHATS, headers=[("Authorization", ann), ("Authorization", ann)]).status_code == 200
    headers, _ = visitor(service)
    assert service.http.get(CHATS, headers=[*headers.items(), *headers.items()]).status_code == 200


def test_no_token_and_no_user_is_in_the_log(signed: Service) -> None:
    user = "user-who-must-not-be-named"
    headers = token_of(user)
    chat(signed, headers, stream=True)
    listed(signed, headers)
    listed(signed, BACKEND, user_id=user)
    assert_error(signed.http.get(CHATS, headers={"Authorization": headers["Authorization"] + "x"}), 401)
    token = headers["Authorization"].removeprefix("Bearer ")
    wait_until(lambda: '"cause":"token: ' in signed.output().replace('": "', '":"'))
    assert user not in signed.output()
    assert token not in signed.output()
    figures = signed.http.get("/metrics").text
    assert user not in figures
    assert 'calls_total{caller="user"}' in figures
    assert 'calls_total{caller="backend"}' in figures


def test_limits_count_by_user(start: Start) -> None:
    service = start(
        USER_TOKEN_SECRET=SECRET, ENABLE_RATE_LIMIT="true", RATE_LIMIT_REQUESTS="2", RATE_LIMIT_WINDOW="3600"
    )
    ann, bob = token_of("ann"), token_of("bob")
    statuses = [service.http.get(CHATS, headers=headers).status_code for headers in (ann, ann, ann, bob, bob, bob)]
    assert statuses == [200, 200, 429, 200, 200, 429]
    # What proves nothing counts by its address.
    wrong = {"Authorization": "Bearer a.b.c"}
    assert [service.http.get(CHATS, headers=wrong).status_code for _ in range(3)] == [401, 401, 429]


# The store


@pytest.fixture
def stored(upstream: Upstream, tmp_path: Path) -> Iterator[Service]:
    env = {"COZE_API_TOKEN": "pat_test", "COZE_API_BASE": upstream.url, "COZE_BOT_ID": BOT, "STORE": "store"}
    with running_service(tmp_path, **env) as service:
        yield service


def test_while_the_store_is_away(stored: Service, tmp_path: Path) -> None:
    headers, _ = visitor(stored)
    conversation_id = chat(stored, headers).json()["conversation_id"]
    (tmp_path / "store").rename(tmp_path / "gone")
    (tmp_path / "store").write_text("in its place")
    # A first turn goes on; whatever needs to know an owner waits.
    first = chat(stored, headers, stream=True)
    assert events_of(first.text)[-1] == {"type": "end"}
    for answer in (stored.http.get(CHATS, headers=headers), chat(stored, headers, conversation_id=conversation_id)):
        assert_error(answer, 503)
    assert stored.chat().status_code == 200
    (tmp_path / "store").unlink()
    (tmp_path / "gone").rename(tmp_path / "store")
    assert [one["conversation_id"] for one in listed(stored, headers)] == [conversation_id]
    # The next turn in it repairs what is missing.
    missing = events_of(first.text)[0]["conversation_id"]
    assert chat(stored, headers, conversation_id=missing).status_code == 200
    assert {one["conversation_id"] for one in listed(stored, headers)} == {conversation_id, missing}


def test_without_a_store_there_is_the_document_s_api_alone(start: Start) -> None:
    service = start(STORE="off", USER_TOKEN_SECRET=SECRET)
    ann = token_of("ann")
    assert chat(service, ann).status_code == 200
    assert "STORE" in assert_error(service.http.get(CHATS, headers=ann), 503, retry=False)
