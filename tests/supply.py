"""What is shipped, on paper: `python -m tests.supply [--no-audit]` writes dist/supply.

Locked versions with their hashes, a CycloneDX bill of materials, the licences, and what the package index knows of
weaknesses. Fails if uv.lock is out of date, a hash is missing, a licence asks more of us than a notice, or a weakness
is known; that last one needs the network and changes from day to day.
"""

import json
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
# What the playground serves of other people's.
VENDORED = ROOT / "service" / "pages" / "markdown" / "vendor" / "vendored.json"
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


def vendored() -> bool:
    """Adds to the lists what is no Python package, each with what it bundles. Its hashes are a test's."""
    packages = [part for one in json.loads(VENDORED.read_text()) for part in (one, *one["bundles"])]
    bill = json.loads((TARGET / "sbom.cdx.json").read_text())
    bill["components"] += [
        {
            "type": "library",
            "bom-ref": f"pkg:npm/{one['name']}@{one['version']}",
            "name": one["name"],
            "version": one["version"],
            "purl": f"pkg:npm/{one['name']}@{one['version']}",
            "licenses": [{"license": {"id": one["license"]}}],
        }
        for one in packages
    ]
    (TARGET / "sbom.cdx.json").write_text(json.dumps(bill, indent=2))
    rows = [f"| {one['name']} | {one['version']} | {one['license']} | npm |\n" for one in packages]
    with (TARGET / "licences.md").open("a") as listing:
        listing.writelines(rows)
    return not any(part in one["license"] for one in packages for part in FORBIDDEN.split(";"))


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
        "vendored": vendored(),
    }
    if "--no-audit" not in arguments:
        steps["no weakness is known"] = audit()
    for name, good in steps.items():
        print(f"{'ok' if good else 'FAILED':8}{name}")
    print(f"written to {TARGET.relative_to(ROOT)}/")
    return int(not all(steps.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
