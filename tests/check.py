"""The project's checks: `python -m tests.check fast`, `all`, or `only ARGUMENTS`.

`fast` is for before a commit, `all` is what CI runs, `only` runs the tests that arguments for pytest select. A step
that fails does not keep the others from running. One that cannot run, as where the npm registry is out of reach, says
so and is skipped; where the environment variable CI is set, that is a failure too.
"""

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"
# Node.js comes with the Python environment; one that is installed serves as well.
PATH = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
ENV = os.environ | {"PATH": PATH, "REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}
# Large tools start many times: each start would compile all their modules anew, which takes minutes in all.
ENV.pop("PYTHONDONTWRITEBYTECODE", None)
UNREACHABLE = re.compile(r"\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|EHOSTUNREACH|ENETUNREACH|E?TIMEDOUT|E50\d)\b")
CORES = 2  # of CI's machine
# A test waits longer than it computes: for services to start, for bounds of time to pass, for a browser.
TEST_WORKERS = 2 * CORES


class Failed(Exception):
    """The step found a fault; the text is what it printed."""


class Skipped(Exception):
    """The step cannot run here; the text says why."""


# Gives what is to be printed of it. Raises Failed or Skipped.
Step = Callable[[], str]


def run(*command: str | Path, folder: Path = ROOT) -> str:
    """What a command prints. Raises Failed with it if the command fails."""
    done = subprocess.run(command, cwd=folder, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise Failed(done.stdout)
    return done.stdout


def tool(name: str) -> str:
    found = shutil.which(name, path=PATH)
    if found is None:
        raise Skipped(f"{name} is not installed")
    return found


def python(*arguments: str) -> Step:
    return lambda: run(sys.executable, "-m", *arguments)


def tests(*arguments: str) -> Step:
    """Runs pytest on the screen, where one sees how far it is; alone in its stage, for that."""

    def step() -> str:
        print(f"\n=== pytest {' '.join(arguments)} ===", flush=True)
        if subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=ROOT, env=ENV).returncode:
            raise Failed("")
        return ""

    return step


def install_node_packages() -> str:
    """Puts into tests/node_modules what tests/package-lock.json says, if it is not there from before."""
    wanted, had = (TESTS / "package-lock.json").read_text(), TESTS / "node_modules/.installed"
    if had.exists() and had.read_text() == wanted:
        return ""
    command = [tool("npm"), "ci", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error"]
    try:
        said = run(*command, folder=TESTS)
    except Failed as failure:
        if code := UNREACHABLE.search(str(failure)):
            raise Skipped(f"the npm registry cannot be reached ({code[0]})") from None
        raise
    had.write_text(wanted)
    return said


def install_debian_packages() -> str:
    """A browser, letters to write Chinese with, a proxy. Debian keeps one version of each, so none is named here."""
    wanted = {
        "chromium-headless-shell": shutil.which("chromium-headless-shell"),
        "fonts-noto-cjk": _chinese_fonts(),
        "nginx": shutil.which("nginx", path=f"{PATH}:/usr/sbin"),
    }
    missing = [name for name, there in wanted.items() if not there]
    if missing:
        if not shutil.which("apt-get") or os.geteuid() != 0:
            raise Skipped(f"some tests need {' and '.join(missing)}, which only root can install here")
        apt = ("apt-get", "-q", "-o", "DPkg::Lock::Timeout=300")
        noninteractive = ENV | {"DEBIAN_FRONTEND": "noninteractive"}
        for command in (("update",), ("install", "--yes", "--no-install-recommends", *missing)):
            done = subprocess.run([*apt, *command], env=noninteractive, stdout=subprocess.DEVNULL)
            if done.returncode:
                raise Skipped(f"{' '.join(apt[:1] + command[:1])} failed, so there is no {' and no '.join(missing)}")
    return run("chromium-headless-shell", "--version")


def _chinese_fonts() -> bool:
    listing = shutil.which("fc-list")
    return bool(listing and subprocess.run([listing, ":lang=zh"], capture_output=True).stdout.strip())


def compile_tests() -> str:
    """Imports all test modules once, so that not every worker compiles them."""
    run(sys.executable, "-m", "pytest", "--collect-only", "-q")
    return ""


def lint_contract() -> str:
    script = TESTS / "node_modules" / "@redocly" / "cli" / "bin" / "cli.js"
    if not script.exists():
        raise Skipped("redocly is not installed")
    return run(tool("node"), script, "lint", "openapi.yaml", "--config", "tests/redocly.yaml")


STATIC: dict[str, Step] = {
    "mypy": python("mypy"),
    "ruff check": python("ruff", "check", "."),
    "ruff format": python("ruff", "format", "--check", "."),
    "generated/ is what openapi.yaml makes": python("datamodel_code_generator", "--check"),
}
NPM: dict[str, Step] = {"npm ci": install_node_packages}
DEBIAN: dict[str, Step] = {"Debian packages": install_debian_packages}
# Steps of a stage run beside each other; a stage begins when the one before has ended.
Stages = Sequence[dict[str, Step]]

FAST: Stages = [STATIC | {"unit tests": python("pytest", "-q", "tests/unit")}]
ALL: Stages = [
    STATIC | NPM | DEBIAN | {"compiled tests": compile_tests},
    # A weakness that becomes known is no fault of the commit under test.
    {"redocly lint": lint_contract, "supply": python("tests.supply", "--no-audit")},
    {"tests": tests(f"--numprocesses={TEST_WORKERS}", "--dist=loadfile", "--no-loadscope-reorder")},
]


class _Needs:
    """A plugin of pytest that notes the markers of the tests that were collected."""

    def __init__(self) -> None:
        self.markers: set[str] = set()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.markers.update(marker.name for item in session.items for marker in item.iter_markers())


def only(arguments: Sequence[str]) -> Stages:
    """The tests that `arguments` select, once what they need is there."""
    needs = _Needs()
    with contextlib.redirect_stdout(io.StringIO()):  # what is wrong with them is said when they run
        pytest.main([*arguments, "--collect-only"], plugins=[needs])
    npm = NPM if "npm" in needs.markers else {}
    debian = DEBIAN if needs.markers & {"browser", "nginx"} else {}
    return [{**npm, **debian}, {"tests": tests(*arguments)}]


def take(name: str, step: Step) -> tuple[str, str, float, str]:
    """Runs a step: its name, its outcome, the seconds it took, and what it said."""
    begin = time.monotonic()
    try:
        outcome, said = "ok", step()
    except Failed as failure:
        outcome, said = "FAILED", str(failure)
    except Skipped as reason:
        outcome, said = "skipped", f"skipped: {reason}"
    return name, outcome, time.monotonic() - begin, said


def main(arguments: Sequence[str]) -> int:
    speed, *rest = arguments
    stages = {"fast": FAST, "all": ALL}.get(speed) or only(rest)
    summary, failed = [], False
    with ThreadPoolExecutor(CORES) as pool:
        for stage in stages:
            for name, outcome, seconds, said in pool.map(take, stage.keys(), stage.values()):
                if said:
                    print(f"\n=== {name} ===\n{said.strip()}", flush=True)
                failed = failed or outcome == "FAILED" or (outcome == "skipped" and bool(os.environ.get("CI")))
                summary.append(f"{outcome:8}{seconds:7.1f} s  {name}")
    print("\n=== summary ===", *summary, sep="\n", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
