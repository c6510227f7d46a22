"""A self-hosted Coze Studio in Coze's place: what it has works, what it lacks is said clearly."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from conftest import BOT, Service, Upstream, events_of, http, running_service, text_of, wait_until
from envelope import assert_error
from operations import Operation, each_operation

from service import sandbox

LACKING = {"getUserInfo", "listWorkspaces", "testConnection", "rateMessage", "unrateMessage"}
ABSENT = "This Coze server has no such endpoint, as is usual on a self-hosted Coze Studio."


@pytest.fixture(scope="module")
def studio() -> Iterator[Upstream]:
    with sandbox.running(delta_seconds=0, flavour="studio") as url:
        yield Upstream(url)


@pytest.fixture(scope="module")
def on_studio(studio: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("studio")
    with running_service(folder, COZE_API_TOKEN="pat_test", COZE_API_BASE=studio.url, COZE_BOT_ID=BOT) as running:
        yield running


def test_chat(on_studio: Service) -> None:
    plain = on_studio.chat("Hello").json()
    assert plain["success"] is True
    assert plain["data"]["content"]
    events = events_of(on_studio.chat("Hello", stream=True).text)
    assert [event["type"] for event in events[-2:]] == ["chat_completed", "end"]
    assert text_of(events) == plain["data"]["content"]


def test_two_turns(on_studio: Service) -> None:
    first = on_studio.chat("Hello").json()
    second = on_studio.chat("What did I ask before?", conversation_id=first["conversation_id"]).json()
    assert second["conversation_id"] == first["conversation_id"]


def test_a_workflow_that_asks_the_user(on_studio: Service, bots: dict[str, str]) -> None:
    asked = on_studio.chat("book me a trip", bot=bots["asks-as-studio"])
    assert asked.json()["data"]["content"] == "Which city do you want to go to?"
    assert "resume" not in asked.text
    conversation = asked.json()["conversation_id"]
    answer = on_studio.chat("Lijiang", bot=bots["asks-as-studio"], conversation_id=conversation, stream=True).text
    assert text_of(events_of(answer)) == "So you want to go to Lijiang."


def test_upload_gives_the_address_of_the_file(on_studio: Service) -> None:
    body = on_studio.http.post("/api/v1/upload", files={"file": ("a.txt", b"hello")}).json()
    assert body["success"] is True
    assert http.get(body["file_url"]).content == b"hello"


def test_health_is_good(on_studio: Service) -> None:
    answer = on_studio.http.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "healthy")


@each_operation("getFile")  # Studio's files are fetched from Studio
def test_what_it_has_and_what_it_lacks(on_studio: Service, operation: Operation) -> None:
    answer = operation.call(on_studio.http)
    if operation.name in LACKING:
        assert assert_error(answer, 503, retry=False) == ABSENT
    else:
        assert answer.status_code == 200, answer.text


def test_leaving_cancels(on_studio: Service, studio: Upstream, bots: dict[str, str]) -> None:
    body = {"user_id": "u", "bot_id": bots["for-ever"], "messages": [{"role": "user", "content": "x"}]}
    with pytest.raises(httpx.ReadTimeout):
        http.post(f"{on_studio.url}/api/v1/chat", json=body, timeout=0.5)
    wait_until(lambda: studio.state()["chats"][-1]["cancel_calls"] == 1)


def test_unknown_ids(on_studio: Service) -> None:
    assert on_studio.chat(bot="not-a-number").status_code == 400
    assert on_studio.chat(bot="7000000000000000000").status_code in (404, 503)
    assert on_studio.chat(bot="7000000000000000000", stream=True).status_code in (404, 503)


def test_a_token_it_does_not_take(studio: Upstream, tmp_path: Path) -> None:
    with running_service(tmp_path, COZE_API_TOKEN="wrong", COZE_API_BASE=studio.url, COZE_BOT_ID=BOT) as service:
        assert service.chat().status_code == 500
        assert service.http.post("/api/v1/upload", files={"file": ("a.txt", b"hello")}).status_code == 500
