"""Users' tokens: JSON Web Tokens (RFC 7519) that the frontend's own login signs, or the service for its visitors."""

import base64
import binascii
import secrets
import time
import warnings
from typing import Any, NamedTuple

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import OctKey
from joserfc.jws import JWSRegistry

from service.users.keys import KeySource, VerifyingKey

# Tokens of login services stay below 4 KiB.
_MAX_TOKEN_CHARACTERS = 16 * 1024
# By how much the clocks of whoever signs and of the service may differ.
_LEEWAY_SECONDS = 60
_MAX_USER_ID_CHARACTERS = 256
_VISITORS = "coze-service-visitors"

# RFC 9864 renames EdDSA to Ed25519; what signs tokens today still says EdDSA.
warnings.filterwarnings("ignore", "EdDSA is deprecated", SecurityWarning)


class TokenRefusedError(Exception):
    """The token proves nothing. The text says why in a few words, without anything of the token."""


class Visitor(NamedTuple):
    """A visitor's proof; `expires_at` is in seconds since 1970."""

    token: str
    user_id: str
    expires_at: int


class UserTokens:
    """Tokens of the frontend's own login: which claim names the user, and what else must be so."""

    def __init__(self, source: KeySource, *, claim: str, issuer: str | None, audience: str | None) -> None:
        self._source = source
        self._claim = claim
        self._issuer = issuer
        self._audience = audience

    async def user_id(self, token: str) -> str:
        """The id of the user that the token proves. Raises TokenRefusedError, KeysUnavailableError."""
        header = _header(token)
        kid = header.get("kid")
        keys = await self._source.keys(kid if isinstance(kid, str) else None)
        claims = _verified(token, header, keys)
        _check_claims(claims, self._issuer, self._audience)
        user_id = claims.get(self._claim)
        if isinstance(user_id, int) and not isinstance(user_id, bool):
            user_id = str(user_id)
        if not isinstance(user_id, str) or not 0 < len(user_id) <= _MAX_USER_ID_CHARACTERS:
            raise TokenRefusedError("it names no user")
        return user_id


class Visitors:
    """Tokens that the service signs for people without a login, with a secret that all its machines share."""

    def __init__(self, secret: bytes, lifetime_seconds: int) -> None:
        self._key = OctKey.import_key(secret)
        self._lifetime = lifetime_seconds

    @staticmethod
    def are_named_by(token: str) -> bool:
        """Whether the token says that it is a visitor's. Whether it is one, `user_id` decides."""
        try:
            return _header(token).get("kid") == _VISITORS
        except TokenRefusedError:
            return False

    def welcome(self, user_id: str | None = None) -> Visitor:
        """A new visitor; with `user_id` a longer life for the one who has proven to be that one."""
        user_id = user_id or f"visitor_{secrets.token_hex(16)}"
        now = int(time.time())
        claims = {"iss": _VISITORS, "sub": user_id, "iat": now, "exp": now + self._lifetime}
        token = jwt.encode({"alg": "HS256", "kid": _VISITORS}, claims, self._key, algorithms=["HS256"])
        return Visitor(token, user_id, now + self._lifetime)

    def user_id(self, token: str) -> str:
        """The id of the visitor that the token proves. Raises TokenRefusedError."""
        claims = _verified(token, _header(token), [VerifyingKey(self._key, ("HS256",))])
        _check_claims(claims, _VISITORS, None)
        user_id: str = claims["sub"]
        return user_id


def _header(token: str) -> dict[str, Any]:
    """The token's header, of which nothing is proven yet. Raises TokenRefusedError if it is none."""
    if len(token) > _MAX_TOKEN_CHARACTERS:
        raise TokenRefusedError("it is too long")
    first, _, rest = token.partition(".")
    try:
        header = msgspec.json.decode(base64.urlsafe_b64decode(first + "=" * (-len(first) % 4)))
    except (binascii.Error, ValueError, msgspec.DecodeError):
        header = None
    if not rest or not isinstance(header, dict):
        raise TokenRefusedError("it is no JSON Web Token")
    return header


def _verified(token: str, header: dict[str, Any], keys: list[VerifyingKey]) -> dict[str, Any]:
    """The claims, if one of the keys has signed them in a way that it is for. Raises TokenRefusedError."""
    # Extra fields of the header do no harm; those that must be understood (`crit`) are refused all the same.
    registry = JWSRegistry(strict_check_header=False)
    for key in keys:
        if header.get("alg") not in key.algorithms:
            continue
        registry.allowed = key.algorithms
        try:
            return dict(jwt.decode(token, key.key, registry=registry).claims)
        except (JoseError, ValueError, TypeError):
            continue
    raise TokenRefusedError("no key has signed it")


def _check_claims(claims: dict[str, Any], issuer: str | None, audience: str | None) -> None:
    wanted: dict[str, jwt.ClaimsOption] = {"exp": {"essential": True}}
    if issuer is not None:
        wanted["iss"] = {"essential": True, "value": issuer}
    if audience is not None:
        wanted["aud"] = {"essential": True, "value": audience}
    try:
        jwt.JWTClaimsRegistry(None, _LEEWAY_SECONDS, **wanted).validate(claims)
    except (JoseError, ValueError, TypeError, OverflowError) as error:
        claim = getattr(error, "claim", None)
        raise TokenRefusedError(f"its claim {claim} does not hold" if claim else "its claims do not hold") from None
