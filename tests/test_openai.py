"""OpenAI's form of a chat, by OpenAI's own SDK for Python, unmodified."""

import base64
import hashlib
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import openai
import pytest
from conftest import BOT, Service, Start, Upstream, http, wait_until
from envelope import STATUSES, assert_error
from openai import OpenAI
from openai.types.chat import ChatCompletionChunk
from operations import OPERATIONS
from playground import picture
from test_faults import CODES, FAIL_FIRST, FAIL_LATER, GOOD

CHAT = "/openai/v1/chat/completions"
PICTURE = picture()["buffer"]
HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
EXAMPLES = OPERATIONS["createChatCompletion"].about["requestBody"]["content"]["application/json"]["examples"]
ERRORS = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    413: openai.APIStatusError,
    429: openai.RateLimitError,
    500: openai.InternalServerError,
    503: openai.InternalServerError,
}
# These say nothing for so long that only an impatient service answers soon.
SILENT = {"hang", "hang-after-headers", "stall", "stall-after-start"}
# These refuse the question: it was not asked.
REFUSALS = {"code-4020", "code-4016", "429", "429-retry-after", "code-odd-body", "error-first-4016"}


def sdk(service: Service, key: str = "sk-anything", **options: Any) -> OpenAI:
    return OpenAI(base_url=f"{service.url}/openai/v1", api_key=key, **{"max_retries": 0, **options})


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[OpenAI]:
    with sdk(service) as made:
        yield made


@pytest.fixture(scope="module")
def impatient(start: Start) -> Iterator[OpenAI]:
    service = start(
        COZE_FIRST_EVENT_TIMEOUT="2", COZE_EVENT_TIMEOUT="2", COZE_CHAT_TIMEOUT="20", HEARTBEAT_INTERVAL="0.3"
    )
    with sdk(service) as made:
        yield made


def ask(client: OpenAI, content: Any = "Hello", model: str = "default", **options: Any) -> Any:
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": content}], **options)


def text_of(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def asked(upstream: Upstream) -> list[dict[str, Any]]:
    """What Coze was asked in the newest chat: its messages."""
    (chat,) = upstream.state(1)["chats"]
    messages: list[dict[str, Any]] = chat["messages"]
    return messages


# The answer


def test_a_completion_has_all_that_clients_look_for(client: OpenAI, service: Service) -> None:
    answer = ask(client)
    own = service.chat().json()
    assert answer.id.startswith("chatcmpl-")
    assert (answer.object, answer.model, answer.system_fingerprint) == (
        "chat.completion",
        "default",
        f"coze-service-{service.http.get('/').json()['version']}",
    )
    assert answer.created > 1_700_000_000
    (choice,) = answer.choices
    assert (choice.index, choice.finish_reason, choice.logprobs) == (0, "stop", None)
    assert (choice.message.role, choice.message.refusal) == ("assistant", None)
    assert choice.message.content == own["data"]["content"]
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.conversation_id.isdigit()


def test_a_stream_says_the_same(client: OpenAI) -> None:
    whole = ask(client)
    chunks = list(ask(client, stream=True))
    assert text_of(chunks) == whole.choices[0].message.content
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert len({(chunk.id, chunk.created, chunk.model, chunk.conversation_id) for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks[-2:]] == [None, "stop"]
    assert all(chunk.usage is None for chunk in chunks)


def test_a_stream_has_the_usage_where_that_is_asked_for(client: OpenAI, bots: dict[str, str]) -> None:
    *chunks, last = ask(client, stream=True, stream_options={"include_usage": True})
    assert last.choices == []
    assert last.usage == ask(client).usage
    assert all(chunk.choices for chunk in chunks)
    # Coze gives none here, and none is made up.
    assert ask(client, model=bots["odd-chat"]).usage is None
    without = list(ask(client, model=bots["odd-chat"], stream=True, stream_options={"include_usage": True}))
    assert all(chunk.choices and chunk.usage is None for chunk in without)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_contract_s_examples_can_be_sent_as_they_are(client: OpenAI, service: Service, name: str) -> None:
    body = EXAMPLES[name]["value"]
    if "conversation_id" in body:
        body = {**body, "conversation_id": ask(client).conversation_id}
    answer = service.http.post(CHAT, json=body)
    assert answer.status_code == 200, answer.text


def test_the_bytes_of_a_stream(service: Service) -> None:
    body = {"model": "default", "messages": HELLO, "stream": True}
    answer = service.http.post(CHAT, json=body)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    *events, done, rest = answer.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    assert all(json.loads(event.removeprefix("data: "))["choices"] for event in events)


def test_thinking(client: OpenAI, bots: dict[str, str]) -> None:
    for name in ("reasoning", "late-thoughts"):
        message = ask(client, model=bots[name]).choices[0].message
        assert message.reasoning_content
        chunks = [chunk.choices[0].delta for chunk in ask(client, model=bots[name], stream=True)]
        assert "".join(getattr(delta, "reasoning_content", "") for delta in chunks) == message.reasoning_content
        assert "".join(delta.content or "" for delta in chunks) == message.content


# The model


def test_models(start: Start, bots: dict[str, str]) -> None:
    service = start(BOTS=f"helper:{BOT},thinker:{bots['reasoning']},also-helper:{BOT}")
    with sdk(service) as client:
        found = list(client.models.list())
        assert [model.id for model in found] == ["default", "helper", "thinker"]
        assert {(model.object, model.owned_by, model.created) for model in found} == {("model", "coze", 0)}
        for name in ("default", "helper", "also-helper", BOT, bots["reasoning"]):
            assert client.models.retrieve(name).id == name
            assert ask(client, model=name).model == name
        assert ask(client, model="thinker").choices[0].message.reasoning_content
        for name in ("gpt-4o", "Helper", bots["tools"], "7000000000000000000"):
            for use in (client.models.retrieve, partial(ask, client)):
                with pytest.raises(openai.NotFoundError) as raised:
                    use(model=name)
                assert (raised.value.code, raised.value.param) == ("model_not_found", "model")


def test_a_service_without_names_has_every_bot_of_its_account(
    client: OpenAI, upstream: Upstream, bots: dict[str, str]
) -> None:
    assert [model.id for model in client.models.list()] == ["default"]
    assert client.models.retrieve(bots["reasoning"]).id == bots["reasoning"]
    before = upstream.state(0)["requests"].get("POST /v3/chat", 0)
    for name in ("gpt-4o", "../x", " ", "9" * 20):
        with pytest.raises(openai.NotFoundError) as raised:
            ask(client, model=name)
        assert raised.value.code == "model_not_found"
    assert upstream.state(0)["requests"].get("POST /v3/chat", 0) == before
    for use in (client.models.retrieve, partial(ask, client)):
        with pytest.raises(openai.NotFoundError) as raised:
            use(model="7000000000000000000")
        assert raised.value.code == "model_not_found"


def test_without_a_default_bot(start: Start, bots: dict[str, str]) -> None:
    with sdk(start(COZE_BOT_ID="", BOTS=f"thinker:{bots['reasoning']}")) as client:
        assert [model.id for model in client.models.list()] == ["thinker"]
        for use in (client.models.retrieve, partial(ask, client)):
            with pytest.raises(openai.NotFoundError):
                use(model="default")
    with sdk(start(COZE_BOT_ID="", BOTS=f"default:{bots['reasoning']}")) as client:
        assert [model.id for model in client.models.list()] == ["default"]
        assert ask(client).choices[0].message.reasoning_content


# Messages


def test_roles_are_a_chat_s(client: OpenAI, upstream: Upstream) -> None:
    client.chat.completions.create(
        model="default",
        messages=[
            {"role": "system", "content": "One."},
            {"role": "user", "content": [{"type": "text", "text": "Two."}, {"type": "text", "text": "Three."}]},
            {
                "role": "assistant",
                "content": [{"type": "text", "text": "Four."}, {"type": "refusal", "refusal": "No."}],
            },
            {"role": "assistant", "content": None},  # as with calls of tools
            {"role": "user", "content": "Five?", "name": "somebody"},
            {"role": "developer", "content": "Six."},
        ],
    )
    assert [(message["role"], message["content"], message["content_type"]) for message in asked(upstream)] == [
        ("user", "One.", "text"),
        ("user", "Two.\nThree.", "text"),
        ("assistant", "Four.\nNo.", "text"),
        ("user", "Six.", "text"),
        ("user", "Five?", "text"),
    ]


@pytest.mark.parametrize("where", ["beside", "metadata", "both"])
def test_a_conversation_goes_on(client: OpenAI, upstream: Upstream, where: str) -> None:
    first = ask(client)
    places: dict[str, Any] = {
        "beside": {"extra_body": {"conversation_id": first.conversation_id}},
        "metadata": {"metadata": {"conversation_id": first.conversation_id, "other": "x"}},
        "both": {"extra_body": {"conversation_id": first.conversation_id}, "metadata": {"conversation_id": "1"}},
    }
    history: list[Any] = [*HELLO, {"role": "assistant", "content": "Hi."}, {"role": "user", "content": "And now?"}]
    again = client.chat.completions.create(model="default", messages=history, **places[where])
    assert again.conversation_id == first.conversation_id
    assert [message["content"] for message in asked(upstream)] == ["And now?"]
    # Without it, all of it goes along.
    client.chat.completions.create(model="default", messages=history)
    assert [message["content"] for message in asked(upstream)] == ["Hello", "Hi.", "And now?"]


def test_more_messages_than_coze_takes(client: OpenAI) -> None:
    history: list[Any] = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}] * 50
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(model="default", messages=[*history, *HELLO])
    assert raised.value.code == "too_many_messages"
    conversation = ask(client).conversation_id
    answer = client.chat.completions.create(
        model="default", messages=[*history, *HELLO], extra_body={"conversation_id": conversation}
    )
    assert answer.choices[0].message.content


