"""How often one caller may call: exactly N times in any window, on the `limits` library.

Headers: https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/ (`RateLimit`, `RateLimit-Policy`).
Only `/api/v1/*` counts; preflights, `/`, `/health` and the docs are free.
"""

import math
import time
from typing import TYPE_CHECKING

from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from litestar.types import ASGIApp, Receive, Scope, Send

from service.answers import error_answer
from service.callers import Callers, is_api_call
from service.errors import TOO_MANY_REQUESTS, ServiceError
from service.request_log import record_of
from service.settings import MEMORY

if TYPE_CHECKING:
    from service.shared_count import SharedCount


class RateLimiter:
    """`requests` calls in `window` seconds for each key, counted in this process or in the store at `storage`.

    Enter it before use. While the store does not answer, this process counts by the same limit for itself: nobody is
    refused because the store is down, and nobody goes without a limit.
    """

    def __init__(self, requests: int, window: int, storage: str = MEMORY) -> None:
        self._requests = requests
        self._window = window
        self._item = RateLimitItemPerSecond(requests, window)
        # A moving window: a fixed one lets twice the number through around its edge.
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._shared: SharedCount | None = None
        if storage != MEMORY:
            # Only here: its client is large, and most count for themselves.
            from service import shared_count

            self._shared = shared_count.SharedCount(storage)

    async def __aenter__(self) -> None:
        if self._shared is not None:
            await self._shared.__aenter__()

    async def __aexit__(self, *_: object) -> None:
        if self._shared is not None:
            await self._shared.__aexit__()

    async def hit(self, key: str) -> tuple[bool, int, int]:
        """Counts a call: whether it may pass, how many are left, and in how many seconds there are more."""
        counted = None if self._shared is None else await self._shared.hit(self._item, key)
        if counted is None:
            counted = self._limiter.hit(self._item, key), self._limiter.get_window_stats(self._item, key)
        allowed, (reset_at, left) = counted
        return allowed, max(left, 0), min(max(math.ceil(reset_at - time.time()), 1), self._window)

    def headers(self, left: int, seconds: int) -> list[tuple[bytes, bytes]]:
        return [
            (b"ratelimit", b'"default";r=%d;t=%d' % (left, seconds)),
            (b"ratelimit-policy", b'"default";q=%d;w=%d' % (self._requests, self._window)),
        ]

    def refusal(self, seconds: int) -> ServiceError:
        return ServiceError(
            TOO_MANY_REQUESTS,
            f"Too many requests: at most {self._requests} in {self._window} seconds. Try again in {seconds} seconds.",
            retry_after=seconds,
        )


class RateLimit:
    """ASGI middleware: counts a call by its caller and answers the one too many itself."""

    def __init__(self, app: ASGIApp, limiter: RateLimiter, callers: Callers) -> None:
        self._app = app
        self._callers = callers
        self._limiter = limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not is_api_call(scope):
            await self._app(scope, receive, send)
            return
        allowed, left, seconds = await self._limiter.hit(self._callers.limit_key(scope))
        record_of(scope).headers += self._limiter.headers(left, seconds)
        app = self._app if allowed else error_answer(scope, self._limiter.refusal(seconds))
        await app(scope, receive, send)
