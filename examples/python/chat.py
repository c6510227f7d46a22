"""Python: httpx, and the models that are generated from the contract. `python examples/python/chat.py [URL]`.

Needs `pip install httpx msgspec` and the folder generated/ (or your own: `datamodel-codegen` on openapi.yaml).
"""

import contextlib
import secrets
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec

from generated.models import (
    ChatCompletedEvent,
    ChatMessage,
    ChatRequest,
    ChatResponse,
    ChatStreamEvent,
    EndEvent,
    ErrorEvent,
    ErrorResponse,
    MessageDeltaEvent,
    UploadResponse,
)


class CozeError(Exception):
    """An answer that is not a success; its text is for people."""


class Coze:
    def __init__(self, url: str, key: str | None = None) -> None:
        # A key is needed only where the service asks for one.
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.http = httpx.Client(base_url=url, timeout=120, headers=headers)

    def chat(self, request: ChatRequest) -> ChatResponse:
        return msgspec.json.decode(self._checked(self._post(request)).content, type=ChatResponse)

    def stream(self, request: ChatRequest) -> Iterator[ChatStreamEvent]:
        """The events as they come. Leaving the loop closes the connection, which frees Coze.

        With `on_disconnect="continue"` a lost connection is made again, and the bot is asked once.
        """
        request.stream = True
        outlives = request.on_disconnect == "continue"
        headers = {"Idempotency-Key": secrets.token_hex(16)} if outlives else {}
        for pause in (0.25, 0.5, 1, 2, 4, 8, 8, 8, 8, 8) if outlives else (0,):
            with contextlib.suppress(httpx.TransportError):
                yield from self._events(request, headers)
                return
            time.sleep(pause * (1 + secrets.randbelow(100) / 100))  # not all clients at the same moment
        raise CozeError("The connection was lost before the answer was complete.")

    def _events(self, request: ChatRequest, headers: dict[str, str]) -> Iterator[ChatStreamEvent]:
        """The events of one connection. Keeps in `headers` where to go on."""
        body = self._body(request)
        with self.http.stream("POST", "/api/v1/chat", **body | {"headers": body["headers"] | headers}) as response:
            if response.is_error:
                response.read()
            event = None
            for line in lines_of(self._checked(response)):
                if line.startswith("data: "):
                    event = msgspec.json.decode(line.removeprefix("data: "), type=ChatStreamEvent)
                elif line.startswith("id: ") and "Idempotency-Key" in headers:
                    headers["Last-Event-ID"] = line.removeprefix("id: ")
                elif not line and event is not None:
                    if isinstance(event, ErrorEvent):
                        raise CozeError(event.message)
                    if isinstance(event, EndEvent):
                        return
                    yield event
                    event = None
        raise httpx.RemoteProtocolError("no end event")

    def upload(self, name: str, content: bytes) -> UploadResponse:
        answer = self._checked(self.http.post("/api/v1/upload", files={"file": (name, content)}))
        return msgspec.json.decode(answer.content, type=UploadResponse)

    def _post(self, request: ChatRequest) -> httpx.Response:
        return self.http.post("/api/v1/chat", **self._body(request))

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        return {"content": msgspec.json.encode(request), "headers": {"Content-Type": "application/json"}}

    def _checked(self, response: httpx.Response) -> httpx.Response:
        if response.is_error:
            message = msgspec.json.decode(response.content, type=ErrorResponse).message
            raise CozeError(f"{message} (HTTP {response.status_code}, {response.headers['X-Request-ID']})")
        return response


def lines_of(response: httpx.Response) -> Iterator[str]:
    """The lines of an event stream. They end at line feeds only; `iter_lines` would also split at U+2028 and others."""
    rest = ""
    for text in response.iter_text():
        *lines, rest = (rest + text).split("\n")
        yield from lines


def question(content: str, *, conversation_id: str | None = None, bot_id: str | None = None) -> ChatRequest:
    messages = [ChatMessage(role="user", content=content)]
    return ChatRequest(user_id="user123", messages=messages, conversation_id=conversation_id, bot_id=bot_id)


def main() -> None:
    coze = Coze(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:2026")
    conversation_id = None
    for content in ("My name is Ada.", "What did I say?"):
        for event in coze.stream(question(content, conversation_id=conversation_id)):
            match event:
                case MessageDeltaEvent():
                    print(event.content, end="", flush=True)
                case ChatCompletedEvent():
                    conversation_id = event.conversation_id
                    print()
    file = coze.upload("notes.txt", b"some notes")
    parts = [{"type": "text", "text": "What is in this file?"}, {"type": "file", "file_id": file.file_id}]
    about = ChatMessage(role="user", content=msgspec.json.encode(parts).decode(), content_type="object_string")
    print(coze.chat(ChatRequest(user_id="user123", messages=[about])).data.content)
    try:
        coze.chat(question("Hello", bot_id="1"))
    except CozeError as error:
        print("Refused:", error)


if __name__ == "__main__":
    main()
