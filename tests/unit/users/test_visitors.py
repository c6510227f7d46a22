"""The secret of visitors' tokens: fetched seldom, and again where the store may have another one by now."""

import asyncio
import time

import pytest

from service.bounds import BOUNDS
from service.errors import HISTORY_UNAVAILABLE, ServiceError
from service.users.tokens import TokenRefusedError
from service.users.visitors import SharedVisitors


class Secrets:
    """A store that counts how often it is asked, and may be away."""

    def __init__(self) -> None:
        self.kept: bytes | None = None
        self.asked = 0
        self.away = False

    async def shared_secret(self, name: str, proposed: bytes) -> bytes:
        self.asked += 1
        if self.away:
            raise ServiceError(HISTORY_UNAVAILABLE)
        self.kept = self.kept or proposed
        return self.kept


def test_a_token_that_proves_nothing_costs_the_store_little(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Secrets()
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)

    async def scenario() -> None:
        nonlocal now
        visitors = SharedVisitors(store.shared_secret, 60)
        token, user_id, _ = await visitors.welcome()
        for _ in range(3):
            assert await visitors.user_id(token) == user_id
        assert store.asked == 1
        for asked in (2, 3):
            for _ in range(3):
                with pytest.raises(TokenRefusedError):
                    await visitors.user_id(token + "x")
            assert store.asked == asked
            now += BOUNDS.visitors_retry_seconds

    asyncio.run(scenario())


def test_a_store_that_was_emptied_has_the_secret_back_or_another() -> None:
    store = Secrets()

    async def scenario() -> None:
        here, there = (SharedVisitors(store.shared_secret, 60) for _ in range(2))
        before = await here.welcome()
        store.kept = None
        newcomer = await there.welcome()
        assert await here.user_id(newcomer.token) == newcomer.user_id
        for visitors in (here, there):
            with pytest.raises(TokenRefusedError):
                await visitors.user_id(before.token)
        store.kept = None
        again = await here.welcome()
        for token, user_id, _ in (newcomer, again):
            assert await there.user_id(token) == user_id

    asyncio.run(scenario())


def test_while_the_store_is_away_its_secret_serves() -> None:
    store = Secrets()

    async def scenario() -> None:
        visitors = SharedVisitors(store.shared_secret, 60)
        store.away = True
        with pytest.raises(ServiceError):
            await visitors.welcome()
        store.away = False
        await visitors.welcome()
        store.away = True
        token, user_id, _ = await visitors.welcome()
        assert await visitors.user_id(token) == user_id
        # Whether another has signed it cannot be said.
        with pytest.raises(ServiceError):
            await visitors.user_id(token + "x")

    asyncio.run(scenario())