def data_url(content: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, "detail": "low"}}


WHAT: dict[str, Any] = {"type": "text", "text": "What is it?"}


@pytest.mark.parametrize("stream", [False, True])
def test_a_picture_is_uploaded(client: OpenAI, upstream: Upstream, stream: bool) -> None:
    content = PICTURE
    answer = ask(client, [WHAT, image(data_url(content))], stream=stream)
    said = text_of(list(answer)) if stream else answer.choices[0].message.content
    assert f"image.png ({len(content)} bytes, PNG image)" in said
    (question,) = asked(upstream)
    assert question["content_type"] == "object_string"
    text, part = json.loads(question["content"])
    assert (text, part["type"], "file_url" in part) == (WHAT, "image", False)
    found = next(file for file in upstream.state()["uploads"] if file["id"] == part["file_id"])
    assert found["sha256"] == hashlib.sha256(content).hexdigest()


def test_other_files(client: OpenAI, service: Service, upstream: Upstream) -> None:
    file_id = service.http.post("/api/v1/upload", files={"file": ("a.csv", b"a,b")}).json()["file_id"]
    parts: list[dict[str, Any]] = [
        image("https://example.com/cat.png"),
        {"type": "file", "file": {"file_id": file_id}},
        {"type": "file", "file": {"file_data": data_url(b"c,d", "text/csv"), "filename": "c,d.csv"}},
        {"type": "file", "file": {"file_data": base64.b64encode(b"e").decode(), "filename": "e.txt"}},
        {"type": "file", "file": {"file_data": data_url(b"%PDF-1.7", "application/pdf")}},
        {"type": "input_audio", "input_audio": {"data": base64.b64encode(b"RIFF").decode(), "format": "wav"}},
    ]
    before = {file["id"] for file in upstream.state()["uploads"]}
    ask(client, [*parts, WHAT])
    sent = json.loads(asked(upstream)[0]["content"])
    assert [part["type"] for part in sent] == ["text", "image", "file", "file", "file", "file", "audio"]
    assert sent[1] == {"type": "image", "file_url": "https://example.com/cat.png"}
    assert sent[2] == {"type": "file", "file_id": file_id}
    names = {file["id"]: file["name"] for file in upstream.state()["uploads"] if file["id"] not in before}
    assert [names.pop(part["file_id"]) for part in sent[3:]] == ["c,d.csv", "e.txt", "file.pdf", "audio.wav"]
    assert not names


