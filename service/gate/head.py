"""Checks of a request's head beyond its syntax, which RFC 9110 and 9112 want answered with 400."""

import re

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from service.answers.errors import error_answer
from service.bounds import BOUNDS
from service.errors import BAD_REQUEST, ServiceError

# Host and port by RFC 3986, section 3.2.2; both may be empty.
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?")
# More digits than any real length has; int() gets slow, and fails, with many more.
_MAX_LENGTH_DIGITS = 19


class HeadCheck:
    """ASGI middleware: answers 400 to a request with an invalid head."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fault = _fault(scope) if scope["type"] == ScopeType.HTTP else None
        app = self._app if fault is None else error_answer(scope, ServiceError(BAD_REQUEST, fault))
        await app(scope, receive, send)


def _fault(scope: Scope) -> str | None:
    if len(scope["raw_path"]) > BOUNDS.request_path_bytes:
        return "The request's path is too long."
    hosts: list[bytes] = []
    for name, value in scope["headers"]:
        if name == b"host":
            hosts.append(value)
        elif name == b"content-length" and len(value) > _MAX_LENGTH_DIGITS:
            return "The request's Content-Length is no length."
        elif name == b"transfer-encoding" and (value.lower() != b"chunked" or scope["http_version"] == "1.0"):
            return "The request's Transfer-Encoding must be chunked, and its HTTP version 1.1."
    if len(hosts) > 1 or (not hosts and scope["http_version"] != "1.0"):
        return "The request must have one Host header."
    if hosts and not _HOST.fullmatch(hosts[0]):
        return "The request's Host is no host."
    return None
