"""The head of a request, and what of it the application is given (RFC 9112, section 3)."""

import re
from typing import Any, NamedTuple, cast
from urllib.parse import unquote

import httptools
from litestar.types import Scope

from service.http.headers import Header

_ABSOLUTE = re.compile(rb"[a-z][a-z0-9+.-]*://(?:[^/?#]*@)?([^/?#]*)", re.IGNORECASE)

Address = tuple[str, int] | None
Target = tuple[str, bytes, bytes | None]


def target_of(url: bytes) -> Target | None:
    """Splits a request target into path, query and authority, None for none. Returns None if it is malformed."""
    try:
        parts = httptools.parse_url(url)
        path = (parts.path or b"/").decode("ascii")
    except (httptools.HttpParserInvalidURLError, UnicodeDecodeError):
        return None
    absolute = _ABSOLUTE.match(url)
    return path, parts.query or b"", absolute[1] if absolute else None


class Head(NamedTuple):
    """A head. Names of headers are in lower case."""

    method: str
    target: Target
    version: str
    headers: list[Header]
    keep_alive: bool

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for leave to send the body (RFC 9110, section 10.1.1)."""
        return self.version == "1.1" and any(
            name == b"expect" and value.lower() == b"100-continue" for name, value in self.headers
        )

    def scope(self, server: Address, client: Address, state: dict[str, Any]) -> Scope:
        """Returns the ASGI scope of the request."""
        path, query, authority = self.target
        headers = self.headers
        if authority is not None:
            # An absolute target overrides the Host header (RFC 9112, section 3.2.2).
            headers = [(name, authority if name == b"host" else value) for name, value in headers]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": self.version,
            "server": server,
            "client": client,
            "scheme": "http",
            "method": self.method,
            "root_path": "",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query,
            "headers": headers,
            "state": state,
        }
        return cast("Scope", scope)
