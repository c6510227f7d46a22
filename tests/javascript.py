"""Runs the tests' JavaScript with the Node.js that comes with the Python environment, else an installed one."""

import os
import shutil
import subprocess
import sysconfig

import pytest
from conftest import ROOT

TESTS = ROOT / "tests"


def run_node(script: str, *arguments: str, needs: str | None = None) -> str:
    """What tests/`script` prints. `needs` is an npm package; where that is not installed the test is skipped."""
    if needs and not (TESTS / "node_modules" / needs).is_dir():
        pytest.skip(f"{needs} is not installed; `npm ci` in tests/ does that")
    node = shutil.which("node", path=os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")]))
    assert node, "there is no Node.js"
    done = subprocess.run([node, TESTS / script, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout
