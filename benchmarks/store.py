"""The time of a page of a list, and of a turn, in a store that is full: `python -m benchmarks.store FOLDER-OR-URI`.

An empty store is filled through its own interface, as by the service; one that was filled before is only measured.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from itertools import count

from service.store import Conversation, Position, Store, open_store

DAY = 24 * 3600
PAGE = 20


async def fill(store: Store, users: int, conversations: int, first: int) -> None:
    """Gives each of so many users so many conversations, a millisecond apart, user by user in turn."""
    at = time.time_ns() // 1_000_000 - users * conversations
    number = count(first)
    for turn in range(conversations):
        for user in range(users):
            one = next(number)
            when = at + turn * users + user
            name = "请介绍一下你们的退货政策"
            row = Conversation(f"75534861{one:011}", f"user{first}-{user}", f"bot{one % 3}", name, when, when)
            await store.record_turn(row)


async def milliseconds(work: Callable[[], Awaitable[object]], times: int = 200) -> str:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        await work()
        taken.append((time.perf_counter() - began) * 1000)
    return f"{statistics.median(taken):7.2f} {statistics.quantiles(taken, n=100)[98]:7.2f}"


async def measure(where: str, most: int, rest: int) -> None:
    async with open_store(where, 180 * DAY) as store:
        user, bot = "user0-0", "bot1"
        if not (await store.conversations(user, None, 1, None)).conversations:
            began = time.perf_counter()
            await fill(store, 1, most, 0)
            await fill(store, max(rest // 100, 1), 100, most)
            print(f"{most + rest} turns recorded in {time.perf_counter() - began:.0f} s")
        middle: Position | None = None
        for _ in range(most // 2 // 1000):
            middle = (await store.conversations(user, None, 1000, middle)).next
        again = (await store.conversations(user, None, 1, None)).conversations[0]
        print("ms                          median     p99")
        for name, work in {
            "the first page": lambda: store.conversations(user, None, PAGE, None),
            "the first page of a bot": lambda: store.conversations(user, bot, PAGE, None),
            "a page in the middle": lambda: store.conversations(user, None, PAGE, middle),
            "a bot's in the middle": lambda: store.conversations(user, bot, PAGE, middle),
            "a short list's page": lambda: store.conversations(f"user{most}-0", None, PAGE, None),
            "one conversation": lambda: store.conversation(again.conversation_id),
            "a turn": lambda: store.record_turn(again),
        }.items():
            print(f"{name:25} {await milliseconds(work)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("where", help="a folder, or the URI of a Valkey or Redis server, of its own")
    parser.add_argument("--most", type=int, default=100_000, help="conversations of the one with the most")
    parser.add_argument("--rest", type=int, default=900_000, help="conversations of all others")
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.where, arguments.most, arguments.rest))


if __name__ == "__main__":
    main()
