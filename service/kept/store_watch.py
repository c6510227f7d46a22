"""Watch over the store of the answers: whether it answers, and what it means where it does not."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import structlog

from service.bounds import BOUNDS
from service.errors import ANSWERS_AWAY, ServiceError
from service.observe.metrics import STORE_FAILURES
from service.store import StoreDown

log = structlog.get_logger()


class StoreWatch:
    """The watch of one process over the store at `address`. `down` says whether the store does not answer."""

    def __init__(self, address: str) -> None:
        self.down = False
        self._address = address
        self._failures = STORE_FAILURES.labels("answers")

    @contextlib.asynccontextmanager
    async def needed(self) -> AsyncIterator[None]:
        """Raises ServiceError (503) if the store does not answer."""
        try:
            yield
        except StoreDown as error:
            self._failures.inc()
            raise ServiceError(ANSWERS_AWAY, cause=f"store: {error}") from None

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Notes whether the store answers, and logs when that changes."""
        now = asyncio.get_running_loop().time
        began = now()
        try:
            yield
        except StoreDown as error:
            self._failures.inc()
            # A process that has slept notices late, and may have lost its answers: it must not show more of them.
            slept = now() - began > BOUNDS.store_seconds * 1.1
            if not self.down and not slept:
                self.down = True
                log.warning("the store of the answers does not answer", store=self._address, cause=str(error))
            raise
        if self.down:
            self.down = False
            log.info("the store of the answers answers again", store=self._address)
