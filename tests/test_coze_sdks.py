"""Coze's official SDKs, for Python and for JavaScript, work against the sandbox."""

from __future__ import annotations

import asyncio
import json
import time
import warnings
from collections.abc import Iterator

import authlib.deprecate
import httpx
import pydantic
import pytest
from conftest import ROOT, Upstream
from coze_wire import PNG, TOKEN, bot, code_of, fresh_client
from javascript import run_node
from joserfc.jwk import RSAKey

from service.sandbox import CANARY, DEFAULT_BOT_ID, running

with warnings.catch_warnings():  # cozepy imports a part of authlib that is on its way out
    warnings.filterwarnings("ignore", "authlib.jose module is deprecated", authlib.deprecate.AuthlibDeprecationWarning)
    import cozepy


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


# --- JavaScript


@pytest.mark.npm
def test_the_javascript_sdk(upstream: Upstream) -> None:
    upstream.reset()
    assert "agrees" in run_node("sandbox_sdk.mjs", upstream.url, needs="@coze/api")


@pytest.mark.npm
def test_npm_packages_are_pinned_and_come_from_the_public_registry() -> None:
    wanted = json.loads((ROOT / "tests" / "package.json").read_text())["devDependencies"]
    packages = json.loads((ROOT / "tests" / "package-lock.json").read_text())["packages"]
    assert packages.pop("")["devDependencies"] == wanted
    for name, version in wanted.items():
        assert packages[f"node_modules/{name}"]["version"] == version
    for package in packages.values():
        assert package["resolved"].startswith("https://registry.npmjs.org/")
        assert package["integrity"]


# --- Python

KINDS = ("Answer", "Question")  # newest first
QUESTION = [cozepy.Message.build_user_question_text("The sky is blue.")]


def read(stream: Iterator[cozepy.ChatEvent]) -> tuple[str, cozepy.Chat | None]:
    text, completed = "", None
    for event in stream:
        if event.event == cozepy.ChatEventType.CONVERSATION_MESSAGE_DELTA and event.message:
            text += event.message.content
        if event.event == cozepy.ChatEventType.CONVERSATION_CHAT_COMPLETED:
            completed = event.chat
    return text, completed


@pytest.fixture
def coze(cloud: str) -> Iterator[cozepy.Coze]:
    with cozepy.SyncHTTPClient() as http_client:  # type: ignore[no-untyped-call]
        yield cozepy.Coze(cozepy.TokenAuth(TOKEN), base_url=cloud, http_client=http_client)


def test_sdk_streams(coze: cozepy.Coze) -> None:
    text, completed = read(coze.chat.stream(bot_id=DEFAULT_BOT_ID, user_id="sdk", additional_messages=QUESTION))
    assert text == "You said: The sky is blue."
    assert completed is not None
    assert completed.status == cozepy.ChatStatus.COMPLETED
    assert completed.usage is not None
    assert completed.usage.token_count > 10


def test_sdk_polls(coze: cozepy.Coze) -> None:
    poll = coze.chat.create_and_poll(bot_id=DEFAULT_BOT_ID, user_id="sdk", additional_messages=QUESTION)
    assert poll.chat.status == cozepy.ChatStatus.COMPLETED
    assert poll.messages is not None
    assert "You said: The sky is blue." in [message.content for message in poll.messages]


def test_sdk_cancels(coze: cozepy.Coze) -> None:
    created = coze.chat.create(bot_id=bot("0203"), user_id="sdk", additional_messages=QUESTION)
    canceled = coze.chat.cancel(conversation_id=created.conversation_id, chat_id=created.id)
    assert canceled.status == cozepy.ChatStatus.CANCELED


def test_sdk_knows_the_account(coze: cozepy.Coze) -> None:
    assert coze.users.me().user_id
    workspaces = coze.workspaces.list(page_size=50)
    assert workspaces.total == len(workspaces.items) == 3
    bot_found = coze.bots.retrieve(bot_id=DEFAULT_BOT_ID, use_api_version=2)
    assert bot_found.name == coze.bots.retrieve(bot_id=DEFAULT_BOT_ID).name == "Sandbox bot"


