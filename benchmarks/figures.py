"""Each figure, measured on a running server. CPU is the server's own, so it holds where others use the machine too."""

import asyncio
import contextlib
import math
import statistics
import time
from collections.abc import AsyncIterator
from typing import NamedTuple

from benchmarks.load import COZE, KEPT, Connection, Question, Tally, each_after_the_other, percentile, side_by_side
from benchmarks.servers import Server

Point = dict[str, float]


class Sizes(NamedTuple):
    """How much of everything."""

    rounds: int = 3
    seconds: float = 2.0
    first_deltas: int = 100
    half_seconds: int = 3
    steady_seconds: float = 3.0
    growth_streams: tuple[int, ...] = (10, 100, 1000)
    growth_deltas: tuple[int, ...] = (20, 200, 2_000, 20_000)
    load_streams: tuple[int, ...] = (10, 20, 40, 80, 160, 320)
    slow_streams: int = 1000
    slow_deltas: int = 40


TINY = Sizes(1, 0.1, 5, 1, 0.3, (2,), (5, 50), (2,), 10, 5)

# The growing number of streams shares so many deltas a second: what it costs is then the number's doing.
_GROWTH_DELTAS_A_SECOND = 2000
# A stream of the curve of load, as a model writes: a delta each 20 ms.
_LOAD_PAUSE_MS = 20
_OVERLOADED_SECONDS = 0.25
_SLOW_PAUSE_MS = 100


class Failures:
    """The chats that were not whole, with what is known of them."""

    def __init__(self) -> None:
        self.of: dict[str, list[str]] = {}

    def add(self, server: Server, tally: Tally) -> None:
        if tally.failures:
            self.of.setdefault(server.name, []).extend(tally.failures)


async def in_a_round(server: Server, upstream: Server, sizes: Sizes, failures: Failures) -> Point:
    """The figures of the table."""
    await _warm_up(server, failures)
    found: Point = {}
    port, wire = server.port, server.wire

    before = server.cpu()
    # Two chats on each connection.
    paced = Question(max(int(sizes.seconds * 50), 5), pause_ms=10)
    tally = await each_after_the_other(port, wire, paced, connections=40, seconds=sizes.seconds)
    found["paced_us"] = (server.cpu() - before) * 1e6 / max(tally.deltas, 1)
    failures.add(server, tally)

    if server.name == "service":
        before = server.cpu()
        tally = await each_after_the_other(port, KEPT, paced, connections=40, seconds=sizes.seconds)
        found["kept_us"] = (server.cpu() - before) * 1e6 / max(tally.deltas, 1)
        failures.add(server, tally)

    before = server.cpu()
    tally = await each_after_the_other(port, wire, Question(200, at_once=200), connections=8, seconds=sizes.seconds)
    found["burst_us"] = (server.cpu() - before) * 1e6 / max(tally.deltas, 1)
    failures.add(server, tally)

    found["first_delta_ms"] = await _added_to_first_delta(server, upstream, sizes.first_deltas, failures)
    if wire is COZE:
        return found

    before, started = server.cpu(), time.perf_counter()
    short = Question(20, at_once=20)
    tally = await each_after_the_other(port, wire, short, connections=32, seconds=sizes.seconds, stream=False)
    found["json_ms"] = (server.cpu() - before) * 1e3 / max(len(tally.chats), 1)
    found["json_a_second"] = len(tally.chats) / (time.perf_counter() - started)
    failures.add(server, tally)

    found["half_ms"] = await _added_to_half_a_second(server, sizes.half_seconds, "", failures)
    if server.name == "reference":
        found["half_polled_ms"] = await _added_to_half_a_second(server, 1, "?poll=true", failures)
    return found


