"""The tokens of visitors, signed with a secret that all processes and machines of the service share."""

import secrets
from collections.abc import Awaitable, Callable

from service.users.tokens import Visitor, Visitors

_SECRET = "visitors"  # noqa: S105 - its name in the store
_SECRET_BYTES = 32


class SharedVisitors:
    """Visitors whose secret is fetched when it is first needed, and then kept.

    `shared_secret` takes a name and a proposal, and returns the secret of that name. What it raises is passed on.
    """

    def __init__(self, shared_secret: Callable[[str, bytes], Awaitable[bytes]], lifetime_seconds: int) -> None:
        self._shared_secret = shared_secret
        self._lifetime = lifetime_seconds
        self._visitors: Visitors | None = None

    async def welcome(self) -> Visitor:
        """Returns a new visitor."""
        return (await self._signer()).welcome()

    async def user_id(self, token: str) -> str:
        """Returns the id of the visitor that the token proves. Raises TokenRefusedError."""
        return (await self._signer()).user_id(token)

    async def _signer(self) -> Visitors:
        if self._visitors is None:
            secret = await self._shared_secret(_SECRET, secrets.token_bytes(_SECRET_BYTES))
            self._visitors = Visitors(secret, self._lifetime)
        return self._visitors
