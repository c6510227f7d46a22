"""openapi.yaml breaks no client of the last released contract unless its version says so; the changelog knows it."""

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest
from conftest import ROOT
from contract_changes import ACCEPTED, CURRENT, RELEASED, Json, breaking, main, major, read

OLD = read(RELEASED)


def test_nothing_is_broken_unless_the_version_says_so() -> None:
    new = read(CURRENT)
    assert set(breaking(OLD, new)) == set(ACCEPTED) or major(new) > major(OLD)
    assert main([]) == 0


def test_the_changelog_has_this_version_first() -> None:
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == read(CURRENT)["info"]["version"]
    assert OLD["info"]["version"] in headings


def test_both_changelogs_have_the_same_entries() -> None:
    english, chinese = (
        [
            (version, entries.count("\n- "))
            for version, entries in re.findall(r"^## ([\d.]+)(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
        ]
        for text in ((ROOT / name).read_text(encoding="utf-8") for name in ("CHANGELOG.md", "CHANGELOG.zh-CN.md"))
    )
    assert english == chinese


def chat(document: Json) -> Any:
    return document["paths"]["/api/v1/chat"]["post"]


def schema(document: Json, name: str) -> Any:
    return document["components"]["schemas"][name]


BREAKING: dict[str, Callable[[Json], object]] = {
    "GET /health is gone": lambda d: d["paths"].pop("/health"),
    "GET /api/v1/config has another operationId, which is a function's name in generated clients": lambda d: d["paths"][
        "/api/v1/config"
    ]["get"].update(operationId="config"),
    "POST /api/v1/chat 200: text/event-stream is gone": lambda d: chat(d)["responses"]["200"]["content"].pop(
        "text/event-stream"
    ),
    "POST /api/v1/chat requires bot_id": lambda d: schema(d, "ChatRequest")["required"].append("bot_id"),
    "POST /api/v1/chat has no bot_id any more": lambda d: schema(d, "ChatRequest")["properties"].pop("bot_id"),
    "POST /api/v1/chat.stream has other types": lambda d: schema(d, "ChatRequest")["properties"]["stream"].update(
        type="boolean"
    ),
    "POST /api/v1/chat.messages has a tighter maxItems: 50": lambda d: schema(d, "ChatRequest")["properties"][
        "messages"
    ].update(maxItems=50),
    "POST /api/v1/chat.user_id has a tighter maxLength: 64": lambda d: schema(d, "ChatRequest")["properties"][
        "user_id"
    ].update(maxLength=64),
    "POST /api/v1/chat.messages[].role has other values": lambda d: schema(d, "ChatMessage")["properties"]["role"][
        "enum"
    ].remove("system"),
    "POST /api/v1/chat 200.data may lack content": lambda d: schema(d, "ChatData")["required"].remove("content"),
    "POST /api/v1/chat 200.data has no usage any more": lambda d: schema(d, "ChatData")["properties"].pop("usage"),
    "POST /api/v1/chat 200.conversation_id has other types": lambda d: schema(d, "ChatResponse")["properties"][
        "conversation_id"
    ].update(type=["string", "null"]),
    "GET /health 200.status has other values": lambda d: schema(d, "HealthStatus")["properties"]["status"][
        "enum"
    ].append("starting"),
    "POST /api/v1/chat 200.data:MessageDeltaEvent.type has other values": lambda d: schema(d, "MessageDeltaEvent")[
        "properties"
    ]["type"].update(const="delta"),
    "POST /api/v1/chat 200.data may be TextPart, too": lambda d: schema(d, "ChatStreamEvent")["oneOf"].append(
        {"$ref": "#/components/schemas/TextPart"}
    ),
    "POST /api/v1/chat.messages[].content:1[] takes no AudioPart any more": lambda d: schema(d, "ObjectStringPart")[
        "oneOf"
    ].pop(),
    "POST /api/v1/chat 200.data.timestamp has another pattern": lambda d: schema(d, "Timestamp").pop("pattern"),
    "GET /api/v1/user/info has no parameter user_id any more": lambda d: d["paths"]["/api/v1/user/info"]["get"].pop(
        "parameters"
    ),
    "GET /api/v1/user/info requires the parameter user_id": lambda d: d["paths"]["/api/v1/user/info"]["get"][
        "parameters"
    ][0].update(required=True),
    "POST /api/v1/chat 429 has no header Retry-After any more": lambda d: chat(d)["responses"]["429"]["headers"].pop(
        "Retry-After"
    ),
    "POST /api/v1/chat takes smaller bodies": lambda d: chat(d).update({"x-max-body-bytes": 1024}),
    "the schema Workspace is gone, and with it a type of generated clients": lambda d: (
        d["components"]["schemas"].update(Space=d["components"]["schemas"].pop("Workspace"))
        or schema(d, "WorkspacesResponse")["properties"]["data"]["items"].update({"$ref": "#/components/schemas/Space"})
    ),
}

HARMLESS: dict[str, Callable[[Json], object]] = {
    "a new operation": lambda d: d["paths"].update({"/new": d["paths"]["/health"]}),
    "a new optional field of a request": lambda d: schema(d, "ChatRequest")["properties"].update(x={"type": "string"}),
    "a new field of an answer": lambda d: schema(d, "ChatData")["properties"].update(x={"type": "string"}),
    "a field that is always there now": lambda d: schema(d, "ChatData")["required"].append("usage"),
    "a field that may be left out now": lambda d: schema(d, "ChatRequest")["required"].remove("user_id"),
    "a looser limit": lambda d: schema(d, "ChatRequest")["properties"]["messages"].update(maxItems=200),
    "a value more that may be sent": lambda d: schema(d, "ChatMessage")["properties"]["role"]["enum"].append("tool"),
    "a status of failure more": lambda d: chat(d)["responses"].update({"502": chat(d)["responses"]["503"]}),
    "another description": lambda d: schema(d, "ChatData").update(description="Other words."),
    "a new schema": lambda d: d["components"]["schemas"].update(New={"type": "string"}),
}


def test_a_list_that_may_grow_may_grow() -> None:
    old, new = read(CURRENT), read(CURRENT)
    schema(new, "ErrorCode")["enum"].append("another")
    assert breaking(old, new) == []
    del schema(old, "ErrorCode")["x-extensible"]
    assert "POST /api/v1/chat 400.code has other values" in breaking(old, new)


@pytest.mark.parametrize("change", BREAKING)
def test_a_breaking_change_is_found(change: str) -> None:
    new = copy.deepcopy(OLD)
    BREAKING[change](new)
    assert change in breaking(OLD, new)


@pytest.mark.parametrize("change", HARMLESS)
def test_a_harmless_change_is_not(change: str) -> None:
    new = copy.deepcopy(OLD)
    HARMLESS[change](new)
    assert breaking(OLD, new) == []