def test_files_that_coze_has_in_the_conversation_are_not_sent_again(client: OpenAI, upstream: Upstream) -> None:
    question: list[Any] = [{"role": "user", "content": [WHAT, image(data_url(PICTURE))]}]
    first = client.chat.completions.create(model="default", messages=question)
    before = len(upstream.state()["uploads"])
    history: list[Any] = [*question, {"role": "assistant", "content": "A picture."}, *HELLO]
    conversation = {"conversation_id": first.conversation_id}
    client.chat.completions.create(model="default", messages=history, extra_body=conversation)
    assert len(upstream.state()["uploads"]) == before


GOOD_BASE64 = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(100)).decode()
WRONG_PARTS: dict[str, dict[str, Any]] = {
    "broken base64": image(f"data:image/png;base64,{GOOD_BASE64[:-1]}"),
    "padding within base64": image(f"data:image/png;base64,AA==AAAA{GOOD_BASE64}"),
    "no base64 at all": image("data:image/png;base64,你好"),
    "spaces in base64": image(f"data:image/png;base64, {GOOD_BASE64}"),
    "not in base64": image("data:image/png,hello"),
    "nothing": image("data:image/png;base64,"),
    "no picture": image(data_url(b"hello", "text/plain")),
    "a picture that is a program": image(data_url(b"<svg/>", "image/svg+xml")),
    "no media type": image(f"data:;base64,{GOOD_BASE64}"),
    "bytes of another type": image(data_url(b"GIF89a")),
    "another scheme": image("file:///etc/passwd"),
    "an empty address": image(""),
    "an address as text": {"type": "image_url", "image_url": "https://example.com/cat.png"},
    "an unknown part": {"type": "video_url", "video_url": {"url": "https://example.com/cat.mp4"}},
    "a file without anything": {"type": "file", "file": {}},
    "a file with a name that hides": {"type": "file", "file": {"file_data": "AAAA", "filename": "a\u202etxt.exe"}},
    "a recording of no known format": {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "exe"}},
    "a recording of no base64": {"type": "input_audio", "input_audio": {"data": "?", "format": "wav"}},
}


@pytest.mark.parametrize("name", WRONG_PARTS)
def test_a_wrong_part_is_refused(client: OpenAI, upstream: Upstream, name: str) -> None:
    before = upstream.state(0)["requests"].get("POST /v3/chat", 0)
    with pytest.raises(openai.BadRequestError) as raised:
        ask(client, [WHAT, WRONG_PARTS[name]])
    assert len(raised.value.message) < 600
    assert upstream.state(0)["requests"].get("POST /v3/chat", 0) == before


