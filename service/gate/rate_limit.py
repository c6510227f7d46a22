"""The rate limit: at most N calls of a caller in any window, counted in this process or in a shared store.

Headers: https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/ (`RateLimit`, `RateLimit-Policy`).
Only `/api/v1/*` and `/openai/*` count; preflights, `/`, `/health` and the docs are free.
"""

import math
import time
from collections import OrderedDict, deque
from typing import TYPE_CHECKING

from litestar.types import ASGIApp, Receive, Scope, Send

from service.answers.errors import error_answer
from service.errors import TOO_MANY_REQUESTS, ServiceError
from service.gate.callers import is_api_call
from service.http.headers import Header, adding
from service.settings.values import MEMORY
from service.users.caller import origin_of

if TYPE_CHECKING:
    from service.gate.shared_count import SharedCount


class OwnCount:
    """A moving window in this process: the times of each key's calls that still count.

    See docs/decisions/own-count.md for why it is not the memory store of `limits`.
    """

    def __init__(self, requests: int, window: int) -> None:
        self._requests = requests
        self._window = window
        # Ordered by last call, the oldest first.
        self._calls: OrderedDict[str, deque[float]] = OrderedDict()

    def __len__(self) -> int:
        """Returns the number of keys in memory."""
        return len(self._calls)

    def hit(self, key: str) -> tuple[bool, int, float]:
        """Counts a call. Returns whether it may pass, how many are left, and the seconds until more are."""
        now = time.monotonic()
        over = now - self._window
        # Remove up to two expired keys for each that may be added, so that they cannot pile up.
        for _ in range(2):
            oldest = next(iter(self._calls), None)
            if oldest is None or self._calls[oldest][-1] > over:
                break
            del self._calls[oldest]
        calls = self._calls.setdefault(key, deque())
        while calls and calls[0] <= over:
            calls.popleft()
        if allowed := len(calls) < self._requests:
            calls.append(now)
            self._calls.move_to_end(key)
        return allowed, self._requests - len(calls), calls[0] - over


class RateLimiter:
    """Limits each key to `requests` calls in `window` seconds, counted in this process or in the store at `storage`.

    An asynchronous context manager. The window moves: a fixed one lets twice the number through around its edge. While
    the store does not answer, this process applies the same limit by itself: no caller is refused because the store is
    down, and none goes without a limit.
    """

    def __init__(self, requests: int, window: int, storage: str = MEMORY) -> None:
        self._requests = requests
        self._window = window
        self._own = OwnCount(requests, window)
        self._shared: SharedCount | None = None
        if storage != MEMORY:
            # Imported only here: its client is large, and most installations do without.
            from service.gate import shared_count

            self._shared = shared_count.SharedCount(storage, requests, window)

    async def __aenter__(self) -> None:
        if self._shared is not None:
            await self._shared.__aenter__()

    async def __aexit__(self, *_: object) -> None:
        if self._shared is not None:
            await self._shared.__aexit__()

    async def hit(self, key: str) -> tuple[bool, int, int]:
        """Counts a call. Returns whether it may pass, how many are left, and the seconds until more are."""
        counted = None if self._shared is None else await self._shared.hit(key)
        allowed, left, seconds = counted or self._own.hit(key)
        return allowed, max(left, 0), min(max(math.ceil(seconds), 1), self._window)

    def headers(self, left: int, seconds: int) -> list[Header]:
        """Returns the RateLimit headers for `left` calls in the next `seconds`."""
        return [
            (b"ratelimit", b'"default";r=%d;t=%d' % (left, seconds)),
            (b"ratelimit-policy", b'"default";q=%d;w=%d' % (self._requests, self._window)),
        ]

    def refusal(self, seconds: int) -> ServiceError:
        """Returns the error (429) for a caller who may call again in `seconds`."""
        return ServiceError(
            TOO_MANY_REQUESTS,
            f"Too many requests: at most {self._requests} in {self._window} seconds. Try again in {seconds} seconds.",
            retry_after=seconds,
        )


class RateLimit:
    """ASGI middleware: counts calls by caller, and answers 429 to those beyond the limit."""

    def __init__(self, app: ASGIApp, limiter: RateLimiter) -> None:
        self._app = app
        self._limiter = limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not is_api_call(scope):
            await self._app(scope, receive, send)
            return
        allowed, left, seconds = await self._limiter.hit(origin_of(scope))
        app = self._app if allowed else error_answer(scope, self._limiter.refusal(seconds))
        await app(scope, receive, adding(self._limiter.headers(left, seconds), send))
