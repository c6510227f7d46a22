"""The token of each request to Coze: fixed, read from a file again and again, or fetched with a key and renewed.

The SDK asks `atoken` for it whenever it makes a request. A token that is renewed is renewed beside the requests: those
that come meanwhile take the old one for as long as it is good, and wait only if it is not.
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
    """What the SDK signs its requests with; this one stays as it is."""

    token_type = "Bearer"  # noqa: S105 - the name of the scheme

    def __init__(self, token: str) -> None:
        self._token = token

    @property
    async def atoken(self) -> str:
        """The token to use now. Raises ServiceError if there is none."""
        return self._token

    def refused(self) -> None:
        """Coze has not accepted the token, however good it seemed."""


class FileToken(Token):
    """A token that somebody else renews, in a file. Whatever becomes of the file, the last good token stays."""

    def __init__(self, path: Path, observer: Observer) -> None:
        self._path = path
        self._observer = observer
        self._look_at = 0.0
        self._read = _mark(path)
        self._good = True
        super().__init__(token_of_file(path))

    @property
    async def atoken(self) -> str:
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + BOUNDS.token_file_seconds
            self._look()
        return self._token

    def _look(self) -> None:
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
    """What changes with a file, its time in ns first. Raises OSError."""
    seen = path.stat()
    return seen.st_mtime_ns, seen.st_size, seen.st_ino, seen.st_dev


class FetchedToken(Token):
    """A token of Coze's for a service app, fetched by proving with a JWT that one has the app's private key."""

    def __init__(self, settings: Settings, send: Send, observer: Observer) -> None:
        super().__init__("")
        self._observer = observer
        key = settings.coze_jwt_oauth_private_key or settings.coze_jwt_oauth_private_key_file
        # The SDK wants the key's text and would check all of it at each signature, for some 40 ms.
        loaded: Any = RSAKey.import_key(key or "")
        self._app = AsyncJWTOAuthApp(
            settings.coze_jwt_oauth_client_id or "",
            loaded,
            settings.coze_jwt_oauth_public_key_id or "",
            settings.coze_api_base,
        )
        # The SDK makes and signs the request; what carries it is ours, as with every other.
        self._app._requester = _Carrier(send, settings.coze_request_timeout)  # noqa: SLF001
        # Times of the monotonic clock: until when the token is good, when it is to be renewed, when one may be fetched.
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
                # One who leaves must not take the token from the others.
                await asyncio.shield(self._fetching)
            if time.monotonic() >= self._good_until:
                problem = self._problem
                raise ServiceError(problem.failure, code=problem.code, logid=problem.logid, cause=problem.cause)
        return self._token

    def refused(self) -> None:
        # The chats that meet one bad token together are many: their calls are one reason to fetch another.
        if time.monotonic() >= self._fetch_at:
            self._renew_at = 0.0
            self._doubted = True

    async def _fetch(self) -> None:
        try:
            token, life = await self._ask()
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

    async def _ask(self) -> tuple[str, float]:
        """A new token and how many seconds it lives. Raises ServiceError."""
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
    """The SDK's way to send a request, by the service's own; gives the answer and its body."""

    def __init__(self, send: Send, timeout: float) -> None:
        super().__init__()
        self._send = send
        self._timeout = timeout

    async def asend(self, request: HTTPRequest[Any]) -> Any:
        async with time_limit(self._timeout):
            return await self._send(request)


def lifetime(expires_in: Any) -> float | None:
    """The seconds until `expires_in`, which Coze gives as Unix time; None where that cannot be."""
    now = time.time()
    earliest, latest = now + BOUNDS.token_shortest_seconds, now + BOUNDS.token_seconds + BOUNDS.token_slack_seconds
    if isinstance(expires_in, int | float) and earliest <= expires_in <= latest:
        return expires_in - now
    return None


def token_for(settings: Settings, send: Send, observer: Observer) -> Token:
    """The token of the one way that is configured; `send` carries a request to Coze and brings its answer."""
    if settings.coze_api_token is not None:
        return Token(settings.coze_api_token)
    if settings.coze_api_token_file is not None:
        return FileToken(settings.coze_api_token_file, observer)
    return FetchedToken(settings, send, observer)
