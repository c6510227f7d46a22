"""The client of Valkey on this Python: what the service asks of a store can be cancelled at any moment."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from conftest import ValkeyServer

from service.gate.shared_count import SharedCount
from service.store.answers import AnswerStore
from service.store.valkey import ValkeyStore

TURNS = 60  # of the loop, in which each of these calls has sent what it asks

Call = Callable[[], Coroutine[Any, Any, object]]


def of_answers(uri: str) -> tuple[Call, Call]:
    store = AnswerStore(uri, 600, 60)
    return store.beat, store.close


def of_news(uri: str) -> tuple[Call, Call]:
    store = AnswerStore(uri, 600, 60)
    return lambda: store.news({}), store.close


def of_conversations(uri: str) -> tuple[Call, Call]:
    store = ValkeyStore(uri, 60)
    return lambda: store.conversation("1"), store.__aexit__


def of_rate_limit(uri: str) -> tuple[Call, Call]:
    count = SharedCount(uri, 1000, 60)
    return lambda: count.hit("x"), count.__aexit__


@pytest.mark.parametrize("calls", [of_answers, of_news, of_conversations, of_rate_limit])
def test_a_call_is_cancelled_in_whichever_turn_of_the_loop(
    valkey_server: ValkeyServer,
    calls: Callable[[str], tuple[Call, Call]],
) -> None:
    async def main() -> None:
        call, close = calls(valkey_server.uri())
        for turns in range(TURNS):
            task = asyncio.create_task(call())
            for _ in range(turns):
                await asyncio.sleep(0)
            if task.cancel():
                await asyncio.wait([task])
                assert task.cancelled(), turns
        await close()

    asyncio.run(main())
