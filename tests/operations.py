"""The contract's operations and a good call of each, so that what every operation must do, a new one must do too."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import httpx
import pytest

from service.contract import contract


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

    def arguments(self, client: httpx.Client) -> dict[str, str]:
        """Something that is there for each of the path's parameters; `client` may have to make it."""
        return {name: PARAMETERS[name](client) for name in _PARAMETER.findall(self.path)}

    def address(self, client: httpx.Client) -> str:
        """The path with these arguments."""
        return self.path.format_map(self.arguments(client))

    def call(self, client: httpx.Client, address: str | None = None, **options: Any) -> httpx.Response:
        """The answer to a call as the contract shows it, or of another address; the options are those of httpx.

        Where a user has to be proven, a visitor calls.
        """
        if self.is_owned and "Authorization" not in options.get("headers", {}):
            options["headers"] = {**options.get("headers", {}), **visitor(client)}
        return client.request(self.method, address or self.address(client), **self._body(), **options)

    def _body(self) -> dict[str, Any]:
        kinds = self.about.get("requestBody", {}).get("content", {})
        if "application/json" in kinds:
            first, *_ = kinds["application/json"]["examples"].values()
            return {"json": first["value"]}
        return {"files": {"file": ("a.txt", b"1")}} if kinds else {}


def visitor(client: httpx.Client) -> dict[str, str]:
    """The headers of a new visitor; none where there are no visitors."""
    made = client.post("/api/v1/visitors")
    return {"Authorization": f"Bearer {made.json()['data']['token']}"} if made.status_code == 200 else {}


def _link(client: httpx.Client) -> str:
    sent = client.post("/api/v1/upload", files={"file": ("a.txt", b"1")})
    return str(sent.json()["file_url"]).rpartition("/")[2]


_PARAMETER = re.compile(r"\{(\w+)\}")
# How a test gets what a parameter in a path names. One that is not here fails every test that calls the operation.
PARAMETERS: dict[str, Callable[[httpx.Client], str]] = {"link": _link}

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
