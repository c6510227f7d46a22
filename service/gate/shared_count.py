"""One count for all processes and machines, in a Redis or Valkey server; what happens when that does not answer.

The policy: while the store does not answer, `hit` gives None at once and each process counts for itself. Only the calls
that were waiting when it went are delayed, by a second at most; it is tried again in the background, not by calls.
"""

import asyncio
import contextlib
import contextvars
import time
from urllib.parse import urlsplit

import structlog
from limits import RateLimitItem, RateLimitItemPerSecond, WindowStats
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from valkey.asyncio import BlockingConnectionPool

from service.bounds import BOUNDS
from service.observe.metrics import STORE_FAILURES

log = structlog.get_logger()

# What a try counts: only a script that runs shows that the store can count. A server that is loading answers a ping.
_TRY = RateLimitItemPerSecond(1, 1, namespace="TRY")


class SharedCount:
    """The count at `uri`, of which only host and port are ever shown. Enter it before use."""

    def __init__(self, uri: str, requests: int, window: int) -> None:
        self._item = RateLimitItemPerSecond(requests, window)
        parts = urlsplit(uri)
        self._address = f"{parts.hostname}:{parts.port or 6379}"
        # How often the store has not answered, the tries in the background included.
        self._failures = STORE_FAILURES.labels("rate_limit")
        # Left to itself the client would take any server's certificate for this one's.
        tls = {"ssl_check_hostname": True} if parts.scheme in ("rediss", "valkeys") else {}
        self._pool = BlockingConnectionPool.from_url(uri, max_connections=BOUNDS.count_connections, timeout=None, **tls)
        # `limits` counts in one script, which the server runs alone, so no two processes can both take the last place.
        # The time is the caller's: with clocks s seconds apart a window lasts up to s seconds more or less than it
        # should, and a burst within one is counted exactly all the same.
        storage = RedisStorage(uri, implementation="valkey", connection_pool=self._pool)  # type: ignore[arg-type]
        self._limiter = MovingWindowRateLimiter(storage)
        # A call that waits for its turn does not wait for the store.
        self._turns = asyncio.Semaphore(BOUNDS.count_connections)
        self._recovery: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        await self._hit(_TRY, "")

    async def __aexit__(self, *_: object) -> None:
        if self._recovery is not None:
            self._recovery.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._recovery
        await self._pool.aclose()

    async def hit(self, key: str) -> tuple[bool, int, float] | None:
        """Counts a call: whether it may pass, how many are left, and in how many seconds there are more.

        None if the store does not answer.
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
                return await self._ask(item, key)
        # Whatever a store, or what is no store at all, does or says: it must not fail the call.
        except Exception as error:
            self._failures.inc()
            if self._recovery is None:
                log.warning(
                    "the store of the rate limit does not answer, each process counts for itself",
                    store=self._address,
                    cause=type(error).__name__,
                )
                # In a context of its own: it is no part of the request that found out.
                self._recovery = asyncio.create_task(self._recover(), context=contextvars.Context())
            return None

    async def _ask(self, item: RateLimitItem, key: str) -> tuple[bool, WindowStats]:
        async with asyncio.timeout(BOUNDS.count_seconds):
            return await self._limiter.hit(item, key), await self._limiter.get_window_stats(item, key)

    async def _recover(self) -> None:
        while True:
            await asyncio.sleep(BOUNDS.count_retry_seconds)
            try:
                await self._ask(_TRY, "")
                break
            except Exception:  # as above; the first of them is in the log
                self._failures.inc()
        self._recovery = None
        log.info("the store of the rate limit answers again", store=self._address)
