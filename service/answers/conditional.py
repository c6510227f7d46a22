"""Conditional answers (RFC 9110, section 13): what a client has already is not sent again."""

import hashlib
from collections.abc import Mapping

import msgspec
from litestar.response.base import ASGIResponse
from msgspec import Struct


def has_already(headers: Mapping[str, str], etag: str) -> bool:
    """Whether a request's If-None-Match names `etag`. The comparison is the weak one (RFC 9110, section 13.1.2)."""
    condition = headers.get("if-none-match", "")
    return condition.strip() == "*" or etag in {tag.strip().removeprefix("W/") for tag in condition.split(",")}


def tagged_answer(document: Struct, request: Mapping[str, str]) -> ASGIResponse:
    """Makes the answer with a document, or 304, according to the request's headers.

    A client that keeps the document has to ask each time whether it is still current, as it may change at any time.
    """
    body = msgspec.json.encode(document)
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if has_already(request, etag):
        return ASGIResponse(status_code=304, headers=headers)
    return ASGIResponse(body=body, media_type="application/json", headers=headers)
