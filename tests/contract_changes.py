"""What a newer contract breaks for the clients of an older one: `python -m tests.contract_changes [older [newer]]`.

A change is breaking if a client that was written, or generated, from the older contract may fail with the newer: a
request that was right is refused, an answer lacks what it had or holds what it could not, a name is gone. When in
doubt it is breaking. After a release tests/released-openapi.yaml becomes a copy of openapi.yaml.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import yaml

ROOT = Path(__file__).resolve().parent.parent
RELEASED = ROOT / "tests" / "released-openapi.yaml"
CURRENT = ROOT / "openapi.yaml"

Json = dict[str, Any]
Way = Literal["request", "answer"]
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
# A request that kept the older of these may break the newer, where the newer asks for more.
_LOWER = ("maxLength", "maxItems", "maximum", "maxProperties")
_HIGHER = ("minLength", "minItems", "minimum", "minProperties")
# What is breaking by these rules and breaks nobody, and why. A release leaves none of it.
ACCEPTED = {
    "POST /api/v1/chat.user_id has a tighter maxLength: 255": "Coze Studio stores no longer one, and OpenID Connect, "
    "from whose subjects such ids come, has none.",
    "POST /api/v1/chat 200.data may be ChatStartedEvent, too": "Readers pass over events of types "
    "that they do not know, as the API document's own do.",
}


def read(file: Path) -> Json:
    document: Json = yaml.load(file.read_bytes(), Loader=yaml.CSafeLoader)
    return document


def major(document: Json) -> int:
    return int(document["info"]["version"].split(".")[0])


def breaking(old: Json, new: Json) -> list[str]:
    """The breaking changes from one contract to another, each as one line."""
    return list(dict.fromkeys(_Comparison(old, new).document()))


class _Comparison:
    def __init__(self, old: Json, new: Json) -> None:
        self._old = old
        self._new = new

    def document(self) -> Iterator[str]:
        for path, item in self._old["paths"].items():
            for method in _METHODS:
                if method in item:
                    where = f"{method.upper()} {path}"
                    other = self._new["paths"].get(path, {}).get(method)
                    yield from self._operation(item[method], other, where) if other else [f"{where} is gone"]
        schemas = self._new["components"]["schemas"]
        for name in self._old["components"]["schemas"]:
            if name not in schemas:
                yield f"the schema {name} is gone, and with it a type of generated clients"

    def _operation(self, old: Json, new: Json, where: str) -> Iterator[str]:
        if old["operationId"] != new["operationId"]:
            yield f"{where} has another operationId, which is a function's name in generated clients"
        yield from self._parameters(old, new, where)
        yield from self._body(old, new, where)
        answers = {status: self._there(answer, self._new) for status, answer in new["responses"].items()}
        for status, answer in old["responses"].items():
            if status not in answers:
                if status.startswith("2"):
                    yield f"{where} answers no {status} any more"
                continue
            before, at = self._there(answer, self._old), f"{where} {status}"
            for name in before.get("headers", {}):
                if name not in answers[status].get("headers", {}):
                    yield f"{at} has no header {name} any more"
            yield from self._content(before, answers[status], "answer", at)

    def _parameters(self, old: Json, new: Json, where: str) -> Iterator[str]:
        before = {(p["in"], p["name"]): p for p in self._all(old.get("parameters", []), self._old)}
        after = {(p["in"], p["name"]): p for p in self._all(new.get("parameters", []), self._new)}
        for key in before:
            if key not in after:
                yield f"{where} has no parameter {key[1]} any more"
        for key, parameter in after.items():
            if parameter.get("required") and not before.get(key, {}).get("required"):
                yield f"{where} requires the parameter {key[1]}"
            if key in before:
                yield from self._schema(before[key]["schema"], parameter["schema"], "request", f"{where} ?{key[1]}")

    def _body(self, old: Json, new: Json, where: str) -> Iterator[str]:
        before, after = (self._there(o.get("requestBody", {}), d) for o, d in ((old, self._old), (new, self._new)))
        if after.get("required") and not before.get("required"):
            yield f"{where} requires a body"
        yield from self._content(before, after, "request", where)
        if new.get("x-max-body-bytes", 0) < old.get("x-max-body-bytes", 0):
            yield f"{where} takes smaller bodies"

    def _content(self, old: Json, new: Json, way: Way, where: str) -> Iterator[str]:
        for media, content in old.get("content", {}).items():
            if media not in new.get("content", {}):
                yield f"{where}: {media} is gone"
            else:
                yield from self._schema(content["schema"], new["content"][media]["schema"], way, where)

    def _schema(self, old: Json, new: Json, way: Way, where: str) -> Iterator[str]:
        old, new = self._there(old, self._old), self._there(new, self._new)
        # What may be sent may only grow, and what may be answered only shrink.
        for name, values in (("types", _types), ("values", _values)):
            before, after = values(old), values(new)
            if values is _values and way == "answer" and old.get("x-extensible"):
                continue  # clients were told that there may be others
            narrow, wide = (after, before) if way == "request" else (before, after)
            if narrow is not None and (wide is None or not wide <= narrow):
                yield f"{where} has other {name}"
        for name in ("format", "pattern", "contentMediaType"):
            if old.get(name) != new.get(name):
                yield f"{where} has another {name}"
        if way == "request":
            for name in (*_LOWER, *_HIGHER):
                if name in new and (
                    name not in old or (new[name] < old[name] if name in _LOWER else new[name] > old[name])
                ):
                    yield f"{where} has a tighter {name}: {new[name]}"
        yield from self._properties(old, new, way, where)
        for name in ("items", "contentSchema"):
            if name in old and name in new:
                yield from self._schema(old[name], new[name], way, f"{where}[]" if name == "items" else where)
        yield from self._alternatives(old, new, way, where)

    def _properties(self, old: Json, new: Json, way: Way, where: str) -> Iterator[str]:
        before, after = old.get("properties", {}), new.get("properties", {})
        for name, schema in before.items():
            if name in after:
                yield from self._schema(schema, after[name], way, f"{where}.{name}")
            else:
                yield f"{where} has no {name} any more"
        promised, needed = set(old.get("required", ())), set(new.get("required", ()))
        if way == "request":
            yield from (f"{where} requires {name}" for name in sorted(needed - promised))
        else:
            yield from (f"{where} may lack {name}" for name in sorted((promised - needed) & set(after)))

    def _alternatives(self, old: Json, new: Json, way: Way, where: str) -> Iterator[str]:
        for kind in ("oneOf", "anyOf"):
            before = {_name(schema, i): schema for i, schema in enumerate(old.get(kind, []))}
            after = {_name(schema, i): schema for i, schema in enumerate(new.get(kind, []))}
            gone, came = before.keys() - after.keys(), after.keys() - before.keys()
            for name in sorted(gone if way == "request" else came):
                yield f"{where} takes no {name} any more" if way == "request" else f"{where} may be {name}, too"
            for name in before.keys() & after.keys():
                yield from self._schema(before[name], after[name], way, f"{where}:{name}")

    def _all(self, nodes: list[Json], document: Json) -> list[Json]:
        return [self._there(node, document) for node in nodes]

    def _there(self, node: Json, document: Json) -> Json:
        """`node`, or what it refers to."""
        while "$ref" in node:
            target: Any = document
            for key in node["$ref"].removeprefix("#/").split("/"):
                target = target[key]
            node = target
        return node


def _types(schema: Json) -> set[str] | None:
    """The types a value may have; None is any."""
    types = schema.get("type")
    return None if types is None else {types} if isinstance(types, str) else set(types)


def _values(schema: Json) -> set[str] | None:
    """The values that are listed; None is any."""
    listed = [schema["const"]] if "const" in schema else schema.get("enum")
    return None if listed is None else {repr(value) for value in listed}


def _name(schema: Json, index: int) -> str:
    return str(schema.get("$ref", f"/{index}")).rpartition("/")[2]


def main(arguments: list[str]) -> int:
    old = read(Path(arguments[0]) if arguments else RELEASED)
    new = read(Path(arguments[1]) if len(arguments) > 1 else CURRENT)
    found = [change for change in breaking(old, new) if change not in ACCEPTED]
    print(*found or ["Nothing is broken."], sep="\n")
    return int(bool(found) and major(new) <= major(old))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
