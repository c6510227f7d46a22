"""The contract's operations and a good call of each, so that what every operation must do, a new one must do too."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import httpx
import pytest

from service.contract import contract

Headers = dict[str, str]


class Operation(NamedTuple):
    """An operation of the contract: its operationId, its method, its path, and what the contract says of it."""

    name: str
    method: str
    path: str
    about: dict[str, Any]

    @property
    def nowhere(self) -> str:
        """The path, with something that is not there for each of its parameters."""
        return _PARAMETER.sub("1", self.path)

    @property
    def is_owned(self) -> bool:
        """Whether it is about a user's own things, so that one who has proven nothing gets 401."""
        security = self.about.get("security", [])
        return {"userToken": []} in security and {} not in security

    def arguments(self, client: httpx.Client, headers: Headers) -> dict[str, str]:
        """Something that is there for each of the path's parameters, which these headers' caller makes if need be."""
        names = _PARAMETER.findall(self.path)
        made: dict[str, str] = {}
        for name in names:
            if name not in made:
                made |= PARAMETERS[name](client, headers)
        return {name: made[name] for name in names}

    def address(self, client: httpx.Client, headers: Headers | None = None) -> str:
        """The path with these arguments; without headers those of whoever may call."""
        if headers is None:
            headers = visitor(client) if self.is_owned else {}
        return self.path.format_map(self.arguments(client, headers))

    def call(self, client: httpx.Client, address: str | None = None, **options: Any) -> httpx.Response:
        """The answer to a call as the contract shows it, or of another address; the options are those of httpx.

        Where a user has to be proven, a visitor calls.
        """
        headers = options.pop("headers", {})
        if self.is_owned and "Authorization" not in headers:
            headers = {**headers, **visitor(client)}
        address = address or self.address(client, headers)
        return client.request(self.method, address, headers=headers, **self._body(), **options)

    def _body(self) -> dict[str, Any]:
        kinds = self.about.get("requestBody", {}).get("content", {})
        if "application/json" in kinds:
            first, *_ = kinds["application/json"]["examples"].values()
            return {"json": first["value"]}
        return {"files": {"file": ("a.txt", b"1")}} if kinds else {}


def visitor(client: httpx.Client) -> Headers:
    """The headers of a new visitor; none where there are no visitors."""
    made = client.post("/api/v1/visitors")
    return {"Authorization": f"Bearer {made.json()['data']['token']}"} if made.status_code == 200 else {}


def _file(client: httpx.Client, headers: Headers) -> dict[str, str]:
    sent = client.post("/api/v1/upload", files={"file": ("a.txt", b"1")}, headers=headers).json()
    return {"link": sent["file_url"].rpartition("/")[2]}


def _turn(client: httpx.Client, headers: Headers) -> dict[str, str]:
    body = {"messages": [{"role": "user", "content": "Hello"}]}
    said = client.post("/api/v1/chat", json=body, headers=headers).json()
    return {"conversation_id": said["conversation_id"], "message_id": said["data"]["message_id"]}


def _bot(client: httpx.Client, headers: Headers) -> dict[str, str]:
    return {"bot": client.get("/api/v1/config", headers=headers).json()["data"]["default_bot_id"]}


def _model(client: httpx.Client, headers: Headers) -> dict[str, str]:
    return {"model": "default"}


def _answer(client: httpx.Client, headers: Headers) -> dict[str, str]:
    body = {"messages": [{"role": "user", "content": "Hello"}], "on_disconnect": "continue"}
    if "Authorization" not in headers:
        body["user_id"] = "u"
    return {"answer_id": client.post("/api/v1/chat", json=body, headers=headers).headers["answer-id"]}


_PARAMETER = re.compile(r"\{(\w+)\}")
# How a caller gets what a parameter in a path names, and what else comes with it. A parameter that is not here fails
# every test that calls its operation.
PARAMETERS: dict[str, Callable[[httpx.Client, Headers], dict[str, str]]] = {
    "bot": _bot,
    "link": _file,
    "answer_id": _answer,
    "model": _model,
    "conversation_id": _turn,
    "message_id": _turn,
}

OPERATIONS = {
    about["operationId"]: Operation(about["operationId"], method, path, about)
    for method, path in sorted(contract().routes)
    for about in [contract().document["paths"][path][method.lower()]]
}


def operations(*but: str) -> list[Operation]:
    """All operations but those of these ids, each of which must be one's."""
    assert set(but) <= set(OPERATIONS), but
    return [operation for name, operation in OPERATIONS.items() if name not in but]


def each_operation(*but: str) -> pytest.MarkDecorator:
    """Runs a test with each `operation` but those of these ids."""
    found = operations(*but)
    return pytest.mark.parametrize("operation", found, ids=[operation.name for operation in found])
