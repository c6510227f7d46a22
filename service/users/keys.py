"""The keys that users' tokens are checked with: one from the settings, or those that a server publishes (JWKS).

The key decides which algorithms it takes; the token only names one of them, and cannot choose a weaker check
(RFC 8725, sections 2.1 and 3.1).
"""

import asyncio
import contextlib
import math
import ssl
import time
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import httpx
import msgspec
import structlog
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey, import_key

from service.bounds import BOUNDS
from service.coze.http import Route

log = structlog.get_logger()

# Which keys and algorithms are taken is decided here. Logins still say EdDSA, which RFC 9864 renames.
warnings.filterwarnings("ignore", category=SecurityWarning)

# RFC 7518, sections 3.2 and 3.3.
MIN_SECRET_BYTES = 32
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
    """The keys, wherever they come from."""

    async def keys(self, kid: str | None) -> list[VerifyingKey]:
        """The keys that may have signed a token that names `kid`. Raises KeysUnavailableError if none are known yet."""

    async def newer_keys(self, kid: str | None) -> list[VerifyingKey]:
        """The same, fetched anew because none of `keys` has signed the token; empty if that brought nothing new."""


class FixedKey:
    """One key from the settings."""

    def __init__(self, key: VerifyingKey) -> None:
        self._keys = [key]

    async def keys(self, kid: str | None) -> list[VerifyingKey]:
        return self._keys

    async def newer_keys(self, kid: str | None) -> list[VerifyingKey]:
        return []


class JwksKeys:
    """The keys that a server publishes as a JWKS (RFC 7517). They are fetched when first needed, and kept.

    Old keys serve on while the server does not answer, and no token that they can check waits for it.
    """

    def __init__(self, url: str, route: Route) -> None:
        """`route` leads to the server of `url`."""
        self._url = url
        self._route = route
        self._keys: list[VerifyingKey] | None = None
        self._fetched = self._tried = -math.inf
        self._fetching: asyncio.Task[None] | None = None

    async def keys(self, kid: str | None) -> list[VerifyingKey]:
        if self._keys is None:
            await self._fetch()
        elif time.monotonic() >= self._fetched + BOUNDS.published_keys_fresh_seconds:
            self._begin_fetch()
        if self._keys is None:
            raise KeysUnavailableError("the keys of users' tokens cannot be fetched")
        return [key for key in self._keys if kid is None or key.kid is None or key.kid == kid]

    async def newer_keys(self, kid: str | None) -> list[VerifyingKey]:
        known = self._keys
        await self._fetch()
        return [] if self._keys is known else await self.keys(kid)

    async def _fetch(self) -> None:
        self._begin_fetch()
        if self._fetching is not None:
            # A client that leaves must not end it for the others.
            await asyncio.shield(self._fetching)

    def _begin_fetch(self) -> None:
        """Begins a fetch unless one is under way or was a short while ago."""
        pause = BOUNDS.published_keys_first_seconds if self._keys is None else BOUNDS.published_keys_retry_seconds
        if self._fetching is None and time.monotonic() >= self._tried + pause:
            self._tried = time.monotonic()
            self._fetching = asyncio.create_task(self._replace())
            self._fetching.add_done_callback(self._end_fetch)

    def _end_fetch(self, _: asyncio.Task[None]) -> None:
        self._fetching = None

    async def _replace(self) -> None:
        try:
            async with asyncio.timeout(BOUNDS.published_keys_seconds):
                self._keys = _keys_in(await _read(self._url, self._route))
        except (httpx.HTTPError, OSError, ValueError) as error:
            log.warning("the keys of users' tokens cannot be fetched", cause=str(error) or type(error).__name__)
        else:
            self._fetched = time.monotonic()


async def _read(url: str, route: Route) -> bytes:
    """The document at `url`. Raises ValueError for any other answer than a document of bounded length."""
    # Without TLS there is nobody to trust; the client would load certificates all the same.
    tls = route.tls or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    proxy = None
    if route.proxy is not None:
        address, authorization = route.proxy.address, route.proxy.authorization
        scheme, own_tls = ("https", tls) if address.tls else ("http", None)
        given = {"Proxy-Authorization": authorization} if authorization else {}
        proxy = httpx.Proxy(f"{scheme}://{address}", ssl_context=own_tls, headers=given)
    # Bytes as they come: compressed ones could be far more than they seem.
    headers = {"Accept": "application/jwk-set+json, application/json", "Accept-Encoding": "identity"}
    async with (
        httpx.AsyncClient(verify=tls, proxy=proxy, trust_env=False, timeout=BOUNDS.published_keys_seconds) as client,
        client.stream("GET", url, headers=headers) as response,
    ):
        if response.status_code != 200:
            raise ValueError(f"HTTP {response.status_code}")
        body = bytearray()
        async for part in response.aiter_raw():
            body += part
            if len(body) > BOUNDS.published_keys_bytes:
                raise ValueError("the document is too long")
        return bytes(body)


def _keys_in(document: bytes) -> list[VerifyingKey]:
    """The keys of a JWKS that can verify. Raises ValueError if there is none."""
    try:
        rows = msgspec.json.decode(document)["keys"]
    except (msgspec.DecodeError, UnicodeError, RecursionError, LookupError, TypeError):
        raise ValueError("the document is no JWKS") from None
    found = []
    for row in rows[: BOUNDS.published_keys] if isinstance(rows, list) else ():
        # A published secret proves nothing, and keys for encryption do not sign.
        if isinstance(row, dict) and row.get("kty") in ("RSA", "EC", "OKP") and row.get("use", "sig") == "sig":
            # A key that is broken or of a new kind must not spoil its neighbours.
            with contextlib.suppress(BadKeyError):
                found.append(_verifying_key(_imported(row), row))
    if not found:
        raise ValueError("the document holds no key that can be used")
    return found


def secret_key(secret: str) -> VerifyingKey:
    """The key of HS256. Raises BadKeyError if it is short enough to be found by trying."""
    if len(secret.encode()) < MIN_SECRET_BYTES:
        raise BadKeyError(f"at least {MIN_SECRET_BYTES} bytes")
    return VerifyingKey(OctKey.import_key(secret), ("HS256",))


def public_key(pem: str) -> VerifyingKey:
    """The key in a PEM text. Its kind decides: RS256, ES256 (for other curves ES384, ES512) or EdDSA.

    Raises BadKeyError.
    """
    for kind in ("RSA", "EC", "OKP") if "PUBLIC KEY" in pem and "PRIVATE" not in pem else ():
        with contextlib.suppress(BadKeyError):
            return _verifying_key(_imported(pem, kind), {})
    raise BadKeyError("a public key in PEM: RSA of 2048 bits or more, EC (P-256, P-384, P-521) or Ed25519")


def _imported(source: Any, kind: Any = None) -> Any:
    """The key in a JWK or a PEM text. Raises BadKeyError, since there is no list of what the libraries below raise."""
    try:
        return import_key(source, kind)
    except Exception:
        raise BadKeyError("a key that can be read") from None


def _verifying_key(key: Any, row: Mapping[str, Any]) -> VerifyingKey:
    """The key with its algorithms: those of its kind, of which `alg` in its JWK, `row`, chooses. Raises BadKeyError."""
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
