"""Readiness: whether Coze answers with our token, asked at most once in a few seconds."""

import asyncio
import time

from service.coze import Coze
from service.errors import STOPPING, Failure, ServiceError
from service.lifecycle import Lifecycle
from service.settings import Settings


class Readiness:
    """Caches Coze's last answer for HEALTH_INTERVAL seconds; concurrent probes share one request."""

    def __init__(self, coze: Coze, settings: Settings, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle
        self._coze = coze
        self._interval = settings.health_interval
        self._pending: asyncio.Task[Failure | None] | None = None
        self._asked_at = 0.0
        self.healthy_message = "Service is healthy and CozeClient is working" + (
            " (sandbox: there is no real Coze behind it)" if settings.sandbox else ""
        )

    async def problem(self) -> Failure | None:
        """Returns why the service is not ready; None if it is."""
        if self._lifecycle.stopping:
            return STOPPING
        answered = self._pending is None or self._pending.done()
        if (answered and time.monotonic() - self._asked_at >= self._interval) or self._pending is None:
            self._asked_at = time.monotonic()
            self._pending = asyncio.ensure_future(self._check())
        # A probe that is cancelled must not cancel the request that others await.
        return await asyncio.shield(self._pending)

    async def _check(self) -> Failure | None:
        try:
            await self._coze.check()
        except ServiceError as error:
            return error.failure._replace(message=error.message, retry_after=error.retry_after)
        return None