def test_sdk_keeps_conversations_and_files(coze: cozepy.Coze) -> None:
    conversation = coze.conversations.create(messages=QUESTION, meta_data={"k": "v"})
    assert coze.conversations.retrieve(conversation_id=conversation.id).meta_data == {"k": "v"}
    messages = list(coze.conversations.messages.list(conversation_id=conversation.id, limit=1))
    assert [message.content for message in messages] == ["The sky is blue."]
    uploaded = coze.files.upload(file=("图 1.png", PNG))
    assert coze.files.retrieve(file_id=uploaded.id).file_name == uploaded.file_name == "图 1.png"
    parts = [
        cozepy.MessageObjectString.build_text("what?"),
        cozepy.MessageObjectString.build_image(file_id=uploaded.id),
    ]
    question = [cozepy.Message.build_user_question_objects(parts)]
    text, _ = read(
        coze.chat.stream(
            bot_id=DEFAULT_BOT_ID,
            user_id="sdk",
            conversation_id=conversation.id,
            additional_messages=question,
        )
    )
    assert "图 1.png (108 bytes, PNG image)" in text


def filled(client: httpx.Client, turns: int, **fields: object) -> str:
    """The id of a new conversation with so many questions and answers."""
    made = client.post("/v1/conversation/create", json={"bot_id": DEFAULT_BOT_ID, **fields}).json()["data"]
    client.post(f"/sandbox/conversations/{made['id']}/messages", json={"turns": turns}).raise_for_status()
    return str(made["id"])


def test_sdk_manages_conversations(client: httpx.Client, coze: cozepy.Coze) -> None:
    made = [coze.conversations.create(bot_id=DEFAULT_BOT_ID, name=f"n{number}") for number in range(3)]
    listed = coze.conversations.list(bot_id=DEFAULT_BOT_ID, page_size=2)
    assert [found.id for found in listed.items] == [made[2].id, made[1].id]
    assert [found.id for found in listed] == [found.id for found in reversed(made)], "over all pages"
    assert coze.conversations.update(conversation_id=made[0].id, name="new").name == "new"
    section = coze.conversations.clear(conversation_id=made[0].id)
    assert coze.conversations.retrieve(conversation_id=made[0].id).last_section_id == section.id
    coze.conversations.delete(conversation_id=made[0].id)
    with pytest.raises(cozepy.CozeAPIError) as caught:
        coze.conversations.retrieve(conversation_id=made[0].id)
    assert caught.value.code == 4002


def test_sdk_reads_messages_and_gives_feedback(client: httpx.Client, coze: cozepy.Coze) -> None:
    conversation_id = filled(client, 5)
    messages = coze.conversations.messages
    listed = list(messages.list(conversation_id=conversation_id, limit=4))
    assert [message.content for message in listed] == [f"{kind} {n}" for n in range(5, 0, -1) for kind in KINDS]
    assert {message.type for message in listed} == {cozepy.MessageType.QUESTION, cozepy.MessageType.ANSWER}
    answer = messages.retrieve(conversation_id=conversation_id, message_id=listed[0].id)
    assert answer.content == "Answer 5"
    ids = {"conversation_id": conversation_id, "message_id": answer.id}
    messages.feedback.create(**ids, feedback_type=cozepy.FeedbackType.LIKE, reason_types=["good"])
    kept = client.get("/sandbox/state").json()["conversations"][0]["feedback"]
    assert kept == {answer.id: {"feedback_type": "like", "reason_types": ["good"]}}
    messages.feedback.delete(**ids)
    assert client.get("/sandbox/state").json()["conversations"][0]["feedback"] == {}


def test_sdk_reads_bots(coze: cozepy.Coze) -> None:
    workspace = coze.workspaces.list().items[0]
    listed = coze.bots.list(space_id=workspace.id, use_api_version=2)
    assert len(listed.items) == 20 < listed.total
    for version in (1, 2):
        found = coze.bots.retrieve(bot_id=listed.items[0].id, use_api_version=version)
        assert found.name == listed.items[0].name
        assert found.onboarding_info is not None
        assert found.onboarding_info.prologue
        assert found.prompt_info is not None
        assert CANARY in found.prompt_info.prompt


def test_sdk_sees_coze_s_errors(coze: cozepy.Coze) -> None:
    with pytest.raises(cozepy.CozeAPIError) as caught:
        read(coze.chat.stream(bot_id=bot("4015"), user_id="sdk", additional_messages=QUESTION))
    assert caught.value.code == 4015
    assert caught.value.logid


