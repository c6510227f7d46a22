"""The curves as a picture. The one part that needs matplotlib."""

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt

_COLOURS = {"limit": "#8a8a8a", "reference": "#d1702b", "service": "#1f6fb4", "openai": "#5aa469"}


def write(results: dict[str, Any], folder: Path) -> Path:
    figure, (load, streams, deltas) = plt.subplots(1, 3, figsize=(15, 4.6), layout="constrained")

    load.set_title("A delta's way against load")
    load.set_xlabel("deltas a second through the server, one core")
    load.set_ylabel("ms from Coze's write to the client's read")
    for name, points in results["latency_against_load"].items():
        rates = [point["deltas_a_second"] for point in points]
        colour = _COLOURS[name]
        load.plot(rates, [point["p50_ms"] for point in points], "o-", color=colour, label=f"{name}, median")
        load.plot(rates, [point["p99_ms"] for point in points], "o--", color=colour, label=f"{name}, p99")
    load.set_yscale("log")

    streams.set_title("Cost of a delta against streams")
    streams.set_xlabel("streams at once, 2,000 deltas a second in all")
    deltas.set_title("Cost of a delta against the answer's length")
    deltas.set_xlabel("deltas in a chat, 20 in a write")
    for axes, key, by in ((streams, "growth_in_streams", "streams"), (deltas, "growth_in_deltas", "deltas")):
        for name, points in results[key].items():
            axes.plot(
                [point[by] for point in points],
                [point["us"] for point in points],
                "o-",
                color=_COLOURS[name],
                label=name,
            )
        axes.set_ylabel("CPU µs of the server")
        axes.set_ylim(bottom=0)
    for axes in (load, streams, deltas):
        axes.set_xscale("log")
        axes.grid(visible=True, which="major", alpha=0.3)
        axes.legend(fontsize="small")

    machine = results["machine"]
    figure.suptitle(
        f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}, {results['when']}", fontsize="small"
    )
    path = folder / "results.png"
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path
