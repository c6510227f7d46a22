"""The command: `./run.sh bench`, or `python -m benchmarks`. README.md here says how to read what it prints."""

import argparse
import contextlib
import json
import platform
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from benchmarks import figures, table
from benchmarks.figures import TINY, Failures, Point, Sizes
from benchmarks.servers import PEERS, ROOT, Cores, Server, pin, running
from benchmarks.upstream import run

_CURVES: dict[str, Callable[[Server, Sizes, Failures], Awaitable[list[Point]]]] = {
    "growth_in_streams": figures.growth_in_streams,
    "growth_in_deltas": figures.growth_in_deltas,
    "latency_against_load": figures.latency_against_load,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="./run.sh bench", description="What a chat costs through the service.")
    parser.add_argument("--rounds", type=int, default=Sizes().rounds, help="how often each is measured in turn")
    parser.add_argument("--peers", default=",".join(PEERS), help="which, separated by commas: %(default)s")
    parser.add_argument("--no-curves", action="store_true", help="only the table: no growth, no load, no plot")
    parser.add_argument("--no-plot", action="store_true", help="do not draw the curves")
    parser.add_argument("--slow", action="store_true", help="also 1,000 slow streams at once")
    parser.add_argument("--workers", action="store_true", help="also two workers beside one")
    parser.add_argument("--out", type=Path, default=ROOT / ".run/bench", help="folder for the results: %(default)s")
    parser.add_argument("--tiny", action="store_true", help="as little as can be: to see that it works")
    chosen = parser.parse_args()
    peers = [name for name in chosen.peers.split(",") if name]
    if unknown := set(peers) - set(PEERS):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    sizes = TINY if chosen.tiny else Sizes(rounds=max(chosen.rounds, 1))
    chosen.out.mkdir(parents=True, exist_ok=True)
    _allow_many_connections()
    results: dict[str, Any] = {}
    try:
        run(_measure(chosen, peers, sizes, results))
    finally:
        # What there is of them, if it was broken off.
        (chosen.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    print(table.of(results))
    print(f"\nresults  {chosen.out / 'results.json'}")
    if not chosen.no_curves and not chosen.no_plot:
        # Only here: all the rest does without matplotlib.
        from benchmarks import plot

        print(f"plot     {plot.write(results, chosen.out)}")


async def _measure(chosen: argparse.Namespace, peers: list[str], sizes: Sizes, results: dict[str, Any]) -> None:
    failures = Failures()
    cores = Cores.choose()
    results |= {"machine": _machine(), "when": time.strftime("%Y-%m-%d"), "sizes": sizes._asdict()}
    results |= {"rounds": {name: [] for name in peers}, "failures": failures.of}
    with contextlib.ExitStack() as stack:
        pin(0, cores.load)
        upstream = stack.enter_context(running("upstream", cores.load, chosen.out))

        @contextlib.contextmanager
        def server(name: str, on: list[int] = cores.server, **settings: str) -> Iterator[Server]:
            coze = f"http://127.0.0.1:{upstream.port}"
            with running(name, on, chosen.out, coze, **settings) as started:
                yield started

        for number in range(1, sizes.rounds + 1):
            for name in peers:
                _say(f"round {number} of {sizes.rounds}: {name}")
                with server(name) as started:
                    found = await figures.in_a_round(started, upstream, sizes, failures)
                results["rounds"][name].append(found)
        if not chosen.no_curves:
            results |= {curve: {} for curve in _CURVES}
            for name in peers:
                with server(name) as started:
                    for curve, measure in _CURVES.items():
                        _say(f"{curve.replace('_', ' ')}: {name}")
                        results[curve][name] = await measure(started, sizes, failures)
        if chosen.slow:
            results["slow"] = {}
            for name in peers:
                _say(f"{sizes.slow_streams} slow streams: {name}")
                with server(name) as started:
                    results["slow"][name] = await figures.slow_streams(started, sizes, failures)
        if chosen.workers and "service" in peers:
            results["workers"] = {"1": [], "2": []}
            for number in range(1, sizes.rounds + 1):
                for count in (1, 2):
                    _say(f"round {number} of {sizes.rounds}: {count} worker{'s' * (count > 1)}")
                    cores = Cores.choose(count)
                    pin(0, cores.load)
                    pin(upstream.pid, cores.load)
                    with server("service", cores.server, WORKERS=str(count)) as started:
                        found = await figures.throughput(started, count, sizes, failures)
                    results["workers"][str(count)].append(found)


def _machine() -> dict[str, Any]:
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    return {
        "cpu": model,
        "cores": psutil.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "pinned": bool(Cores.choose().server),
    }


def _allow_many_connections() -> None:
    """1,000 streams are 2,000 connections for a server, and many systems allow a process 1,024 files."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = 8192 if hard == resource.RLIM_INFINITY else min(8192, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _say(text: str) -> None:
    print(f"… {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
