"""The token of requests to Coze: fixed, read from a file, or fetched with a key and renewed.

The SDK reads `atoken` for each request. Renewal runs in the background: requests keep using the old token while it is
valid, and wait only when it is not.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from service.bounds import BOUNDS
from service.coze import wire
from service.coze.errors import NOT_UNDERSTOOD, oauth_failure
from service.coze.http import Answer, time_limit
from service.coze.observer import Observer
from service.coze.sdk import AsyncAuth, AsyncJWTOAuthApp, HTTPRequest, Requester, RSAKey
from service.errors import BUG, ServiceError
from service.settings import Settings
from service.settings.values import token as parse_token
from service.settings.values import token_of_file

Send = Callable[[HTTPRequest[Any]], Awaitable[tuple[Answer, bytes]]]


class Token(AsyncAuth):
    """A fixed token, as the SDK wants it to sign requests."""

    token_type = "Bearer"  # noqa: S105 - the name of the scheme

    def __init__(self, token: str) -> None:
        self._token = token

    @property
    async def atoken(self) -> str:
        """Returns the token to use now. Raises ServiceError if there is none."""
        return self._token

    def refused(self) -> None:
        """Takes note that Coze has rejected the token."""


class FileToken(Token):
    """A token in a file that another process renews. While the file is bad, the last good token stays in use."""

    def __init__(self, path: Path, observer: Observer) -> None:
        self._path = path
        self._observer = observer
        self._check_at = 0.0
        self._read = _mark(path)
        self._good = True
        super().__init__(token_of_file(path))

    @property
    async def atoken(self) -> str:
        now = time.monotonic()
        if now >= self._check_at:
            self._check_at = now + BOUNDS.token_file_seconds
            self._check_file()
        return self._token

    def _check_file(self) -> None:
        try:
            mark = _mark(self._path)
            if 0 <= time.time_ns() - mark[0] < BOUNDS.token_file_seconds * 1e9:
                return
            if mark != self._read:
                self._token = token_of_file(self._path)
                self._read = mark
                self._observer.token_file_read()
            self._good = True
        except (OSError, ValueError) as error:
            if self._good:
                # Neither error quotes the file.
                reason = str(error.strerror) if isinstance(error, OSError) else f"takes {error}"
                self._observer.token_file_unusable(reason)
            self._good = False


def _mark(path: Path) -> tuple[int, ...]:
    """Returns a fingerprint of a file's state, its mtime in ns first. Raises OSError."""
    seen = path.stat()
    return seen.st_mtime_ns, seen.st_size, seen.st_ino, seen.st_dev


class FetchedToken(Token):
    """A token for a service app, fetched with a JWT that is signed with the app's private key."""

    def __init__(self, settings: Settings, send: Send, observer: Observer) -> None:
        super().__init__("")
        self._observer = observer
        key = settings.coze_jwt_oauth_private_key or settings.coze_jwt_oauth_private_key_file
        # A loaded key: given text, the SDK would parse and check it at each signature, for some 40 ms.
        loaded: Any = RSAKey.import_key(key or "")
        self._app = AsyncJWTOAuthApp(
            settings.coze_jwt_oauth_client_id or "",
            loaded,
            settings.coze_jwt_oauth_public_key_id or "",
            settings.coze_api_base,
        )
        # The SDK makes and signs the request; our transport sends it, as every other.
        self._app._requester = _Carrier(send, settings.coze_request_timeout)  # noqa: SLF001
        # By the monotonic clock: until when the token is used, when to renew it, when the next fetch is allowed.
        self._good_until = self._renew_at = self._fetch_at = 0.0
        self._doubted = False
        self._fetching: asyncio.Task[None] | None = None
        self._problem = ServiceError(BUG, cause="no token was fetched")

    @property
    async def atoken(self) -> str:
        now = time.monotonic()
        if now >= self._renew_at:
            if self._fetching is None and now >= self._fetch_at:
                self._fetching = asyncio.get_running_loop().create_task(self._fetch())
            if self._fetching is not None and (self._doubted or now >= self._good_until):
                # A request that is cancelled must not cancel the fetch that others await.
                await asyncio.shield(self._fetching)
            if time.monotonic() >= self._good_until:
                raise self._problem.again()
        return self._token

    def refused(self) -> None:
        # Many chats may meet one bad token at once, which is one reason to fetch another.
        if time.monotonic() >= self._fetch_at:
            self._renew_at = 0.0
            self._doubted = True

    async def _fetch(self) -> None:
        try:
            token, life = await self._request_token()
            now = time.monotonic()
            self._token = token
            self._good_until, self._renew_at = (
                now + BOUNDS.token_use_until * life,
                now + BOUNDS.token_renew_after * life,
            )
            self._observer.token_fetched(life)
        except ServiceError as error:
            self._problem = error
            self._observer.token_not_fetched(error)
        finally:
            self._doubted = False
            self._fetch_at = time.monotonic() + BOUNDS.token_retry_seconds
            self._fetching = None

    async def _request_token(self) -> tuple[str, float]:
        """Fetches a token. Returns it and its lifetime in seconds. Raises ServiceError."""
        exchanged: Any = await self._app.get_access_token(BOUNDS.token_seconds)
        answer, body = exchanged
        try:
            said = wire.decode_token(body)
        except wire.UNDECODABLE:
            said = wire.Token()
        if said.error_code or said.code or answer.status != 200:
            failure = oauth_failure(str(said.error_code), code=said.code or None, status=answer.status)
            raise ServiceError(failure, code=said.code, cause=f"no token, HTTP {answer.status}", logid=answer.logid)
        try:
            token = parse_token(said.access_token or "")
        except ValueError:
            raise ServiceError(NOT_UNDERSTOOD, cause="an answer without a token", logid=answer.logid) from None
        life = lifetime(said.expires_in)
        if life is None:
            self._observer.token_end_not_believed(BOUNDS.token_seconds)
        return token, life or BOUNDS.token_seconds


class _Carrier(Requester):
    """Lets the SDK send a request by the service's transport. Returns the answer and its body."""

    def __init__(self, send: Send, timeout: float) -> None:
        super().__init__()
        self._send = send
        self._timeout = timeout

    async def asend(self, request: HTTPRequest[Any]) -> Any:
        async with time_limit(self._timeout):
            return await self._send(request)


def lifetime(expires_in: Any) -> float | None:
    """Returns the seconds until `expires_in`, which Coze gives as Unix time; None if that is implausible."""
    now = time.time()
    earliest, latest = now + BOUNDS.token_shortest_seconds, now + BOUNDS.token_seconds + BOUNDS.token_slack_seconds
    if isinstance(expires_in, int | float) and earliest <= expires_in <= latest:
        return expires_in - now
    return None


def token_for(settings: Settings, send: Send, observer: Observer) -> Token:
    """Makes the token that the settings configure. `send` sends a request to Coze and returns its answer."""
    if settings.coze_api_token is not None:
        return Token(settings.coze_api_token)
    if settings.coze_api_token_file is not None:
        return FileToken(settings.coze_api_token_file, observer)
    return FetchedToken(settings, send, observer)
