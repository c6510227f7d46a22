"""The keys that users' tokens are signed with: one that the operator gives, or those that a JWKS server publishes.

A key says which algorithms it is for; a token only names one of them. So a token cannot choose to be checked in a
weaker way (RFC 8725, sections 2.1 and 3.1).
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import httpx
import msgspec
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey, import_key

log = structlog.get_logger()

# How soon a JWKS server is asked again, for a token that names a key which is not known.
_REFETCH_SECONDS = 30.0
# How long a set of keys serves before it is fetched again, so that a key that was withdrawn ends.
_FRESH_SECONDS = 3600.0
_FETCH_SECONDS = 5.0
_MAX_JWKS_BYTES = 256 * 1024
_MAX_KEYS = 100
_MIN_RSA_BITS = 2048

_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_EC = {"P-256": ("ES256",), "P-384": ("ES384",), "P-521": ("ES512",)}
_OKP = {"Ed25519": ("EdDSA", "Ed25519")}

Key = OctKey | RSAKey | ECKey | OKPKey


class BadKeyError(Exception):
    """A key cannot be used. The text says what is wanted, without the key."""


class KeysUnavailableError(Exception):
    """The keys cannot be fetched just now. The text says why, without the address."""


class VerifyingKey(NamedTuple):
    """A key, the algorithms that it is for, and the id that tokens name it by, if it has one."""

    key: Key
    algorithms: tuple[str, ...]
    kid: str | None = None


class KeySource(Protocol):
    """Where the keys come from."""

    async def keys(self, kid: str | None) -> list[VerifyingKey]:
        """The keys that a token which names `kid` may have been signed with. Raises KeysUnavailableError."""


class FixedKey:
    """One key that stays."""

    def __init__(self, key: VerifyingKey) -> None:
        self._keys = [key]

    async def keys(self, kid: str | None) -> list[VerifyingKey]:
        return self._keys


class JwksKeys:
    """The keys published at `url` (RFC 7517). They are fetched when first needed and kept; the old ones serve on while
    the server cannot be reached.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._keys: list[VerifyingKey] | None = None
        self._fetched = self._tried = -_FRESH_SECONDS
        self._fetching = asyncio.Lock()

    async def keys(self, kid: str | None) -> list[VerifyingKey]:
        if not self._serves(kid):
            async with self._fetching:
                # Another token may have had them fetched meanwhile.
                if not self._serves(kid) and time.monotonic() >= self._tried + _REFETCH_SECONDS:
                    await self._fetch()
        if self._keys is None:
            raise KeysUnavailableError("no keys yet")
        return [key for key in self._keys if kid is None or key.kid is None or key.kid == kid]

    def _serves(self, kid: str | None) -> bool:
        if self._keys is None or time.monotonic() >= self._fetched + _FRESH_SECONDS:
            return False
        return kid is None or any(key.kid == kid for key in self._keys)

    async def _fetch(self) -> None:
        self._tried = time.monotonic()
        try:
            async with asyncio.timeout(_FETCH_SECONDS):
                self._keys = _keys_in(await _read(self._url))
        except (httpx.HTTPError, TimeoutError, ValueError) as error:
            log.warning("the keys of users' tokens cannot be fetched", cause=str(error) or type(error).__name__)
            return
        self._fetched = self._tried


async def _read(url: str) -> bytes:
    """The document at `url`. Raises ValueError if it is no good answer, or too long."""
    async with (
        httpx.AsyncClient(timeout=_FETCH_SECONDS, follow_redirects=False) as client,
        client.stream("GET", url, headers={"Accept": "application/json"}) as response,
    ):
        if response.status_code != 200:
            raise ValueError(f"HTTP {response.status_code}")
        body = bytearray()
        async for part in response.aiter_bytes():
            body += part
            if len(body) > _MAX_JWKS_BYTES:
                raise ValueError("the document is too long")
        return bytes(body)


def _keys_in(document: bytes) -> list[VerifyingKey]:
    """The keys of a JWKS that can verify. Raises ValueError if there is none."""
    try:
        rows = msgspec.json.decode(document)["keys"]
    except (msgspec.DecodeError, LookupError, TypeError):
        raise ValueError("the document is no JWKS") from None
    found = []
    for row in rows[:_MAX_KEYS] if isinstance(rows, list) else ():
        # A secret in a public document is nobody's proof; keys for encryption do not sign.
        if isinstance(row, dict) and row.get("kty") in ("RSA", "EC", "OKP") and row.get("use", "sig") == "sig":
            try:
                found.append(_verifying_key(import_key(row), row))
            except (BadKeyError, JoseError, ValueError, TypeError, LookupError):
                continue
    if not found:
        raise ValueError("the document holds no key that verifies")
    return found


def secret_key(secret: str) -> VerifyingKey:
    """The key of HS256."""
    if len(secret.encode()) < 32:
        raise BadKeyError("at least 32 bytes")
    return VerifyingKey(OctKey.import_key(secret), ("HS256",))


def public_key(pem: str) -> VerifyingKey:
    """The key in a PEM text: RS256, ES256 (and its kin by the curve) or EdDSA, by its kind. Raises BadKeyError."""
    wants = "a public key as PEM: RSA of 2048 bits or more, EC (P-256, P-384, P-521) or Ed25519"
    if "PRIVATE" in pem or "PUBLIC" not in pem:
        raise BadKeyError(wants)
    for kind in ("RSA", "EC", "OKP"):
        try:
            return _verifying_key(import_key(pem, kind), {})
        except (BadKeyError, JoseError, ValueError, TypeError):
            continue
    raise BadKeyError(wants)


def _verifying_key(key: Any, row: Mapping[str, Any]) -> VerifyingKey:
    """The key with what it is for: its kind decides, and `alg` of a JWK narrows that."""
    algorithms: tuple[str, ...] = ()
    if isinstance(key, RSAKey) and key.raw_value.key_size >= _MIN_RSA_BITS:
        algorithms = _RSA if row else ("RS256",)
    elif isinstance(key, ECKey):
        algorithms = _EC.get(key.curve_name, ())
    elif isinstance(key, OKPKey):
        algorithms = _OKP.get(key.curve_name, ())
    if "alg" in row:
        algorithms = tuple(name for name in algorithms if name == row["alg"])
    if not algorithms:
        raise BadKeyError("a key that can verify")
    kid = row.get("kid")
    return VerifyingKey(key, algorithms, kid if isinstance(kid, str) else None)
