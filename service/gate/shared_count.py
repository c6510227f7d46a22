"""The count that processes and machines share, in a Redis or Valkey server, and the fallback when that is away.

While the store does not answer, `hit` returns None at once and each process counts for itself. Only calls that were
waiting when it failed are delayed, by a second at most. A background task, not a call, tries it again.
"""

import asyncio
import contextlib
import contextvars
import time

import structlog
from limits import RateLimitItem, RateLimitItemPerSecond, WindowStats
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter

from service.bounds import BOUNDS
from service.observe.metrics import STORE_FAILURES
from service.store.server import address_of, pool

log = structlog.get_logger()

# The probe counts under a name of its own: a server that is still loading answers PING, but runs no script.
_PROBE = RateLimitItemPerSecond(1, 1, namespace="TRY")


class SharedCount:
    """The count in the store at `uri`, of which only host and port are ever logged. An asynchronous context manager."""

    def __init__(self, uri: str, requests: int, window: int) -> None:
        self._item = RateLimitItemPerSecond(requests, window)
        self._address = address_of(uri)
        # Calls to the store that failed, background probes included.
        self._failures = STORE_FAILURES.labels("rate_limit")
        self._pool = pool(uri, BOUNDS.count_connections)
        # `limits` counts in one script, which is atomic: no two processes can both take the last place. The time is the
        # caller's. With clocks s seconds apart a window is up to s seconds too long or too short; a burst within it is
        # still counted exactly.
        # Its documentation has the pool among its arguments, and its types do not.
        storage = RedisStorage(uri, implementation="valkey", connection_pool=self._pool)  # type: ignore[arg-type]
        self._limiter = MovingWindowRateLimiter(storage)
        # Waiting here does not count towards the store's time-out.
        self._turns = asyncio.Semaphore(BOUNDS.count_connections)
        self._recovery: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        await self._hit(_PROBE, "")

    async def __aexit__(self, *_: object) -> None:
        if self._recovery is not None:
            self._recovery.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._recovery
        await self._pool.aclose()

    async def hit(self, key: str) -> tuple[bool, int, float] | None:
        """Counts a call. Returns whether it may pass, how many are left, and the seconds until more are.

        Returns None if the store does not answer.
        """
        counted = await self._hit(self._item, key)
        if counted is None:
            return None
        allowed, (reset_at, left) = counted
        return allowed, left, reset_at - time.time()

    async def _hit(self, item: RateLimitItem, key: str) -> tuple[bool, WindowStats] | None:
        try:
            async with self._turns:
                if self._recovery is not None:
                    return None
                return await self._count(item, key)
        # Nothing that the store does, or that is no store at all, may fail the call.
        except Exception as error:
            self._failures.inc()
            if self._recovery is None:
                log.warning(
                    "the store of the rate limit does not answer, each process counts for itself",
                    store=self._address,
                    cause=type(error).__name__,
                )
                # A context of its own, as it is no part of the request that met the failure.
                self._recovery = asyncio.create_task(self._recover(), context=contextvars.Context())
            return None

    async def _count(self, item: RateLimitItem, key: str) -> tuple[bool, WindowStats]:
        async with asyncio.timeout(BOUNDS.count_seconds):
            return await self._limiter.hit(item, key), await self._limiter.get_window_stats(item, key)

    async def _recover(self) -> None:
        while True:
            await asyncio.sleep(BOUNDS.count_retry_seconds)
            try:
                await self._count(_PROBE, "")
                break
            except Exception:  # as above; only the first is logged
                self._failures.inc()
        self._recovery = None
        log.info("the store of the rate limit answers again", store=self._address)
