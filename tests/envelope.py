"""What every error answer has in common, whatever went wrong and on whatever path."""

import re
from typing import Any

import httpx

from service import errors
from service.coze import errors as coze_errors

UPLOAD = "/api/v1/upload"
REQUEST_ID = re.compile(r"[A-Za-z0-9._~-]{1,64}")
# Tokens, HTML of a gateway, tracebacks and type names of the code are nothing for people.
FORBIDDEN = re.compile(r"\b(pat|sat|czs)_\w|Bearer|<\w+|Traceback|\bservice\.\w|Exception\b|Error\(")


def rows() -> list[errors.Failure]:
    """Every row of the two tables of failures, each once."""
    names = vars(errors) | vars(coze_errors)
    tables = [names, *(table for table in names.values() if isinstance(table, dict))]
    found = [row for table in tables for row in table.values() if isinstance(row, errors.Failure)]
    return list({row._replace(coze=None) for row in found})


STATUSES = {row.code: row.status for row in rows()} | {"service_unavailable": 503}


TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def empty_fields(path: str) -> dict[str, None]:
    """What stands beside `success` and `message` in an error answer of `path`."""
    return {"file_id": None, "file_url": None} if path == UPLOAD else {"data": None}


def assert_envelope(body: object, path: str) -> str:
    """Checks the body of an error answer of `path`; gives its message."""
    assert isinstance(body, dict), body
    said = body.get("error", body)
    message = said.get("message")
    assert isinstance(message, str), body
    code, retry_after = said.get("code"), said.get("retry_after")
    assert code in STATUSES, body
    if f"{path}/".startswith("/openai/"):
        kind = TYPES.get(STATUSES[code], "server_error" if STATUSES[code] >= 500 else "invalid_request_error")
        assert body == {"error": {"message": message, "type": kind, "param": said["param"], "code": code}}
        assert said["param"] is None or said["param"]
    else:
        waiting = {} if retry_after is None else {"retry_after": retry_after}
        assert body == {"success": False, "message": message, "code": code, **waiting, **empty_fields(path)}
        assert retry_after is None or (retry_after >= 1 and STATUSES[code] in (429, 503))
    assert message.strip(), "an error says what is wrong"
    assert not FORBIDDEN.search(message), message
    return message


def code_of(body: Any) -> str:
    """The code in the body of an error answer, in either form."""
    code: str = body.get("error", body)["code"]
    return code


def assert_error(answer: httpx.Response, status: int, *, retry: bool = True) -> str:
    """Checks all of an error answer: status, envelope and headers; gives its message.

    `retry` is whether a 503 must say when a new try makes sense.
    """
    assert answer.status_code == status, f"{answer.status_code}: {answer.text[:500]}"
    assert answer.headers["content-type"] == "application/json"
    assert REQUEST_ID.fullmatch(answer.headers["x-request-id"])
    if "origin" in answer.request.headers:
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "x-request-id" in answer.headers["access-control-expose-headers"].lower()
    if status == 405:
        assert answer.headers["allow"]
    if status == 429 or (status == 503 and retry):
        assert int(answer.headers["retry-after"]) >= 1
    body = answer.json()
    message = assert_envelope(body, answer.request.url.path)
    assert STATUSES[code_of(body)] == status
    if "error" not in body:
        assert answer.headers.get("retry-after") == (str(body["retry_after"]) if "retry_after" in body else None)
    return message
