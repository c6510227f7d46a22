"""Which websites' pages may call: CORS without credentials (https://fetch.spec.whatwg.org/#http-cors-protocol).

A browser asks beforehand, in a preflight, whether a page of another website may send JSON or a key. It does not ask
about a form, which a page may post anywhere. So where CORS_ALLOW_ORIGINS names websites, that is refused here.
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
# A page may send any header. These need not be asked for, and the header that allows others names them all the same.
_PLAIN_HEADERS = {"Accept", "Accept-Language", "Content-Language", "Content-Type"}
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PREFLIGHT_SECONDS = 600
_EXPOSED: Header = (b"access-control-expose-headers", ", ".join(contract().document["components"]["headers"]).encode())
# A cache must not give one website the answer to another.
_VARY: Header = (b"vary", b"Origin")


class Cors:
    """ASGI middleware: answers preflights, and lets the pages of `origins`, or of any with `*`, read every answer."""

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
            app = _preflight(scope) if allowed else error_answer(scope, ServiceError(FOREIGN_WEBSITE))
        await app(scope, receive, adding(self._headers(origin if allowed else None), send))

    def _headers(self, origin: bytes | None) -> list[Header]:
        """For an answer to a page of `origin`, or to one that may not read it."""
        if self._any:
            return [(b"access-control-allow-origin", b"*"), _EXPOSED]
        return [_VARY] if origin is None else [_VARY, (b"access-control-allow-origin", origin), _EXPOSED]


class RefuseForeignPages:
    """ASGI middleware: a page that is neither of one of `origins` nor the service's own changes nothing: 400.

    What comes from no page has no `Origin` and passes. `public_url` is where the service is for its own pages, if that
    is not where the request went.
    """

    def __init__(self, app: ASGIApp, origins: tuple[str, ...], public_url: str | None) -> None:
        self._app = app
        self._origins = frozenset(origins)
        self._public_host = urlsplit(public_url or "").netloc.lower()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        foreign = scope["type"] == ScopeType.HTTP and scope["method"] not in _READING and self._is_foreign(scope)
        app = error_answer(scope, ServiceError(FOREIGN_WEBSITE)) if foreign else self._app
        await app(scope, receive, send)

    def _is_foreign(self, scope: Scope) -> bool:
        origin = header(scope, b"origin")
        if origin is None or _is_one_of(self._origins, origin) or header(scope, b"sec-fetch-site") == b"same-origin":
            return False
        # A proxy may speak https for the service, which does not see it: the host alone tells.
        host = origin.decode("latin-1").lower().partition("://")[2]
        asked = (header(scope, b"host") or b"").decode("latin-1").lower()
        return not host or host not in (asked, self._public_host)


def _is_one_of(origins: frozenset[str], origin: bytes | None) -> bool:
    return origin is not None and origin.decode("latin-1").lower() in origins


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
