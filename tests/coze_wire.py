"""Coze's wire as the tests of the sandbox speak it."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx

from service.sandbox import DEFAULT_BOT_ID

Json = dict[str, Any]

TOKEN = "pat_sandbox_test"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
# For waits that end as soon as what is waited for is there; only a failure takes this long.
PATIENCE = 60.0


def bot(number: str) -> str:
    return f"753733451089618{number}"


def said(*texts: str) -> list[Json]:
    return [{"role": "user", "content": text, "content_type": "text"} for text in texts]


def body(text: str = "hello", bot_id: str = DEFAULT_BOT_ID, *, stream: bool = True, **more: Any) -> Json:
    return {"bot_id": bot_id, "user_id": "tester", "stream": stream, "additional_messages": said(text), **more}


def objects(content: str) -> Json:
    return {"role": "user", "content": content, "content_type": "object_string"}


def events(raw: bytes) -> list[tuple[str, Any]]:
    """The events of a stream that is framed exactly as Coze frames it."""
    assert raw.endswith(b"\n\n")
    found = []
    for block in raw.decode().removesuffix("\n\n").split("\n\n"):
        name, data = block.split("\n")
        assert re.match("event:[^ ]", name), block
        assert re.match("data:[^ ]|data:$", data), block
        found.append((name[6:], json.loads(data[5:]) if data[5:] else None))
    return found


def chat(client: httpx.Client, text: str = "hello", bot_id: str = DEFAULT_BOT_ID, conversation_id: str = "") -> Any:
    answer = client.post("/v3/chat", params={"conversation_id": conversation_id}, json=body(text, bot_id))
    assert answer.headers["content-type"] == "text/event-stream"
    return events(answer.content)


def text_of(stream: list[tuple[str, Any]]) -> str:
    return "".join(data["content"] for name, data in stream if name == "conversation.message.delta")


def code_of(answer: httpx.Response) -> int:
    code = answer.json()["code"]
    assert isinstance(code, int)
    return code


def until(what: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE
    while not (found := what()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
    return found


def seen(client: httpx.Client, chat_id: str) -> Json:
    chats = client.get("/sandbox/state").json()["chats"]
    return next(found for found in chats if found["id"] == chat_id)


@contextlib.contextmanager
def open_chat(client: httpx.Client, bot_id: str, text: str = "go", conversation_id: str = "") -> Iterator[Json]:
    """A stream that is read up to its first event, the Chat, and left at the block's end."""
    params = {"conversation_id": conversation_id}
    with client.stream("POST", "/v3/chat", params=params, json=body(text, bot_id)) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "event:conversation.chat.created"
        yield json.loads(next(lines)[5:])


@contextlib.contextmanager
def fresh_client(url: str) -> Iterator[httpx.Client]:
    """A client of a sandbox that has forgotten everything."""
    with httpx.Client(base_url=url, headers=HEADERS, timeout=PATIENCE) as client:
        client.post("/sandbox/reset").raise_for_status()
        yield client