def test_files_are_bounded(client: OpenAI, upstream: Upstream) -> None:
    before = upstream.state(0)["requests"]
    most = 10 * 1024**2
    with pytest.raises(openai.APIStatusError) as raised:
        ask(client, [WHAT, image("data:image/png;base64," + "A" * (most // 3 * 4 + 8))])
    assert (raised.value.status_code, raised.value.code) == (413, "file_too_large")
    with pytest.raises(openai.APIStatusError) as raised:
        ask(client, [WHAT, image("data:image/png;base64," + "A" * (16 * 1024**2))])
    assert (raised.value.status_code, raised.value.code) == (413, "body_too_large")
    with pytest.raises(openai.BadRequestError):
        ask(client, [WHAT, *[image(f"data:image/png;base64,{GOOD_BASE64}")] * 21])
    assert upstream.state(0)["requests"] == before
    whole = b"\x89PNG\r\n\x1a\n".ljust(most, b"\0")
    assert str(most) in ask(client, [WHAT, image(data_url(whole))]).choices[0].message.content


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"n": 0}, "n"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]}, "messages[0].role"),
        ({"messages": [*HELLO, {"role": "function", "content": "x", "name": "f"}]}, "messages[1].role"),
        ({"messages": [*HELLO, {"role": "assistant", "content": "x"}]}, None),
        ({"messages": [{"role": "system", "content": "x"}]}, None),
        ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content"),
        ({"stream": "yes"}, "stream"),
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"user": "u" * 256}, "user"),
        ({"conversation_id": 1}, "conversation_id"),
        ({"metadata": "x"}, "metadata"),
        ({"stream_options": True}, "stream_options"),
    ],
)
def test_a_wrong_request(service: Service, fields: dict[str, Any], param: str | None) -> None:
    answer = service.http.post(CHAT, json={"model": "default", "messages": HELLO, **fields})
    assert_error(answer, 400)
    assert answer.json()["error"]["param"] == param


def test_what_has_no_meaning_here_is_ignored(service: Service) -> None:
    ignored: dict[str, Any] = {
        "temperature": 3,
        "top_p": "x",
        "max_tokens": -1,
        "max_completion_tokens": 5,
        "stop": ["x"],
        "seed": 1,
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "tool_choice": "required",
        "logprobs": True,
        "response_format": {"type": "json_object"},
        "frequency_penalty": 1,
        "logit_bias": {"1": 1},
        "store": True,
        "reasoning_effort": "high",
        "modalities": ["text"],
        "service_tier": "auto",
        "parallel_tool_calls": False,
        "whatever": {"x": [1]},
    }
    answer = service.http.post(CHAT, json={"model": "default", "messages": HELLO, **ignored})
    assert answer.status_code == 200, answer.text
    names = ("user", "conversation_id", "metadata", "stream", "stream_options", "n", *ignored)
    answer = service.http.post(CHAT, json={"model": "default", "messages": HELLO, **dict.fromkeys(names)})
    assert answer.status_code == 200, answer.text
    empty = {"user": "", "conversation_id": "", "metadata": {"conversation_id": None}, "stream_options": {}}
    answer = service.http.post(CHAT, json={"model": "default", "messages": HELLO, **empty, "stream": False})
    assert answer.status_code == 200, answer.text


# The user


def test_who_the_user_is(start: Start, upstream: Upstream) -> None:
    keys = {name: f"key-of-{name}" for name in ("shop", "forum")}
    entries = ",".join(f"{name}:{hashlib.sha256(key.encode()).hexdigest()}" for name, key in keys.items())
    service = start(API_KEYS=entries, VISITORS="true")

    def user_of(key: str, **options: Any) -> str:
        with sdk(service, key) as client:
            ask(client, **options)
        user: str = upstream.state(1)["chats"][0]["user_id"]
        return user

    assert user_of(keys["shop"], user="somebody") == "somebody"
    made = user_of(keys["shop"])
    assert made == user_of(keys["shop"], user="") != user_of(keys["forum"])
    assert keys["shop"] not in made
    assert "shop" not in made
    visitor = service.http.post("/api/v1/visitors").json()["data"]
    assert user_of(visitor["token"]) == visitor["user_id"]
    with sdk(service, visitor["token"]) as client, pytest.raises(openai.PermissionDeniedError):
        ask(client, user="somebody")
    with sdk(service, "sk-anything") as client, pytest.raises(openai.AuthenticationError) as raised:
        ask(client)
    assert raised.value.code == "api_key_invalid"


