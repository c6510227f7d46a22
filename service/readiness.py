"""Whether Coze answers with our token, asked at most once in a few seconds however many want to know."""

import asyncio
import time

from service.coze import Coze
from service.errors import STOPPING, Failure, ServiceError
from service.lifecycle import Lifecycle
from service.settings import Settings


class Readiness:
    """Remembers Coze's last answer for `HEALTH_INTERVAL` seconds; those who ask meanwhile, or at once, share it."""

    def __init__(self, coze: Coze, settings: Settings, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle
        self._coze = coze
        self._interval = settings.health_interval
        self._asking: asyncio.Task[Failure | None] | None = None
        self._asked_at = 0.0
        self.healthy_message = "Service is healthy and CozeClient is working" + (
            " (sandbox: there is no real Coze behind it)" if settings.sandbox else ""
        )

    async def problem(self) -> Failure | None:
        """Why the service is not ready; None if it is."""
        if self._lifecycle.stopping:
            return STOPPING
        answered = self._asking is None or self._asking.done()
        if (answered and time.monotonic() - self._asked_at >= self._interval) or self._asking is None:
            self._asked_at = time.monotonic()
            self._asking = asyncio.ensure_future(self._ask())
        # One who leaves must not take the answer from the others.
        return await asyncio.shield(self._asking)

    async def _ask(self) -> Failure | None:
        try:
            await self._coze.check()
        except ServiceError as error:
            return error.failure._replace(message=error.message, retry_after=error.retry_after)
        return None
