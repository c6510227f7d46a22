"""The caller of a request: what it has proven, for which user it may speak, and whose calls count together."""

import hashlib
import ipaddress
from enum import StrEnum
from typing import NamedTuple

from litestar.types import Scope

from service.errors import BAD_REQUEST, OTHER_USER, USER_TOKEN_MISSING, ServiceError

_KEY = "caller"


class Kind(StrEnum):
    """What is known of a caller."""

    CLAIMED = "claimed"  # nothing: it names a user, which nobody checks
    VISITOR = "visitor"  # a token of ours
    USER = "user"  # a token of the frontend's own login
    BACKEND = "backend"  # an API key


class Caller(NamedTuple):
    """A caller. `user_id` is there if a token proves it; `name` is that of an API key."""

    kind: Kind
    user_id: str | None = None
    name: str | None = None


class Principal(NamedTuple):
    """The user whom a request is for. Others have no way to what is an `owned` user's."""

    user_id: str
    owned: bool


CLAIMED = Caller(Kind.CLAIMED)


def set_caller(scope: Scope, caller: Caller) -> None:
    scope.setdefault("state", {})[_KEY] = caller


def caller_of(scope: Scope) -> Caller:
    """Returns the caller of the request with this scope."""
    caller: Caller = scope["state"].get(_KEY, CLAIMED)
    return caller


def user_of(caller: Caller, named: str | None) -> Principal:
    """Returns the user of a request that names `named`, or names none.

    Raises ServiceError: 400 if nobody says who the user is, 403 if the token proves another one.
    """
    if caller.user_id is not None:
        if named is not None and named != caller.user_id:
            raise ServiceError(OTHER_USER)
        return Principal(caller.user_id, owned=True)
    if named is None:
        if caller.kind is Kind.BACKEND:
            raise ServiceError(BAD_REQUEST, "A backend has to name the user in user_id.")
        raise ServiceError(BAD_REQUEST, "Object missing required field `user_id`")
    return Principal(named, owned=caller.kind is Kind.BACKEND)


def owner_of(caller: Caller, named: str | None) -> Principal:
    """Returns the user whose own things a request is about.

    Raises ServiceError: as `user_of`, and 401 if the caller has proven nothing.
    """
    if caller.kind is Kind.CLAIMED:
        raise ServiceError(USER_TOKEN_MISSING)
    return user_of(caller, named)


def origin_of(scope: Scope) -> str:
    """Returns whose call it is, to count calls by: a proven user's, else an API key's, else an address's."""
    caller = caller_of(scope)
    if caller.user_id is not None:
        # Whoever operates a shared store sees it.
        return f"user:{_digest(caller.user_id)}"
    return f"key:{caller.name}" if caller.name is not None else _address(scope)


def stand_in(scope: Scope) -> str:
    """Returns an id for a user whom nobody names: always the same for the same API key, else for the same address."""
    return f"unnamed-{_digest(origin_of(scope))[:32]}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


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
