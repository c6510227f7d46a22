"""The benchmark runs to its end and every chat in it is whole. How fast is not asked: nothing here depends on time."""

import json
import subprocess
import sys
from pathlib import Path

from conftest import ROOT

PEERS = {"limit", "service", "openai"}


def test_it_measures_every_figure(tmp_path: Path) -> None:
    # Without the reference and the plot, which need the group `bench`.
    options = ["--tiny", "--slow", "--workers", "--no-plot", "--peers", ",".join(PEERS), "--out", str(tmp_path)]
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["failures"] == {}
    assert results["machine"]["cpu"]
    of_streams = {"paced_us", "burst_us", "first_delta_ms"}
    of_json = {"json_ms", "json_a_second", "half_ms"}
    assert {name: set(rounds[0]) for name, rounds in results["rounds"].items()} == {
        "limit": of_streams,
        "service": of_streams | of_json | {"kept_us"},
        "openai": of_streams | of_json,
    }
    for curve in ("growth_in_streams", "growth_in_deltas", "latency_against_load"):
        assert set(results[curve]) == PEERS
    for slow in results["slow"].values():
        assert slow["whole"] == slow["streams"]
    assert set(results["workers"]) == {"1", "2"}
    for text in ("a delta, 10 ms apart", "JSON chats a second", "slow streams", "so many workers"):
        assert text in ended.stdout
