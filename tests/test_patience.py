"""Waiting with a deadline: it ends the wait and nothing else."""

import asyncio

import pytest

from service.coze.patience import Patience

FOREVER = 3600.0


async def arrives(value: int, after: float = 0) -> int:
    await asyncio.sleep(after)
    return value


def test_what_arrives_in_time_and_what_does_not() -> None:
    async def main() -> None:
        patience, now = Patience(), asyncio.get_running_loop().time
        for number in range(100):
            assert await patience.wait(arrives(number), now() + FOREVER) == number
        with pytest.raises(TimeoutError):
            await patience.wait(arrives(1, FOREVER), now() + 0.01)
        with pytest.raises(TimeoutError):
            await patience.wait(arrives(1, FOREVER), now() - 1)
        assert await patience.wait(arrives(2, 0.05), now() + FOREVER) == 2
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        patience.stop()

    asyncio.run(main())


def test_a_timer_that_rings_early_rings_again() -> None:
    """The first wait set it; later waits end later, or sooner."""

    async def main() -> None:
        patience, now = Patience(), asyncio.get_running_loop().time
        await patience.wait(arrives(1), now() + 0.05)
        assert await patience.wait(arrives(2, 0.2), now() + FOREVER) == 2
        with pytest.raises(TimeoutError):
            await patience.wait(arrives(3, FOREVER), now() + 0.05)
        await asyncio.sleep(0.1)  # it rings while nobody waits
        assert await patience.wait(arrives(4, 0.01), now() + FOREVER) == 4
        patience.stop()

    asyncio.run(main())


def test_a_cancellation_from_outside_stays_one() -> None:
    async def main() -> None:
        async def waits(seconds: float) -> None:
            patience = Patience()
            await patience.wait(arrives(1, FOREVER), asyncio.get_running_loop().time() + seconds)

        task = asyncio.ensure_future(waits(FOREVER))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        async def within_another_timeout() -> None:
            async with asyncio.timeout(0.05):
                await waits(FOREVER)

        with pytest.raises(TimeoutError):
            await within_another_timeout()

    asyncio.run(main())


def test_what_the_wait_raises_comes_through() -> None:
    async def fails() -> None:
        raise ValueError("its own")

    async def main() -> None:
        patience = Patience()
        with pytest.raises(ValueError, match="its own"):
            await patience.wait(fails(), asyncio.get_running_loop().time() + FOREVER)
        patience.stop()

    asyncio.run(main())
