"""The contract as /docs shows it: in one language, and with streams as they are on the wire.

In openapi.yaml a text is English, and its Chinese stands beside it under the same name with `x-zh-` before it.
"""

import re
from functools import cache
from typing import Any

import msgspec

from service.contract import contract
from service.pages.rendition import stream_text

Json = dict[str, Any]

LANGUAGES = ("en", "zh")
_CHINESE = "x-zh-"
# Shown where Scalar would offer its maker's generator.
_CLIENTS = [
    {
        "lang": "TypeScript",
        "source": "npx openapi-typescript@7 openapi.yaml --default-non-nullable=false -o coze-api.ts",
    },
    {"lang": "Python", "source": "openapi-python-client generate --path openapi.yaml"},
]
# Where a Chinese line is broken after punctuation, no space belongs, but Markdown would show one.
_BREAK = re.compile(r"(?<=[，。；：、）])\n *(?=[^\s-])")


@cache
def as_page_shows_it(language: str) -> bytes:
    """Returns the contract as JSON, in `en` or `zh`."""
    document = _part(contract().document, language)
    document["info"]["x-scalar-sdk-installation"] = _CLIENTS
    return msgspec.json.encode(document)


def _part(node: Any, language: str, key: str = "") -> Any:
    if isinstance(node, list):
        # Scalar's samples take the first way to prove oneself: none at all, where that is one.
        return [_part(child, language) for child in (sorted(node, key=len) if key == "security" else node)]
    if not isinstance(node, dict):
        return node
    if key == "text/event-stream":
        node = {"schema": _event(node["schema"]), "examples": stream_text(node)}
    if node.get("in") in ("header", "query") and not node.get("required"):
        node = node | _unsent(node["schema"])
    texts = {name.removeprefix(_CHINESE): _joined(text) for name, text in node.items() if name.startswith(_CHINESE)}
    # A Chinese text without an English one is of an extension, such as a tag's x-displayName.
    translated = (
        {name if name in node else f"x-{name}": text for name, text in texts.items()} if language == "zh" else {}
    )
    new = {name: _part(child, language, name) for name, child in node.items() if not name.startswith(_CHINESE)}
    return new | translated


def _joined(text: Any) -> Any:
    return _BREAK.sub("", text) if isinstance(text, str) else text


def _unsent(schema: Json) -> Json:
    """Returns an optional parameter's schema and examples such that Scalar shows these, but does not send them."""
    values = schema.get("examples", ())
    return {
        "schema": {name: value for name, value in schema.items() if name != "examples"},
        "examples": {str(index): {"value": value, "x-disabled": True} for index, value in enumerate(values)},
    }


def _event(schema: Json) -> Json:
    """Returns the schema of what a stream's `data:` lines hold, which a reader wants to see."""
    for child in (schema, *schema.get("oneOf", ())):
        data = child.get("properties", {}).get("data", {})
        for kind in (data, *data.get("anyOf", ())):
            if "contentSchema" in kind:
                event: Json = kind["contentSchema"]
                return event
    raise ValueError("A stream without events.")