def test_async_sdk(cloud: str) -> None:
    async def main() -> None:
        async with cozepy.AsyncHTTPClient() as http_client:  # type: ignore[no-untyped-call]
            coze = cozepy.AsyncCoze(cozepy.AsyncTokenAuth(TOKEN), base_url=cloud, http_client=http_client)
            text = ""
            async for event in coze.chat.stream(bot_id=DEFAULT_BOT_ID, user_id="sdk", additional_messages=QUESTION):
                if event.event == cozepy.ChatEventType.CONVERSATION_MESSAGE_DELTA and event.message:
                    text += event.message.content
            assert text == "You said: The sky is blue."
            created = await coze.chat.create(bot_id=bot("0203"), user_id="sdk", additional_messages=QUESTION)
            ids = {"conversation_id": created.conversation_id, "chat_id": created.id}
            assert (await coze.chat.retrieve(**ids)).status == cozepy.ChatStatus.IN_PROGRESS
            assert (await coze.chat.cancel(**ids)).status == cozepy.ChatStatus.CANCELED
            assert (await coze.users.me()).user_name
            assert (await coze.workspaces.list()).total == 3
            assert (await coze.conversations.create(meta_data={"k": "v"})).meta_data == {"k": "v"}
            assert (await coze.files.upload(file=("a.png", PNG))).bytes == 108

    asyncio.run(main())


def test_sdk_streams_from_studio(studio_url: str) -> None:
    with cozepy.SyncHTTPClient() as http_client:  # type: ignore[no-untyped-call]
        coze = cozepy.Coze(cozepy.TokenAuth(TOKEN), base_url=studio_url, http_client=http_client)
        text, _ = read(coze.chat.stream(bot_id=DEFAULT_BOT_ID, user_id="sdk", additional_messages=QUESTION))
        assert text == "You said: The sky is blue."
        assert coze.files.upload(file=("a.png", PNG)).bytes == 108


def test_sdk_and_studio_do_not_always_agree(studio_url: str) -> None:
    with cozepy.SyncHTTPClient() as http_client, fresh_client(studio_url) as studio:  # type: ignore[no-untyped-call]
        coze = cozepy.Coze(cozepy.TokenAuth(TOKEN), base_url=studio_url, http_client=http_client)
        conversation_id = filled(studio, 2, meta_data={"k": "v"})
        listed = coze.conversations.messages.list(conversation_id=conversation_id, limit=3)
        assert [message.content for message in listed] == [f"{kind} {n}" for n in (2, 1) for kind in KINDS]
        filled(studio, 0)
        with pytest.raises(pydantic.ValidationError):  # meta_data is null
            coze.conversations.list(bot_id=DEFAULT_BOT_ID)
        with pytest.raises(pydantic.ValidationError):  # not under `data`
            coze.conversations.retrieve(conversation_id=conversation_id)
        # response_format is a number
        with pytest.warns(UserWarning, match="ResponseFormat"), pytest.raises(AttributeError):
            coze.bots.retrieve(bot_id=DEFAULT_BOT_ID, use_api_version=2)
        assert coze.conversations.clear(conversation_id=conversation_id).conversation_id == conversation_id
        coze.conversations.delete(conversation_id=conversation_id)


def test_sdk_gets_tokens_with_a_key(client: httpx.Client, cloud: str) -> None:
    key = RSAKey.generate_key(2048)
    client.post("/sandbox/settings", json={"oauth_public_key": key.as_pem(private=False).decode()}).raise_for_status()
    app = cozepy.JWTOAuthApp("310000000002", key.as_pem(private=True).decode(), "fingerprint", base_url=cloud)
    # The SDK has no other way to close this client.
    with app._requester.sync_client, cozepy.SyncHTTPClient() as http_client:  # type: ignore[no-untyped-call]  # noqa: SLF001
        token = app.get_access_token(900)
        auth = cozepy.JWTAuth(oauth_app=app)
        assert cozepy.Coze(auth, base_url=cloud, http_client=http_client).users.me().user_id
    assert token.access_token.startswith("czs_")
    assert 800 < token.expires_in - time.time() <= 900
    assert client.get("/sandbox/state").json()["requests"]["POST /api/permission/oauth2/token"] == 2
    headers = {"Authorization": f"Bearer {token.access_token}"}
    assert client.get("/v1/users/me", headers=headers).status_code == 200
    client.post("/sandbox/revoke").raise_for_status()
    assert code_of(client.get("/v1/users/me", headers=headers)) == 4100
