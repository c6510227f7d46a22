"""CORS without credentials (https://fetch.spec.whatwg.org/#http-cors-protocol), and the refusal of foreign forms.

A browser sends a preflight before a page of another origin may send JSON or a key. It sends none before a form, which
any page may post anywhere. So where CORS_ALLOW_ORIGINS names origins, such a request is refused here.
"""

import re
from urllib.parse import urlsplit

from litestar.enums import ScopeType
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp, Receive, Scope, Send

from service.answers.errors import error_answer
from service.contract import contract
from service.errors import FOREIGN_METHOD, FOREIGN_WEBSITE, ServiceError
from service.http.headers import Header, adding, header

_READING = {"GET", "HEAD", "OPTIONS"}
_METHODS = sorted({method for method, _ in contract().routes} | _READING)
# Allowed without a preflight. The header that allows others names them nonetheless.
_PLAIN_HEADERS = {"Accept", "Accept-Language", "Content-Language", "Content-Type"}
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PREFLIGHT_SECONDS = 600
_EXPOSED: Header = (b"access-control-expose-headers", ", ".join(contract().document["components"]["headers"]).encode())
# A cache must not serve one origin the answer to another.
_VARY: Header = (b"vary", b"Origin")


class Cors:
    """ASGI middleware: answers preflights, and lets pages of `origins` (`*` is any) read every answer."""

    def __init__(self, app: ASGIApp, origins: tuple[str, ...]) -> None:
        self._app = app
        self._any = "*" in origins
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        origin = header(scope, b"origin")
        allowed = self._any or _is_one_of(self._origins, origin)
        app = self._app
        if scope["method"] == "OPTIONS" and origin is not None:
            app = _preflight(scope) if allowed else _refusal(scope)
        await app(scope, receive, adding(self._headers(origin if allowed else None), send))

    def _headers(self, origin: bytes | None) -> list[Header]:
        """Returns the headers for a page of `origin`; None is a page that may not read the answer."""
        if self._any:
            return [(b"access-control-allow-origin", b"*"), _EXPOSED]
        return [_VARY] if origin is None else [_VARY, (b"access-control-allow-origin", origin), _EXPOSED]


class RefuseForeignPages:
    """ASGI middleware: answers 400 to a write of a page that is neither of `origins` nor the service's own.

    Requests of other programs have no `Origin` and pass. `public_url` is the address of the service for its own pages,
    if a proxy changes it.
    """

    def __init__(self, app: ASGIApp, origins: tuple[str, ...], public_url: str | None) -> None:
        self._app = app
        self._origins = frozenset(origins)
        self._public_host = urlsplit(public_url or "").netloc.lower()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        foreign = scope["type"] == ScopeType.HTTP and scope["method"] not in _READING and self._is_foreign(scope)
        app = _refusal(scope) if foreign else self._app
        await app(scope, receive, send)

    def _is_foreign(self, scope: Scope) -> bool:
        origin = header(scope, b"origin")
        if origin is None or _is_one_of(self._origins, origin) or header(scope, b"sec-fetch-site") == b"same-origin":
            return False
        # The scheme may differ where a proxy terminates TLS, so compare the host alone.
        host = origin.decode("latin-1").lower().partition("://")[2]
        requested_host = (header(scope, b"host") or b"").decode("latin-1").lower()
        return not host or host not in (requested_host, self._public_host)


def _is_one_of(origins: frozenset[str], origin: bytes | None) -> bool:
    return origin is not None and origin.decode("latin-1").lower() in origins


def _refusal(scope: Scope) -> ASGIApp:
    # The log shows no header of a request, so it names the setting.
    return error_answer(
        scope, ServiceError(FOREIGN_WEBSITE, cause="a page whose origin CORS_ALLOW_ORIGINS does not name")
    )


def _preflight(scope: Scope) -> ASGIApp:
    method = header(scope, b"access-control-request-method")
    if method is not None and method.decode("latin-1") not in _METHODS:
        return error_answer(scope, ServiceError(FOREIGN_METHOD))
    wanted = (header(scope, b"access-control-request-headers") or b"").decode("latin-1")
    names = {name for name in map(str.strip, wanted.split(",")) if _NAME.fullmatch(name)}
    headers = {
        "Access-Control-Allow-Methods": ", ".join(_METHODS),
        "Access-Control-Allow-Headers": ", ".join(sorted(_PLAIN_HEADERS | names)),
        "Access-Control-Max-Age": str(_PREFLIGHT_SECONDS),
    }
    return ASGIResponse(status_code=204, headers=headers)
