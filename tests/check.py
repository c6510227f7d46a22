"""Every check of the project, one after the other: `python -m tests.check [arguments for pytest]`.

A step that fails does not keep the others from running. One that cannot run, as where the npm registry is out of
reach, says so and is skipped; where the environment variable CI is set, that is a failure too.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"
# Node.js comes with the Python environment; one that is installed serves as well.
PATH = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
ENV = os.environ | {"PATH": PATH, "REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}
UNREACHABLE = re.compile(r"\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|EHOSTUNREACH|ENETUNREACH|E?TIMEDOUT|E50\d)\b")


class Skipped(Exception):
    """The step cannot run here; the text says why."""


def run(*command: str | Path, folder: Path = ROOT) -> bool:
    return subprocess.run(command, cwd=folder, env=ENV).returncode == 0


def tool(name: str) -> str:
    found = shutil.which(name, path=PATH)
    if found is None:
        raise Skipped(f"{name} is not installed")
    return found


def python(*arguments: str) -> Callable[[], bool]:
    return lambda: run(sys.executable, "-m", *arguments)


def install_node_packages() -> bool:
    """Puts into tests/node_modules what tests/package-lock.json says."""
    command = [tool("npm"), "ci", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error"]
    done = subprocess.run(command, cwd=TESTS, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode and (code := UNREACHABLE.search(done.stdout)):
        raise Skipped(f"the npm registry cannot be reached ({code[0]})")
    print(done.stdout.strip(), flush=True)
    return done.returncode == 0


def install_debian_packages() -> bool:
    """A browser, letters to write Chinese with, a proxy. Debian keeps one version of each, so none is named here."""
    wanted = {
        "chromium": shutil.which("chromium"),
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
    return run("chromium", "--version")


def _chinese_fonts() -> bool:
    listing = shutil.which("fc-list")
    return bool(listing and subprocess.run([listing, ":lang=zh"], capture_output=True).stdout.strip())


def lint_contract() -> bool:
    script = TESTS / "node_modules" / "@redocly" / "cli" / "bin" / "cli.js"
    if not script.exists():
        raise Skipped("redocly is not installed")
    return run(tool("node"), script, "lint", "openapi.yaml", "--config", "tests/redocly.yaml")


def main(arguments: list[str]) -> int:
    steps: list[tuple[str, Callable[[], bool]]] = [
        ("ruff check", python("ruff", "check", ".")),
        ("ruff format", python("ruff", "format", "--check", ".")),
        ("mypy", python("mypy")),
        ("generated/ is what openapi.yaml makes", python("datamodel_code_generator", "--check")),
        # A weakness that becomes known is no fault of the commit under test.
        ("supply", python("tests.supply", "--no-audit")),
        ("npm ci", install_node_packages),
        ("redocly lint", lint_contract),
        ("Debian packages", install_debian_packages),
        ("pytest", python("pytest", *arguments)),
    ]
    summary, failed = [], False
    for name, step in steps:
        print(f"\n=== {name} ===", flush=True)
        begin = time.monotonic()
        try:
            outcome = "ok" if step() else "FAILED"
        except Skipped as reason:
            outcome = "skipped"
            print(f"skipped: {reason}", flush=True)
        failed = failed or outcome == "FAILED" or (outcome == "skipped" and bool(os.environ.get("CI")))
        summary.append(f"{outcome:8}{time.monotonic() - begin:7.1f} s  {name}")
    print("\n=== summary ===", *summary, sep="\n", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
