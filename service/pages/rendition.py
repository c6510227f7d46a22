"""The contract in OpenAPI 3.0.3, for tools that cannot read 3.1: the same operations, statuses, names and fields.

It is made from openapi.yaml and accepts whatever that accepts. 3.0 lacks the null type, `const`, and schemas for JSON
inside text. Where it cannot express a rule, the rule is left to the description and to `x-` fields.
"""

from functools import cache
from typing import Any

import msgspec
import yaml

from service.contract import contract

Json = dict[str, Any]

# Keywords whose value is a schema, a list of schemas, or schemas by name.
_ONE = {"items", "additionalProperties", "not"}
_LIST = {"oneOf", "anyOf", "allOf"}
_NAMED = {"properties"}
# Keywords of JSON inside text.
_CONTENT = {"contentMediaType", "contentSchema"}
_NULL = {"type": "null"}
# openapi-generator's PHP clients have a getConfig() of their own, which would clash.
_OPERATION_IDS = {"getConfig": "getConfiguration"}


class Rendition(msgspec.Struct, frozen=True):
    """A document as YAML and as JSON."""

    yaml: bytes
    json: bytes


@cache
def rendition() -> Rendition:
    """Returns the service's contract in OpenAPI 3.0.3."""
    document = in_openapi_3_0(contract().document)
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text = yaml.dump(document, Dumper=dumper, allow_unicode=True, sort_keys=False, width=120, encoding="utf-8")
    return Rendition(yaml=text, json=msgspec.json.encode(document))


def in_openapi_3_0(document: Json) -> Json:
    """Translates a document of OpenAPI 3.1 into 3.0.3."""
    document = _without_nulls(document, document["components"]["schemas"])
    new: Json = _part(document) | {"openapi": "3.0.3"}
    info = new["info"]
    info["description"] = f"{info.pop('summary')}\n\n{info['description']}"
    info["license"]["url"] = f"https://spdx.org/licenses/{info['license'].pop('identifier')}.html"
    schemas = document["components"]["schemas"]
    new["components"]["schemas"] = {name: _schema(schema) for name, schema in schemas.items()}
    return new


def _without_nulls(node: Any, schemas: Json) -> Any:
    """Writes what a schema refers to in its place where null is the alternative: 3.0 has no null beside a reference."""
    if isinstance(node, list):
        return [_without_nulls(child, schemas) for child in node]
    if not isinstance(node, dict):
        return node
    if _NULL in node.get("anyOf", ()):
        (other,) = [child for child in node["anyOf"] if child != _NULL]
        schema = schemas[other["$ref"].rpartition("/")[2]]
        node = {
            **schema,
            **{key: value for key, value in node.items() if key != "anyOf"},
            "type": [schema["type"], "null"],
        }
    return {key: _without_nulls(child, schemas) for key, child in node.items()}


def _part(node: Any, key: str = "") -> Any:
    """Translates the schemas within a node that is no schema itself; `key` is the one it stands at."""
    if key == "schema":
        return _schema(node)
    if key == "text/event-stream":
        return _stream(node)
    if key == "operationId":
        return _OPERATION_IDS.get(node, node)
    if isinstance(node, list):
        return [_part(child) for child in node]
    if isinstance(node, dict) and key not in ("example", "examples"):
        new = {name: _part(child, name) for name, child in node.items()}
        if "in" in new and "example" in new.get("schema", {}):
            # Dredd finds the example of a parameter only here.
            new["example"] = new["schema"]["example"]
        return new
    return node


def _stream(media: Json) -> Json:
    """Translates a stream of events into one text, with the contract's events as one example."""
    schema = {
        "type": "string",
        "description": media["schema"]["description"],
        "x-itemSchema": _schema(media["schema"]),
    }
    return {"schema": schema, "examples": stream_text(media)}


def stream_text(media: Json) -> Json:
    """Returns the examples of a stream of events as one: the text on the wire."""
    events = [example["value"] for example in media["examples"].values()]
    text = "".join("".join(f"{name}: {value}\n" for name, value in event.items()) + "\n" for event in events)
    return {"stream": {"summary": "A whole stream", "x-zh-summary": "完整的事件流", "value": text}}


def _schema(schema: Any) -> Any:
    """Translates a schema into 3.0: never stricter than the original, looser where 3.0 cannot express it."""
    if not isinstance(schema, dict):
        return schema  # true or false, or a content type
    new: Json = {}
    for key, value in schema.items():
        if key in _ONE:
            new[key] = _schema(value)
        elif key == "propertyNames":
            new["x-propertyNames"] = value
        elif key in _LIST:
            new[key] = [_schema(child) for child in value]
        elif key in _NAMED:
            new[key] = {name: _schema(child) for name, child in value.items()}
        elif key in _CONTENT:
            new[f"x-{key}"] = _schema(value)
        elif key == "type":
            new |= _type(value)
        elif key == "const":
            new["enum"] = [value]
        elif key == "examples":
            new["example"] = value[0]
        elif key == "enum" and schema.get("x-extensible"):
            # openapi-generator's clients fail on unknown values.
            new["x-extensible-enum"] = value
        else:
            new[key] = value
    if new.get("nullable") and "enum" in new:
        # Generated Go cannot name the default of an enum with null.
        new["enum"] = [value for value in new["enum"] if value is not None]
        new.pop("default", None)
    if new.get("format") == "binary":
        # Generated clients would check the length of a file object.
        new = {key: value for key, value in new.items() if key not in ("minLength", "maxLength")}
    if new.get("type") == "string":
        # Generated Swift and Kotlin make an empty class of alternatives that are all strings.
        for kind in new.pop("anyOf", []):
            new |= {key: value for key, value in kind.items() if key.startswith("x-")}
    return new


def _type(types: str | list[str]) -> Json:
    names = [types] if isinstance(types, str) else types
    name = next((name for name in names if name != "null"), "object")
    return {"type": name, "nullable": True} if "null" in names else {"type": name}
