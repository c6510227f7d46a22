"""How often one caller may call: exactly N times in any window, in this process or in a store that all share.

Headers: https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/ (`RateLimit`, `RateLimit-Policy`).
Only `/api/v1/*` counts; preflights, `/`, `/health` and the docs are free.
"""

import math
import time
from collections import OrderedDict, deque
from typing import TYPE_CHECKING

from litestar.types import ASGIApp, Receive, Scope, Send

from service.answers.errors import error_answer
from service.errors import TOO_MANY_REQUESTS, ServiceError
from service.gate.callers import Callers, is_api_call
from service.http.headers import Header, adding
from service.settings.values import MEMORY

if TYPE_CHECKING:
    from service.gate.shared_count import SharedCount


class OwnCount:
    """The count of this process alone: when the calls of each key came that still count.

    The memory store of `limits` keeps every key for ever and goes through all of them at nearly each call.
    """

    def __init__(self, requests: int, window: int) -> None:
        self._requests = requests
        self._window = window
        # By their last call, the one longest ago first.
        self._calls: OrderedDict[str, deque[float]] = OrderedDict()

    def __len__(self) -> int:
        """How many keys are remembered."""
        return len(self._calls)

    def hit(self, key: str) -> tuple[bool, int, float]:
        """Counts a call: whether it may pass, how many are left, and in how many seconds there are more."""
        now = time.monotonic()
        over = now - self._window
        # Two for each that may be added, so that those whose time is over do not pile up.
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
    """`requests` calls in `window` seconds for each key, counted in this process or in the store at `storage`.

    The window moves: a fixed one lets twice the number through around its edge. Enter it before use. While the store
    does not answer, this process counts by the same limit for itself: nobody is refused because the store is down, and
    nobody goes without a limit.
    """

    def __init__(self, requests: int, window: int, storage: str = MEMORY) -> None:
        self._requests = requests
        self._window = window
        self._own = OwnCount(requests, window)
        self._shared: SharedCount | None = None
        if storage != MEMORY:
            # Only here: its client is large, and most count for themselves.
            from service.gate import shared_count

            self._shared = shared_count.SharedCount(storage, requests, window)

    async def __aenter__(self) -> None:
        if self._shared is not None:
            await self._shared.__aenter__()

    async def __aexit__(self, *_: object) -> None:
        if self._shared is not None:
            await self._shared.__aexit__()

    async def hit(self, key: str) -> tuple[bool, int, int]:
        """Counts a call: whether it may pass, how many are left, and in how many seconds there are more."""
        counted = None if self._shared is None else await self._shared.hit(key)
        allowed, left, seconds = counted or self._own.hit(key)
        return allowed, max(left, 0), min(max(math.ceil(seconds), 1), self._window)

    def headers(self, left: int, seconds: int) -> list[Header]:
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
        app = self._app if allowed else error_answer(scope, self._limiter.refusal(seconds))
        await app(scope, receive, adding(self._limiter.headers(left, seconds), send))
