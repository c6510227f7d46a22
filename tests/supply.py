"""What is shipped, on paper: `python -m tests.supply [--no-audit]` writes dist/supply.

Locked versions with their hashes, a CycloneDX bill of materials, the licences, and what the package index knows of
weaknesses. Fails if uv.lock is out of date, a hash is missing, a licence asks more of us than a notice, or a weakness
is known; that last one needs the network and changes from day to day.
"""

import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "dist" / "supply"
SCRIPTS = sysconfig.get_path("scripts")
UV = shutil.which("uv", path=SCRIPTS) or "uv"
# Parts of licences' names. MPL-2.0, of certifi, asks for nothing as long as its files are not changed.
FORBIDDEN = "GPL;General Public License;SSPL;BUSL;UNKNOWN"


def run(*command: str) -> bool:
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL).returncode == 0


def export(form: str, name: str) -> bool:
    shipped = ("--locked", "--no-dev", "--no-emit-project", "--no-annotate", "--quiet")
    return run(UV, "export", *shipped, "--format", form, "--output-file", str(TARGET / name))


def every_hash_is_there() -> bool:
    """Whether each file of each package in uv.lock has its hash."""
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    files = [file for one in packages for file in (*one.get("wheels", ()), *filter(None, [one.get("sdist")]))]
    return bool(files) and all(file.get("hash", "").startswith("sha256:") for file in files)


def licences() -> bool:
    """Of what is installed here; what only another platform needs is in the other lists."""
    names = re.findall(r"^([a-z0-9.-]+)==", (TARGET / "requirements.txt").read_text(), re.M)
    listing = (f"{SCRIPTS}/pip-licenses", "--from=mixed", "--with-urls", "--format=markdown", "--packages", *names)
    checks = ("--partial-match", f"--fail-on={FORBIDDEN}")
    return run(*listing, f"--output-file={TARGET / 'licences.md'}") and run(*listing, *checks)


def audit() -> bool:
    found = ("--format=json", f"--output={TARGET / 'audit.json'}")
    locked = ("--disable-pip", "--require-hashes", f"--requirement={TARGET / 'requirements.txt'}")
    return run(f"{SCRIPTS}/pip-audit", "--vulnerability-service=pypi", *locked, *found)


def main(arguments: list[str]) -> int:
    TARGET.mkdir(parents=True, exist_ok=True)
    steps = {
        "uv.lock is current": export("requirements.txt", "requirements.txt"),
        "every file has its hash": every_hash_is_there(),
        "bill of materials": export("cyclonedx1.5", "sbom.cdx.json"),
        "licences": licences(),
    }
    if "--no-audit" not in arguments:
        steps["no weakness is known"] = audit()
    for name, good in steps.items():
        print(f"{'ok' if good else 'FAILED':8}{name}")
    print(f"written to {TARGET.relative_to(ROOT)}/")
    return int(not all(steps.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
