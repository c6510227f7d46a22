"""How often one client address may call: exactly N times in any window, on the `limits` library.

Headers: https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/ (`RateLimit`, `RateLimit-Policy`).
Only `/api/v1/*` counts; preflights, `/`, `/health` and the docs are free.
"""

import math
import time

from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from service.answers import error_answer
from service.errors import TOO_MANY_REQUESTS, ServiceError
from service.request_log import record_of

_COUNTED = "/api/v1/"


class RateLimiter:
    """`requests` calls in `window` seconds for each key."""

    def __init__(self, requests: int, window: int) -> None:
        self._requests = requests
        self._window = window
        self._item = RateLimitItemPerSecond(requests, window)
        # A moving window: a fixed one lets twice the number through around its edge.
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def hit(self, key: str) -> tuple[bool, int, int]:
        """Counts a call: whether it may pass, how many are left, and in how many seconds there are more."""
        allowed = self._limiter.hit(self._item, key)
        reset_at, left = self._limiter.get_window_stats(self._item, key)
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
    """ASGI middleware: counts a call by its key, else its client's address, and answers the one too many itself."""

    def __init__(self, app: ASGIApp, limiter: RateLimiter) -> None:
        self._app = app
        self._limiter = limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or scope["method"] == "OPTIONS" or not scope["path"].startswith(_COUNTED):
            await self._app(scope, receive, send)
            return
        record, client = record_of(scope), scope.get("client")
        key = f"key:{record.caller}" if record.caller else client[0] if client else ""
        allowed, left, seconds = self._limiter.hit(key)
        record.headers += self._limiter.headers(left, seconds)
        app = self._app if allowed else error_answer(scope, self._limiter.refusal(seconds))
        await app(scope, receive, send)
