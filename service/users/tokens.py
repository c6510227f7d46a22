"""JSON Web Tokens (RFC 7519) that prove who the user is, signed by the frontend's own login or, for visitors, by us."""

import base64
import contextlib
import json
import re
import secrets
import time
from typing import Any, NamedTuple

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey
from joserfc.jws import JWSRegistry

from service.bounds import BOUNDS
from service.users.keys import KeySource, VerifyingKey

# Issuer and key id of visitors' tokens.
_VISITORS = "coze-service-visitors"
# Compact serialization (RFC 7515, section 7.1). Python's decoder of base64 passes over other characters.
_TOKEN = re.compile(r"([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


class TokenRefusedError(Exception):
    """The token proves nothing. The text says why in a few words, and quotes nothing of the token."""


class Visitor(NamedTuple):
    """A visitor and their token; `expires` is in seconds since 1970 (UTC)."""

    token: str
    user_id: str
    expires: int


class UserTokens:
    """Checks tokens of the frontend's own login. `claim` names the user; issuer and audience are checked if given."""

    def __init__(self, source: KeySource, *, claim: str, issuer: str | None, audience: str | None) -> None:
        self._source = source
        self._claim = claim
        self._issuer = issuer
        self._audience = audience

    async def user_id(self, token: str) -> str:
        """The id of the user that the token proves. Raises TokenRefusedError, KeysUnavailableError."""
        header = _header(token)
        kid = header["kid"] if isinstance(header.get("kid"), str) else None
        claims = _verified(token, header, await self._source.keys(kid))
        if claims is None:
            claims = _verified(token, header, await self._source.newer_keys(kid))
        if claims is None:
            raise TokenRefusedError("no key has signed it")
        _check_claims(claims, self._issuer, self._audience)
        return _user_id(claims.get(self._claim))


class Visitors:
    """Signs and checks tokens for people without a login. All machines share the secret."""

    def __init__(self, secret: bytes, lifetime_seconds: int) -> None:
        self._key = VerifyingKey(OctKey.import_key(secret), ("HS256",))
        self._lifetime = lifetime_seconds

    @staticmethod
    def are_named_by(token: str) -> bool:
        """Whether the token says that it is a visitor's. `user_id` checks whether it is."""
        try:
            return _header(token).get("kid") == _VISITORS
        except TokenRefusedError:
            return False

    def welcome(self) -> Visitor:
        """A new visitor."""
        user_id = f"visitor_{secrets.token_hex(16)}"
        now = int(time.time())
        claims = {"iss": _VISITORS, "sub": user_id, "iat": now, "exp": now + self._lifetime}
        header = {"alg": "HS256", "kid": _VISITORS}
        token = jwt.encode(header, claims, self._key.key, algorithms=self._key.algorithms)
        return Visitor(token, user_id, now + self._lifetime)

    def user_id(self, token: str) -> str:
        """The id of the visitor that the token proves. Raises TokenRefusedError."""
        claims = _verified(token, _header(token), [self._key])
        if claims is None:
            raise TokenRefusedError("no key has signed it")
        _check_claims(claims, _VISITORS, None)
        return _user_id(claims.get("sub"))


class _Registry(JWSRegistry):
    """Takes longer headers than the library, since some logins put certificates there; the whole token is bounded."""

    max_header_length = 16 * 1024


class _Strict(json.JSONDecoder):
    """Refuses a name that stands twice: another reader of the token may take the other value."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, object_pairs_hook=_without_doubles)


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _header(token: str) -> dict[str, Any]:
    """The token's header, which nothing proves yet. Raises TokenRefusedError if it has none."""
    if len(token) > BOUNDS.user_token_characters:
        raise TokenRefusedError("it is too long")
    header = None
    if parts := _TOKEN.fullmatch(token):
        with contextlib.suppress(ValueError, RecursionError):
            header = msgspec.json.decode(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    if not isinstance(header, dict):
        raise TokenRefusedError("it is no JSON Web Token")
    return header


def _verified(token: str, header: dict[str, Any], keys: list[VerifyingKey]) -> dict[str, Any] | None:
    """The claims if one of the keys has signed them by an algorithm that it takes, else None."""
    # A header may carry what is not known here, but nothing that must be understood.
    if "crit" in header:
        return None
    for key in keys:
        if header.get("alg") in key.algorithms:
            registry = _Registry(algorithms=key.algorithms, strict_check_header=False)
            with contextlib.suppress(JoseError, ValueError, TypeError, RecursionError):
                return jwt.decode(token, key.key, registry=registry, decoder_cls=_Strict).claims
    return None


def _check_claims(claims: dict[str, Any], issuer: str | None, audience: str | None) -> None:
    """Raises TokenRefusedError unless the claims hold now, and are from the issuer and for the audience if given."""
    wanted: dict[str, jwt.ClaimsOption] = {"exp": {"essential": True}}
    if issuer is not None:
        wanted["iss"] = {"essential": True, "value": issuer}
    if audience is not None:
        wanted["aud"] = {"essential": True, "value": audience}
    try:
        jwt.JWTClaimsRegistry(None, BOUNDS.user_token_leeway_seconds, **wanted).validate(claims)
    except (JoseError, ValueError, TypeError, OverflowError) as error:
        claim = getattr(error, "claim", None)
        raise TokenRefusedError(f"its claim {claim} does not hold" if claim else "its claims do not hold") from None


def _user_id(claimed: object) -> str:
    """The user's id as text; many logins count their users. Raises TokenRefusedError."""
    user_id = str(claimed) if isinstance(claimed, int) and not isinstance(claimed, bool) else claimed
    if not isinstance(user_id, str) or not 0 < len(user_id) <= BOUNDS.user_id_characters or not _is_text(user_id):
        raise TokenRefusedError("it names no user")
    return user_id


def _is_text(value: str) -> bool:
    """Whether UTF-8 can hold it: JSON may bring half of a surrogate pair."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
