"""The caller of a request: what it has proven, and for which user it may speak."""

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
