"""Callers: the holders of API keys where the operator asks for keys, else client addresses.

Scheme and headers: RFC 6750 (`Authorization: Bearer …`). Keys are kept as SHA-256. A slow hash would only cost time,
because a key is 256 random bits and not a password that can be guessed from a list.
"""

import hashlib
import hmac
import ipaddress
import re
import secrets

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from service.answers.errors import error_answer
from service.errors import KEY_MISSING, KEY_WRONG, ServiceError
from service.files.links import FILES_PATH
from service.observe.record import record_of

_API = "/api/v1/"
_BEARER = re.compile(rb"bearer +([!-~]+) *", re.IGNORECASE)
_CHALLENGE = 'Bearer realm="coze-service"'


def is_api_call(scope: Scope) -> bool:
    """Whether the request calls the API; preflights, `/`, `/health`, the docs and the pages do not."""
    return bool(scope["type"] == ScopeType.HTTP and scope["method"] != "OPTIONS" and scope["path"].startswith(_API))


def new_key(name: str) -> tuple[str, str]:
    """Returns a new key for the caller `name`, and the entry of API_KEYS that admits it."""
    key = secrets.token_urlsafe(32)
    return key, f"{name}:{_digest(key.encode()).hex()}"


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


class Callers:
    """The callers with keys, as pairs of a name and the SHA-256 of the key. With none, no key is needed."""

    def __init__(self, keys: tuple[tuple[str, bytes], ...]) -> None:
        self._keys = keys

    def identify(self, scope: Scope) -> str | None:
        """Returns the name of the caller whose key the request carries, if any, and records it."""
        if not self._keys or not (key := _sent_key(scope)):
            return None
        digest = _digest(key)
        # Compare with all of them, each in constant time, so that the time reveals nothing.
        names = [name for name, known in self._keys if hmac.compare_digest(known, digest)]
        record_of(scope).caller = names[0] if names else None
        return record_of(scope).caller

    def limit_key(self, scope: Scope) -> str:
        """Returns the key of the rate limit: by caller if there is one, else by address."""
        name = self.identify(scope)
        return f"key:{name}" if name else _address(scope)


def _sent_key(scope: Scope) -> bytes:
    """Returns the request's key; empty if it has none, or several."""
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    match = _BEARER.fullmatch(values[0]) if len(values) == 1 else None
    return match[1] if match else b""


def _address(scope: Scope) -> str:
    """Returns the client's IPv4 address, or the /64 network of its IPv6 address, which is one subscriber's."""
    client = scope.get("client")
    host = client[0] if client else ""
    if ":" not in host:
        return host
    try:
        address = ipaddress.IPv6Address(host)
    except ValueError:
        return host
    return str(address.ipv4_mapped or ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))


class RequireKey:
    """ASGI middleware: answers 401 to a call of the API without a known key."""

    def __init__(self, app: ASGIApp, callers: Callers) -> None:
        self._app = app
        self._callers = callers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not is_api_call(scope) or _is_signed(scope) or self._callers.identify(scope):
            await self._app(scope, receive, send)
            return
        sent = _sent_key(scope)
        challenge = f'{_CHALLENGE}, error="invalid_token"' if sent else _CHALLENGE
        error = ServiceError(KEY_WRONG if sent else KEY_MISSING)
        await error_answer(scope, error, {"WWW-Authenticate": challenge})(scope, receive, send)


def _is_signed(scope: Scope) -> bool:
    """Whether the request reads a file by its link, which carries a signature of its own."""
    return bool(
        scope["type"] == ScopeType.HTTP and scope["method"] in ("GET", "HEAD") and scope["path"].startswith(FILES_PATH)
    )
