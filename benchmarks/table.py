"""The results as text."""

from statistics import median
from typing import Any

_ROWS = (
    ("paced_us", "a delta, 10 ms apart: CPU µs"),
    ("kept_us", "  the same, to be followed again: CPU µs"),
    ("burst_us", "a delta, 200 in one write: CPU µs"),
    ("json_ms", "a JSON chat of 20 deltas: CPU ms"),
    ("json_a_second", "JSON chats a second on one core"),
    ("first_delta_ms", "first delta: added ms, median"),
    ("half_ms", "JSON chat ready at 0.5 s: added ms"),
    ("half_polled_ms", "  the same, polled for: added ms"),
)
_SLOW = (
    ("whole", "whole"),
    ("wall_s", "wall s"),
    ("p99_ms", "a delta's way: p99 ms"),
    ("kb_a_stream", "KB a stream"),
    ("us", "a delta: CPU µs"),
)


def of(results: dict[str, Any]) -> str:
    machine = results["machine"]
    pinned = "server and load on cores of their own" if machine["pinned"] else "not pinned to cores"
    lines = [
        f"{results['when']}, {machine['cpu']}, {machine['cores']} cores, {machine['system']}, "
        f"Python {machine['python']}; {pinned}",
        "",
        *_rounds(results),
    ]
    for key, title, by in (
        ("growth_in_streams", "a delta: CPU µs, among so many streams", "streams"),
        ("growth_in_deltas", "a delta: CPU µs, in a chat of so many deltas", "deltas"),
    ):
        lines += _curve(results.get(key, {}), title, by, "us")
    lines += _curve(results.get("latency_against_load", {}), "a delta's way: p99 ms, at so many a second",
                    "deltas_a_second", "p99_ms")  # fmt: skip
    lines += _slow(results.get("slow", {}))
    lines += _workers(results.get("workers", {}), "" if machine["cores"] >= 4 else ", load on the same cores")
    for name, failed in results["failures"].items():
        lines += ["", f"{name}: {len(failed)} chats FAILED, so its figures do not count. The first: {failed[0]}"]
    return "\n".join(lines)


def _rounds(results: dict[str, Any]) -> list[str]:
    rounds = results["rounds"]
    against = [name for name in rounds if name != "service"] if "service" in rounds else []
    count = results["sizes"]["rounds"]
    title = f"median of {count} rounds" if count > 1 else "one round"
    lines = [_line(title, [*rounds, *(f"/ {name}" for name in against)])]
    for key, label in _ROWS:
        row = {name: median(found[key] for found in each) for name, each in rounds.items() if key in each[0]}
        if row:
            own = row.get("service")
            ratios = [f"{own / row[name]:.2f}" if own and row.get(name) else "" for name in against]
            lines.append(_line(label, [*(_number(row.get(name)) for name in rounds), *ratios]))
    return lines


def _curve(peers: dict[str, list[dict[str, float]]], title: str, by: str, key: str) -> list[str]:
    if not peers:
        return []
    # The longest: one that could not keep up ends earlier.
    steps = [point[by] for point in max(peers.values(), key=len)]
    lines = ["", _line(title, [f"{step:,.0f}" for step in steps])]
    for name, points in peers.items():
        lines.append(_line(f"  {name}", [_number(point[key]) for point in points]))
    return lines


def _slow(peers: dict[str, dict[str, float]]) -> list[str]:
    if not peers:
        return []
    first = next(iter(peers.values()))
    title = f"{first['streams']:,} slow streams (ideal {first['ideal_wall_s']:.1f} s)"
    lines = ["", _line(title, list(peers))]
    return lines + [_line(f"  {label}", [_number(found[key]) for found in peers.values()]) for key, label in _SLOW]


def _workers(counts: dict[str, list[dict[str, float]]], remark: str) -> list[str]:
    if not counts:
        return []
    lines = ["", _line("service, with so many workers", [*counts, "2 / 1"])]
    for key, label in (
        ("chats_possible", "  JSON chats a second, a core for each worker"),
        ("chats_a_second", f"  JSON chats a second{remark or ', as measured'}"),
        ("deltas_possible", "  deltas a second, a core for each worker"),
        ("deltas_a_second", f"  deltas a second{remark or ', as measured'}"),
    ):
        one, two = (median(found[key] for found in each) for each in counts.values())
        lines.append(_line(label, [_number(one), _number(two), f"{two / one:.2f}"]))
    return lines


def _line(label: str, cells: list[str]) -> str:
    return f"{label:<48}" + "".join(f"{cell:>13}" for cell in cells).rstrip()


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
