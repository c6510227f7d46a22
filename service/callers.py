"""Who calls: nobody in particular, or where the operator has given out keys, the one whose key it is.

`API_KEYS` holds a SHA-256 of each key. The keys are 256 random bits, so that nothing slower is needed to protect them.
"""

import hashlib
import hmac
import re
import secrets
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import ASGIApp, Receive, Scope, Send

from service.errors import NO_KEY, WRONG_KEY, ServiceError
from service.request_log import record_of

_GUARDED = "/api/v1/"
# https://datatracker.ietf.org/doc/html/rfc6750#section-2.1
_BEARER = re.compile(rb"bearer +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)


def new_key(name: str) -> tuple[str, str]:
    """A key for a caller, and its entry in `API_KEYS`."""
    key = f"csk_{secrets.token_urlsafe(32)}"
    return key, f"{name}:{hashlib.sha256(key.encode()).hexdigest()}"


class Callers:
    """ASGI middleware: notes whose key a call brings. It refuses nobody, so that the calls of guessers are counted."""

    def __init__(self, app: ASGIApp, keys: tuple[tuple[str, bytes], ...]) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = _authorization(scope)
        bearer = _BEARER.fullmatch(given) if given else None
        if bearer is not None:
            record_of(scope).caller = self._name_of(bearer[1])
        await self._app(scope, receive, send)

    def _name_of(self, key: bytes) -> str | None:
        given, found = hashlib.sha256(key).digest(), None
        for name, digest in self._keys:
            # All of them, whichever fits: the time taken says nothing.
            if hmac.compare_digest(digest, given):
                found = name
        return found


def need_key(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Litestar guard: raises ServiceError (401) for a call of the API without a key that is known."""
    scope = connection.scope
    if scope["path"].startswith(_GUARDED) and record_of(scope).caller is None:
        raise ServiceError(WRONG_KEY if _authorization(scope) else NO_KEY)


def _authorization(scope: Scope) -> bytes | None:
    return next((value for name, value in scope["headers"] if name == b"authorization"), None)
