"""The tokens of visitors, signed with a secret that all processes and machines of the service share."""

import contextlib
import math
import secrets
import time
from collections.abc import Awaitable, Callable

from service.bounds import BOUNDS
from service.errors import ServiceError
from service.users.tokens import TokenRefusedError, Visitor, Visitors

_SECRET = "visitors"  # noqa: S105 - its name in the store
_SECRET_BYTES = 32


class SharedVisitors:
    """Visitors whose secret is fetched when it is first needed, and then kept.

    It is fetched again for each newcomer, and for a token that it has not signed: a store that has lost everything gets
    it back, or has another one by then. `shared_secret` takes a name and a proposal, and returns the secret of that
    name. What it raises is passed on.
    """

    def __init__(self, shared_secret: Callable[[str, bytes], Awaitable[bytes]], lifetime_seconds: int) -> None:
        self._shared_secret = shared_secret
        self._lifetime = lifetime_seconds
        self._secret: bytes | None = None
        self._visitors: Visitors | None = None
        self._doubted = -math.inf  # when a token last made it to be fetched

    async def welcome(self) -> Visitor:
        """Returns a new visitor."""
        if self._visitors is None:
            return (await self._fetch()).welcome()
        # While the store is away, nobody else has another secret either.
        with contextlib.suppress(ServiceError):
            await self._fetch()
        return self._visitors.welcome()

    async def user_id(self, token: str) -> str:
        """Returns the id of the visitor that the token proves. Raises TokenRefusedError."""
        known = self._visitors or await self._fetch()
        try:
            return known.user_id(token)
        except TokenRefusedError:
            if time.monotonic() < self._doubted + BOUNDS.visitors_retry_seconds:
                raise
            newer = await self._fetch()
            self._doubted = time.monotonic()
            if newer is known:
                raise
            return newer.user_id(token)

    async def _fetch(self) -> Visitors:
        secret = await self._shared_secret(_SECRET, self._secret or secrets.token_bytes(_SECRET_BYTES))
        if self._visitors is None or secret != self._secret:
            self._secret, self._visitors = secret, Visitors(secret, self._lifetime)
        return self._visitors