def test_an_unknown_key_is_nobody_where_none_is_asked_for(service: Service, upstream: Upstream) -> None:
    def user_of(key: str) -> str:
        with sdk(service, key) as client:
            ask(client)
        user: str = upstream.state(1)["chats"][0]["user_id"]
        return user

    # All come from one address.
    assert len({user_of(key) for key in ("sk-anything", "dummy", "EMPTY", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.")}) == 1
    assert "127.0.0.1" not in user_of("dummy")


def test_what_is_a_user_s_is_nobody_else_s(service: Service) -> None:
    token = service.http.post("/api/v1/visitors").json()["data"]["token"]
    headers = {"Authorization": f"Bearer {token}"}
    file_id = service.http.post("/api/v1/upload", files={"file": ("a.txt", b"1")}, headers=headers).json()["file_id"]
    file_part = {"type": "file", "file": {"file_id": file_id}}
    with sdk(service, token) as owner, sdk(service) as other:
        conversation = ask(owner, [WHAT, image(data_url(PICTURE))]).conversation_id
        ask(owner, [WHAT, file_part], extra_body={"conversation_id": conversation})
        for content, body in (("Hello", {"conversation_id": conversation}), ([WHAT, file_part], {})):
            with pytest.raises(openai.NotFoundError) as raised:
                ask(other, content, extra_body=body)
            assert raised.value.code in ("conversation_not_found", "resource_not_found")
    listed = service.http.get("/api/v1/conversations", headers=headers).json()["data"]
    assert [(found["conversation_id"], found["name"]) for found in listed] == [(conversation, "What is it?")]
    path = f"/api/v1/conversations/{conversation}/messages"
    said = service.http.get(path, headers=headers).json()["data"]
    names = [file["name"] for message in said for file in message.get("files", ())]
    assert names == ["image.png", "a.txt"]
    # The picture can be seen again, as if it had been uploaded by itself.
    shown = next(file["url"] for message in said for file in message.get("files", ()))
    assert service.http.get(shown).content == PICTURE


# Errors


class Outcome(NamedTuple):
    """What the SDK made of a chat: the whole answer or the chunks that came, and what it raised."""

    answer: Any
    error: openai.APIError | None

    @property
    def text(self) -> str:
        return text_of(self.answer) if isinstance(self.answer, list) else self.answer.choices[0].message.content


def outcome_of(client: OpenAI, model: str, stream: int) -> Outcome:
    chunks: list[ChatCompletionChunk] = []
    try:
        answer = ask(client, "pause=1", model=model, stream=bool(stream))
        if not stream:
            return Outcome(answer, None)
        for chunk in answer:
            chunks.append(chunk)  # noqa: PERF402 - those before an error count
    except openai.APIError as error:
        return Outcome(chunks, error)
    return Outcome(chunks, None)


@pytest.fixture(scope="module")
def outcomes(client: OpenAI, impatient: OpenAI, bots: dict[str, str]) -> dict[str, tuple[Outcome, Outcome]]:
    """The outcomes of a chat with each bot of the tables, as JSON and as a stream. Most of them wait for something."""
    names = [*(f"code-{code}" for codes in CODES.values() for code in codes), *FAIL_FIRST, *FAIL_LATER, *GOOD]
    with ThreadPoolExecutor(8) as pool:
        found = [
            [pool.submit(outcome_of, impatient if name in SILENT else client, bots[name], stream) for stream in (0, 1)]
            for name in names
        ]
        return {name: (whole.result(), chunks.result()) for name, (whole, chunks) in zip(names, found, strict=True)}


Outcomes = dict[str, tuple[Outcome, Outcome]]


def assert_refused(outcomes: Outcomes, name: str, status: int) -> None:
    for outcome in outcomes[name]:
        error = outcome.error
        assert isinstance(error, ERRORS[status]), error
        assert isinstance(error, openai.APIStatusError)
        assert error.status_code == status
        assert STATUSES[str(error.code)] == status
        headers = error.response.headers
        if status in (429, 500, 503):
            assert ("x-should-retry" not in headers) == (name in REFUSALS), error
        if status in (429, 503):
            assert int(headers["retry-after"]) >= 1


@pytest.mark.parametrize(("code", "status"), [(code, status) for status, codes in CODES.items() for code in codes])
def test_code(outcomes: Outcomes, code: int, status: int) -> None:
    assert_refused(outcomes, f"code-{code}", status)


@pytest.mark.parametrize("name", FAIL_FIRST)
def test_fails_first(outcomes: Outcomes, name: str) -> None:
    assert_refused(outcomes, name, FAIL_FIRST[name])


@pytest.mark.parametrize("name", FAIL_LATER)
def test_fails_later(outcomes: Outcomes, name: str) -> None:
    status, text = FAIL_LATER[name]
    whole, stream = outcomes[name]
    assert isinstance(whole.error, ERRORS[status])
    assert isinstance(whole.error, openai.APIStatusError)
    assert whole.error.response.headers["x-should-retry"] == "false"
    assert stream.error is not None
    assert not isinstance(stream.error, openai.APIStatusError)
    assert stream.error.body == whole.error.body
    assert stream.text == text
    assert all(choice.finish_reason is None for chunk in stream.answer for choice in chunk.choices)


@pytest.mark.parametrize("name", GOOD)
def test_good(outcomes: Outcomes, name: str) -> None:
    for outcome in outcomes[name]:
        assert outcome.error is None
        assert outcome.text == GOOD[name]
    chunks = outcomes[name][1].answer
    assert len({chunk.id for chunk in chunks}) == 1
    assert [chunk.choices[0].finish_reason for chunk in chunks].count("stop") == 1
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert chunks[-1].conversation_id


def test_a_failed_stream_has_no_good_end(impatient: OpenAI, bots: dict[str, str]) -> None:
    body = {"model": bots["reset"], "messages": HELLO, "stream": True}
    answer = http.post(f"{impatient.base_url}chat/completions", json=body)
    *_, last, rest = answer.text.split("\n\n")
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "coze_broke_off"
    assert rest == ""
    assert "[DONE]" not in answer.text
    assert '"finish_reason":"stop"' not in answer.text


def test_errors_that_come_before_a_handler(service: Service, start: Start) -> None:
    http = service.http
    for path in ("/openai/v1/embeddings", "/openai/v1/", "/openai/x", "/openai"):
        assert_error(http.post(path, json={}), 404)
    assert "error" in http.get("/openai").json()
    assert_error(http.get(CHAT), 405)
    assert_error(http.delete("/openai/v1/models"), 405)
    for content, kind in ((b"{", "application/json"), (b"\xff", "application/json"), (b"{}", "text/plain")):
        assert_error(http.post(CHAT, content=content, headers={"Content-Type": kind}), 400)
    assert_error(http.post(CHAT, content=b"[" * 100_000, headers={"Content-Type": "application/json"}), 400)
    assert_error(http.get("/openai/v1/models", headers={"Host": "a b"}), 400)
    narrow = start(CORS_ALLOW_ORIGINS="https://shop.example", API_KEYS=hashlib.sha256(b"key").hexdigest())
    assert_error(narrow.http.get("/openai/v1/models"), 401)
    assert_error(narrow.http.get("/openai/v1/nothing"), 401)
    foreign = narrow.http.post(CHAT, json={}, headers={"Origin": "https://other.example"})
    assert foreign.json()["error"]["code"] == "website_not_allowed"
    assert narrow.http.head("/openai/v1/models", headers={"Authorization": "Bearer key"}).status_code == 200


def test_what_is_no_request_is_answered_in_the_form_of_its_path(service: Service) -> None:
    for path, form in (("/openai/v1/models", b'{"error":'), ("/api/v1/config", b'{"success":false')):
        with socket.create_connection(service.address, timeout=30) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n".encode())
            answer = connection.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.partition(b"\r\n\r\n")[2].startswith(form)


def test_pages_of_any_website_may_read_what_decides_over_a_retry(service: Service, bots: dict[str, str]) -> None:
    body = {"model": bots["500-json"], "messages": HELLO}
    answer = service.http.post(CHAT, json=body, headers={"Origin": "https://example.com"})
    exposed = answer.headers["access-control-expose-headers"].lower()
    assert {"x-should-retry", "retry-after", "x-request-id"} <= set(exposed.split(", "))
    assert answer.headers["access-control-allow-origin"] == "*"


# Retries of the SDK


def test_the_limit_is_obeyed(start: Start, upstream: Upstream) -> None:
    service = start(ENABLE_RATE_LIMIT="true", RATE_LIMIT_REQUESTS="1", RATE_LIMIT_WINDOW="2")
    with sdk(service, max_retries=1) as client:
        before = upstream.state(0)["requests"].get("POST /v3/chat", 0)
        # More often than once, it would be too often.
        for _ in range(3):
            assert ask(client).choices[0].message.content
        assert upstream.state(0)["requests"]["POST /v3/chat"] == before + 3
        refused = [line for line in service.lines() if line.get("status") == 429]
        assert len(refused) <= 3
    with sdk(service) as client, pytest.raises(openai.RateLimitError) as raised:
        _ = [ask(client) for _ in range(2)]
    assert raised.value.code == "rate_limited"


def test_a_busy_conversation_is_waited_for(client: OpenAI, service: Service, upstream: Upstream, bots: Any) -> None:
    conversation = ask(client).conversation_id
    body = {"model": bots["for-ever"], "messages": HELLO, "stream": True, "conversation_id": conversation}
    with service.http.stream("POST", CHAT, json=body) as running:
        assert running.status_code == 200
        with pytest.raises(openai.RateLimitError) as raised:
            ask(client, extra_body={"conversation_id": conversation})
        assert raised.value.code == "conversation_busy"
    with sdk(service, max_retries=2) as patient:
        assert ask(patient, extra_body={"conversation_id": conversation}).conversation_id == conversation


@pytest.mark.parametrize(
    "name", ["500-json", "502-html", "503-retry-after", "reset-first", "eof-empty", "failed-first", "failed-4028"]
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_coze_may_have_taken_is_not_asked_twice(
    service: Service, upstream: Upstream, bots: dict[str, str], name: str, stream: bool
) -> None:
    upstream.reset()
    with sdk(service, max_retries=2) as client, pytest.raises(openai.APIError):
        list(ask(client, model=bots[name], stream=stream))
    assert upstream.state(0)["requests"]["POST /v3/chat"] == 1


def test_what_was_not_asked_may_be_sent_again(start: Start, bots: dict[str, str]) -> None:
    body = {"model": bots["for-ever"], "messages": HELLO, "stream": True}
    away = start(COZE_API_BASE="http://127.0.0.1:1")
    full = start(MAX_CONCURRENT_CHATS="1")
    with full.http.stream("POST", CHAT, json=body) as running:
        assert running.status_code == 200
        for service, code in ((away, "coze_unreachable"), (full, "service_full")):
            answer = service.http.post(CHAT, json=body)
            assert_error(answer, 503)
            assert answer.json()["error"]["code"] == code
            assert "x-should-retry" not in answer.headers


# Who leaves


@pytest.mark.parametrize("stream", [False, True])
def test_who_leaves_ends_the_chat(service: Service, upstream: Upstream, bots: dict[str, str], stream: bool) -> None:
    upstream.reset()
    with sdk(service) as client:
        if stream:
            answer = ask(client, model=bots["for-ever"], stream=True)
            next(answer)
            answer.close()
        else:
            with pytest.raises(openai.APITimeoutError):
                ask(client, model=bots["for-ever"], timeout=0.5)

    def freed() -> bool:
        chats = upstream.state()["chats"]
        return [(chat["client_left"], chat["cancel_calls"], chat["status"]) for chat in chats] == [
            (True, 1, "canceled")
        ]

    wait_until(freed)
