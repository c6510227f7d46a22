"""Callers: what a request's Authorization proves, if it has any.

Scheme and headers: RFC 6750 (`Authorization: Bearer …`). Keys are kept as SHA-256. A slow hash would only cost time,
because a key is 256 random bits and not a password that can be guessed from a list.
"""

import hashlib
import hmac
import re
import secrets

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from service.answers.errors import error_answer
from service.errors import (
    KEY_MISSING,
    KEY_WRONG,
    USER_KEYS_UNAVAILABLE,
    USER_TOKEN_MISSING,
    USER_TOKEN_WRONG,
    ServiceError,
)
from service.files.links import FILES_PATH
from service.observe.record import record_of
from service.users.caller import CLAIMED, Caller, Kind, caller_of, set_caller
from service.users.keys import KeysUnavailableError
from service.users.tokens import TokenRefusedError, UserTokens, Visitors
from service.users.visitors import SharedVisitors

_API = ("/api/v1/", "/openai/")
_BEARER = re.compile(rb"bearer +([!-~]+) *", re.IGNORECASE)
_REFUSAL = "refusal"  # its place in the state of a scope
_VISITORS = ("POST", "/api/v1/visitors")


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
    """Finds out who calls, from what the Authorization header proves.

    `keys` are pairs of a name and the SHA-256 of an API key. Where there are keys, or `user_tokens` of the frontend's
    own login, a caller has to prove something; elsewhere a caller may just claim to be a user.
    """

    def __init__(
        self,
        keys: tuple[tuple[str, bytes], ...],
        user_tokens: UserTokens | None = None,
        visitors: SharedVisitors | None = None,
    ) -> None:
        self._keys = keys
        self._user_tokens = user_tokens
        self._visitors = visitors
        # What is said to a caller who has proven nothing, where that is asked for.
        self.required = KEY_MISSING if keys else USER_TOKEN_MISSING if user_tokens is not None else None

    async def identify(self, scope: Scope) -> Caller:
        """Returns the caller. Raises ServiceError: 401 if nothing is proven, 503 if that cannot be checked."""
        sent = _sent(scope)
        if not sent:
            return CLAIMED
        if (name := self._key_name(sent)) is not None:
            return Caller(Kind.BACKEND, name=name)
        token = sent.decode()
        try:
            if self._visitors is not None and Visitors.are_named_by(token):
                return Caller(Kind.VISITOR, await self._visitors.user_id(token))
            if self._user_tokens is not None:
                return Caller(Kind.USER, await self._user_tokens.user_id(token))
        except TokenRefusedError as error:
            raise ServiceError(USER_TOKEN_WRONG, cause=f"token: {error}") from None
        except KeysUnavailableError as error:
            raise ServiceError(USER_KEYS_UNAVAILABLE, cause=f"keys: {error}") from None
        if self._keys:
            raise ServiceError(KEY_WRONG)
        # Nobody asked for it, and other services' headers come along from some proxies.
        return CLAIMED

    def _key_name(self, sent: bytes) -> str | None:
        if not self._keys:
            return None
        digest = _digest(sent)
        # Compare with all of them, each in constant time, so that the time reveals nothing.
        names = [name for name, known in self._keys if hmac.compare_digest(known, digest)]
        return names[0] if names else None


class Identify:
    """ASGI middleware: finds out who calls the API. What proves nothing is refused later, once it has been counted."""

    def __init__(self, app: ASGIApp, callers: Callers) -> None:
        self._app = app
        self._callers = callers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if is_api_call(scope):
            try:
                caller = await self._callers.identify(scope)
                set_caller(scope, caller)
                record_of(scope).caller, record_of(scope).caller_kind = caller.name, caller.kind
            except ServiceError as error:
                scope["state"][_REFUSAL] = error
        await self._app(scope, receive, send)


class RequireCaller:
    """ASGI middleware: refuses a call whose Authorization proves nothing, or that has none where one is needed."""

    def __init__(self, app: ASGIApp, callers: Callers) -> None:
        self._app = app
        self._callers = callers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not is_api_call(scope) or _is_open(scope):
            await self._app(scope, receive, send)
            return
        error: ServiceError | None = scope["state"].get(_REFUSAL)
        if error is None and self._callers.required and caller_of(scope).kind is Kind.CLAIMED:
            error = ServiceError(self._callers.required)
        await (self._app if error is None else error_answer(scope, error))(scope, receive, send)


def _sent(scope: Scope) -> bytes:
    """Returns what the request's Authorization carries; empty if there is none, or several that differ.

    Some generated clients send the same one for each scheme of the contract.
    """
    values = {value for name, value in scope["headers"] if name == b"authorization"}
    match = _BEARER.fullmatch(values.pop()) if len(values) == 1 else None
    return match[1] if match else b""


def _is_open(scope: Scope) -> bool:
    """Whether the request reads a file by its link, which carries a signature of its own, or asks for a first token."""
    if scope["type"] != ScopeType.HTTP:
        return True
    method, path = scope["method"], scope["path"]
    return (method in ("GET", "HEAD") and path.startswith(FILES_PATH)) or (method, path) == _VISITORS
