"""The contract in OpenAPI 3.0.3 is valid, served, and says what openapi.yaml says, as far as 3.0 can."""

import copy
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml
from conftest import Service
from javascript import TESTS, needs_packages, run_tool
from openapi_schema_validator import OAS30Validator
from openapi_spec_validator import validate
from referencing import Registry
from referencing.jsonschema import DRAFT4
from test_contract import DOCUMENT, EXAMPLES, OPERATIONS, resolved

from service.pages.rendition import in_openapi_3_0

Json = dict[str, Any]

RENDITION = in_openapi_3_0(DOCUMENT)
SCHEMAS: Json = DOCUMENT["components"]["schemas"]
STREAM = ("paths", "/api/v1/chat", "post", "responses", "200", "content", "text/event-stream")


def at(document: Json, *keys: str) -> Any:
    node: Any = document
    for key in keys:
        node = node[key]
    return node


def kept(answer: httpx.Response) -> dict[str, str]:
    """An answer's headers without those that are another's each time."""
    return {name: value for name, value in answer.headers.items() if name not in ("date", "x-request-id")}


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_it_is_served_like_the_contract(service: Service, form: str) -> None:
    answer, contract = (service.http.get(f"/openapi{version}.{form}") for version in ("-3.0", ""))
    assert answer.status_code == 200
    assert kept(answer) == kept(contract) | {"content-length": str(len(answer.content))}
    assert kept(service.http.head(f"/openapi-3.0.{form}")) == kept(answer)
    # JSON is YAML, but no YAML that people read.
    assert yaml.safe_load(answer.content) == RENDITION
    assert "智能体的回答" in answer.text
    assert answer.text.startswith("openapi: 3.0.3\ninfo:\n" if form == "yaml" else '{"openapi":"3.0.3","info":{')


def test_it_is_valid() -> None:
    assert RENDITION["openapi"] == "3.0.3"
    validate(RENDITION)


def test_the_contracts_lint_finds_nothing(service: Service) -> None:
    needs_packages("@redocly/cli")
    # What only JSON inside text refers to counts as unused: 3.0 has no reference there.
    skipped = ("--skip-rule", "no-unused-components")
    run_tool(TESTS, "redocly", "lint", f"{service.url}/openapi-3.0.json", "--config", "redocly.yaml", *skipped)


def test_the_contract_itself_stays_as_it_is() -> None:
    before = copy.deepcopy(DOCUMENT)
    in_openapi_3_0(DOCUMENT)
    assert before == DOCUMENT


def operations(document: Json) -> dict[str, Json]:
    return {
        f"{method} {path}": operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if isinstance(operation, dict) and "operationId" in operation
    }


def test_it_has_the_same_operations_and_names() -> None:
    old, new = operations(DOCUMENT), operations(RENDITION)
    assert len(old) == len(OPERATIONS)
    assert list(old) == list(new)
    for name, operation in old.items():
        other = new[name]
        renamed = {"getConfig": "getConfiguration"}.get(operation["operationId"], operation["operationId"])
        assert other["operationId"] == renamed
        for key in ("tags", "summary", "description", "security", "x-max-body-bytes"):
            assert operation.get(key) == other.get(key), (name, key)
        assert operation.keys() == other.keys()
        listed = [[resolved(p) for p in o.get("parameters", [])] for o in (operation, other)]
        named = [[(p["name"], p["in"], p.get("required")) for p in parameters] for parameters in listed]
        assert named[0] == named[1]
    for key in ("servers", "security", "tags"):
        assert DOCUMENT[key] == RENDITION[key]
    assert DOCUMENT["components"].keys() == RENDITION["components"].keys()
    for kind, parts in DOCUMENT["components"].items():
        assert list(parts) == list(RENDITION["components"][kind])


def answers(document: Json) -> Iterator[tuple[str, Json]]:
    for name, operation in operations(document).items():
        for status, answer in operation["responses"].items():
            yield f"{name} {status}", answer
    yield from document["components"]["responses"].items()


def test_it_has_the_same_answers() -> None:
    old, new = dict(answers(DOCUMENT)), dict(answers(RENDITION))
    assert list(old) == list(new)
    for name, answer in old.items():
        other = new[name]
        if "$ref" in answer:
            assert other == answer
            continue
        assert other["description"] == answer["description"]
        assert other["headers"] == answer["headers"]
        assert list(other.get("content", {})) == list(answer.get("content", {}))
        for media, content in answer.get("content", {}).items():
            if media != "text/event-stream":
                assert other["content"][media] == content, (name, media)


def compare(old: Json, new: Json, where: str) -> None:
    """Checks that `new` names and requires what `old` does, and takes null where that does."""
    if "$ref" in old:
        assert new == old, where
        return
    types = [old["type"]] if isinstance(old.get("type"), str) else old.get("type", [])
    assert new.get("nullable", False) == ("null" in types or {"type": "null"} in old.get("anyOf", ())), where
    if named := [name for name in types if name != "null"]:
        assert [new["type"]] == named, where
    values = [old["const"]] if "const" in old else old.get("enum")
    assert new.get("x-extensible-enum" if old.get("x-extensible") else "enum") == (
        values and [value for value in values if value is not None]
    ), where
    assert new.get("required") == old.get("required"), where
    assert new.get("description") == old.get("description"), where
    assert new.get("discriminator") == old.get("discriminator"), where
    binary = old.get("format") == "binary"
    for limit in ("minLength", "maxLength", "minItems", "maxItems", "minimum", "pattern", "format"):
        assert new.get(limit) == (None if binary and limit.endswith("Length") else old.get(limit)), where
    assert list(new.get("properties", {})) == list(old.get("properties", {})), where
    for name, child in old.get("properties", {}).items():
        compare(child, new["properties"][name], f"{where}.{name}")
    if "items" in old:
        compare(old["items"], new["items"], f"{where}[]")
    for before, after in zip(old.get("oneOf", []), new.get("oneOf", []), strict=True):
        compare(before, after, where)


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_has_the_same_fields(name: str) -> None:
    compare(SCHEMAS[name], RENDITION["components"]["schemas"][name], name)


REGISTRY: Registry[Any] = Registry().with_resource("urn:rendition", DRAFT4.create_resource(RENDITION))


@pytest.mark.parametrize(
    ("value", "schema"),
    [pytest.param(v, s, id=where) for where, v, s in EXAMPLES if "text~1event-stream" not in s],
)
def test_the_contracts_examples_fit_it(value: object, schema: str) -> None:
    OAS30Validator({"$ref": f"urn:rendition#{schema}"}, registry=REGISTRY).validate(value)


def test_a_stream_is_a_text_with_a_whole_stream_for_an_example() -> None:
    media = at(RENDITION, *STREAM)
    assert media["schema"]["type"] == "string"
    *events, end = [example["value"] for example in at(DOCUMENT, *STREAM)["examples"].values()]
    assert len(events) >= 2
    (example,) = media["examples"].values()
    stream = "".join(f"data: {event['data']}\n\n" for event in events)
    assert example["value"] == f"{stream}id: {end['id']}\ndata: {end['data']}\n\n"


def test_json_in_text_is_described_all_the_same() -> None:
    content = at(RENDITION, "components", "schemas", "ChatMessage", "properties", "content")
    assert (content["type"], content["x-contentSchema"]) == ("string", {"$ref": "#/components/schemas/ObjectString"})
    event = at(RENDITION, *STREAM)["schema"]["x-itemSchema"]["properties"]["data"]
    assert event["x-contentSchema"] == {"$ref": "#/components/schemas/ChatStreamEvent"}