async def growth_in_streams(server: Server, sizes: Sizes, failures: Failures) -> list[Point]:
    """CPU of a delta among ever more streams that run already."""
    await _warm_up(server, failures)
    points = []
    for streams in sizes.growth_streams:
        pause_ms = max(streams * 1000 // _GROWTH_DELTAS_A_SECOND, 1)
        point = await _steady(server, streams, pause_ms, sizes.steady_seconds, failures)
        if point is None:
            break
        points.append({"streams": streams, "us": point["us"]})
    return points


async def growth_in_deltas(server: Server, sizes: Sizes, failures: Failures) -> list[Point]:
    """CPU of a delta in ever longer chats, 20 deltas in a write; a chat's own cost is spread over them."""
    await _warm_up(server, failures)
    points = []
    for deltas in sizes.growth_deltas:
        before = server.cpu()
        question = Question(deltas, pause_ms=4, at_once=20)
        tally = await each_after_the_other(server.port, server.wire, question, connections=2, seconds=sizes.seconds)
        points.append({"deltas": deltas, "us": (server.cpu() - before) * 1e6 / max(tally.deltas, 1)})
        failures.add(server, tally)
    return points


async def latency_against_load(server: Server, sizes: Sizes, failures: Failures) -> list[Point]:
    """A delta's way from Coze's write to the client's read, under ever more load; ends where that is too much."""
    await _warm_up(server, failures)
    points = []
    for streams in sizes.load_streams:
        point = await _steady(server, streams, _LOAD_PAUSE_MS, sizes.steady_seconds, failures)
        if point is None:
            break
        points.append(point)
        if point["p99_ms"] > _OVERLOADED_SECONDS * 1000:
            break
    return points


async def slow_streams(server: Server, sizes: Sizes, failures: Failures) -> Point:
    """Many slow streams at once, as from as many people; on a server that has just started."""
    await _warm_up(server, failures)
    question = Question(sizes.slow_deltas, pause_ms=_SLOW_PAUSE_MS)
    streams, spread = sizes.slow_streams, sizes.slow_streams / 1000
    tally = Tally(timed=True)
    memory, cpu, started = server.memory(), server.cpu(), time.perf_counter()
    async with _highest_memory(server) as highest:
        await side_by_side(server.port, server.wire, question, tally, streams=streams, spread=spread)
    wall = time.perf_counter() - started
    failures.add(server, tally)
    return {
        "streams": streams,
        "whole": len(tally.chats),
        "wall_s": wall,
        "ideal_wall_s": spread * (streams - 1) / streams + question.seconds,
        "p99_ms": percentile(tally.ways, 99) * 1000,
        "kb_a_stream": (max(highest) - memory) / 1024 / streams,
        "us": (server.cpu() - cpu) * 1e6 / max(tally.deltas, 1),
    }


async def throughput(server: Server, workers: int, sizes: Sizes, failures: Failures) -> Point:
    """As many chats as it can; `…_possible` is what its CPU is enough for if each worker has a core to itself."""
    await _warm_up(server, failures)
    found: Point = {}
    for name, question, stream in (
        ("chats", Question(20, at_once=20), False),
        ("deltas", Question(200, at_once=200), True),
    ):
        before, started = server.cpu(), time.perf_counter()
        tally = await each_after_the_other(
            server.port, server.wire, question, connections=64, seconds=sizes.seconds, stream=stream
        )
        wall = time.perf_counter() - started
        used = server.cpu() - before
        done = tally.deltas if stream else len(tally.chats)
        found[f"{name}_a_second"] = done / wall
        found[f"{name}_possible"] = workers * done / max(used, 0.01)
        failures.add(server, tally)
    return found


async def _steady(server: Server, streams: int, pause_ms: int, seconds: float, failures: Failures) -> Point | None:
    """What a delta costs and how long it takes while all of the streams run, beginnings and ends left out.

    None if not all of them had begun after a generous time: then there is nothing to compare.
    """
    spread = streams * 0.012
    begin = spread + pause_ms / 1000 + 0.3
    question = Question(math.ceil((begin + seconds) * 1000 / pause_ms) + 1, pause_ms)
    tally = Tally(timed=True)
    work = asyncio.create_task(side_by_side(server.port, server.wire, question, tally, streams=streams, spread=spread))
    await asyncio.sleep(begin)
    all_run = tally.started == streams
    first, cpu = len(tally.ways), server.cpu()
    await asyncio.sleep(seconds)
    last, cpu = len(tally.ways), server.cpu() - cpu
    await work
    failures.add(server, tally)
    ways = tally.ways[first:last]
    if not all_run or not ways:
        return None
    return {
        "streams": streams,
        "deltas_a_second": streams * 1000 / pause_ms,
        "us": cpu * 1e6 / max(len(ways), 1),
        "p50_ms": percentile(ways, 50) * 1000,
        "p99_ms": percentile(ways, 99) * 1000,
    }


async def _added_to_first_delta(server: Server, upstream: Server, times: int, failures: Failures) -> float:
    """Milliseconds, at the median, compared with asking the upstream itself in between."""
    through, direct = Tally(), Tally()
    question = Question(2, pause_ms=5)
    one, other = Connection(server.port, server.wire, through), Connection(upstream.port, upstream.wire, direct)
    for _ in range(times):
        await one.chat(question)
        await other.chat(question)
    for connection in (one, other):
        connection.close()
    failures.add(server, through)
    both = [statistics.median([chat.first_delta for chat in tally.chats] or [math.nan]) for tally in (through, direct)]
    return (both[0] - both[1]) * 1000


async def _added_to_half_a_second(server: Server, times: int, query: str, failures: Failures) -> float:
    question, tally = Question(20, pause_ms=25), Tally()
    connection = Connection(server.port, server.wire, tally)
    for _ in range(times):
        await connection.chat(question, stream=False, query=query)
    connection.close()
    failures.add(server, tally)
    return statistics.median([chat.total - question.seconds for chat in tally.chats] or [math.nan]) * 1000


async def _warm_up(server: Server, failures: Failures) -> None:
    """Some chats of each kind, then until it is quiet: what it does at its start is not to be counted."""
    for stream in (True, False) if server.wire is not COZE else (True,):
        question = Question(5)
        tally = await each_after_the_other(
            server.port, server.wire, question, connections=4, seconds=0.1, stream=stream
        )
        failures.add(server, tally)
    for _ in range(25):
        used = server.cpu()
        await asyncio.sleep(0.2)
        if server.cpu() - used < 0.02:
            return


@contextlib.asynccontextmanager
async def _highest_memory(server: Server) -> AsyncIterator[list[int]]:
    seen = [server.memory()]

    async def watch() -> None:
        while True:
            await asyncio.sleep(0.2)
            seen.append(server.memory())

    watching = asyncio.create_task(watch())
    try:
        yield seen
    finally:
        watching.cancel()
