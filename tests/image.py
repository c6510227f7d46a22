"""The Dockerfile's own steps without an engine: `python tests/image.py FOLDER` builds the image and runs it.

Every stage starts from this machine's root instead of its base image, which needs a registry: an overlay in FOLDER
takes what the steps write. The rest is as an engine does it: the last stage holds only what it copies, and its
entrypoint runs as its user, with its variables and those of this process named in RUN_VARIABLES, on a read-only root
with volumes and a /tmp of its own. To be started by root as `unshare --mount --pid --fork --kill-child`; the service is
process 1.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

import dockerfile

CONTEXT = Path(__file__).resolve().parent.parent
RUN_VARIABLES = ("HOST", "PORT", "COZE_API_TOKEN", "COZE_API_BASE", "COZE_BOT_ID", "WORKERS", "SHUTDOWN_GRACE")
# The stand-in of a base image has Python as `python`, as the official image does.
PYTHON = Path(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))
BASE_PATH = f"{PYTHON.parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Stage:
    """The root that one FROM begins, with what is known of it so far."""

    def __init__(self, folder: Path) -> None:
        self.variables = {"PATH": BASE_PATH}
        self.folder = "/"
        self.user = "0:0"
        self.entrypoint: Sequence[str] = ()
        self.volumes: list[str] = []
        self.root = folder / "root"
        for made in (self.root, folder / "written", folder / "work"):
            made.mkdir(parents=True)
        layers = f"lowerdir=/,upperdir={folder / 'written'},workdir={folder / 'work'}"
        _run("mount", "-t", "overlay", "overlay", "-o", layers, str(self.root))
        for name in ("dev", "sys"):
            _run("mount", "--rbind", f"/{name}", str(self.root / name))
        _run("mount", "-t", "proc", "proc", str(self.root / "proc"))
        # This machine's Python may stand in root's home, where no other user may look.
        for parent in PYTHON.parents:
            inside = self.inside(str(parent))
            inside.chmod(inside.stat().st_mode | 0o111)

    def inside(self, path: str) -> Path:
        """Where a path of the image is, seen from outside."""
        return self.root / os.path.normpath(os.path.join(self.folder, path)).lstrip("/")

    def set(self, pairs: Sequence[str]) -> None:
        for name, value in zip(pairs[::2], pairs[1::2], strict=True):
            self.variables[name] = Template(value.strip('"')).substitute(self.variables)

    def copy(self, paths: Sequence[str], source: "Stage | None") -> None:
        *found, target = paths
        for path in found:
            origin = source.inside(path) if source else CONTEXT / path
            into = self.inside(target) / (origin.name if target.endswith("/") else "")
            into.parent.mkdir(parents=True, exist_ok=True)
            if origin.is_dir():
                shutil.copytree(origin, into, symlinks=True, ignore=None if source else _IGNORED)
            else:
                shutil.copy(origin, into)

    def command(self, arguments: Sequence[str]) -> list[str]:
        user, group = self.user.split(":")
        ids = [f"--reuid={user}", f"--regid={group}", "--clear-groups", "--no-new-privs", "--bounding-set=-all"]
        enter = ["chroot", str(self.root), "env", "-C", self.folder]
        return [*enter, "setpriv", *(ids if user != "0" else []), *arguments]


_IGNORED = shutil.ignore_patterns("__pycache__")


def build(folder: Path) -> Stage:
    """Follows the Dockerfile; the last stage."""
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    for step in dockerfile.parse_file(str(CONTEXT / "Dockerfile")):
        match step.cmd.upper(), stage:
            case "FROM", _:
                name = step.value[2] if len(step.value) == 3 else "last"
                stage = stages[name] = Stage(folder / name)
            case "RUN", Stage():
                # What an engine passes on as well: the way to the package index.
                given = {**os.environ, **stage.variables, "PIP_ROOT_USER_ACTION": "ignore"}
                _run(*stage.command(["sh", "-c", *step.value]), env=given)
            case "COPY", Stage():
                flags = dict(flag.lstrip("-").split("=") for flag in step.flags)
                stage.copy(step.value, stages[flags.pop("from")] if "from" in flags else None)
                assert not flags, f"COPY {flags} is not understood"
            case "ENV", Stage():
                stage.set(step.value)
            case "WORKDIR", Stage():
                stage.folder = step.value[0]
                stage.inside("").mkdir(parents=True, exist_ok=True)
            case "USER", Stage():
                stage.user = step.value[0]
            case "ENTRYPOINT", Stage():
                assert step.json, "a shell would stand between the signals and the service"
                stage.entrypoint = step.value
            case "VOLUME", Stage():
                stage.volumes += step.value
            case (("LABEL" | "EXPOSE" | "STOPSIGNAL" | "HEALTHCHECK"), Stage()):
                pass
            case other, _:
                raise ValueError(f"{other} is not understood")
    assert stage is not None
    return stage


def main(folder: Path) -> None:
    # Not on the overlay or whatever else / may be: an overlay cannot be written into another.
    _run("mount", "-t", "tmpfs", "tmpfs", str(folder))
    image = build(folder)
    for at, volume in enumerate(image.volumes):
        # With what the image has there, owner and all, as a new volume of an engine.
        kept = folder / f"volume{at}"
        shutil.copytree(image.inside(volume), kept)
        owner = image.inside(volume).stat()
        os.chown(kept, owner.st_uid, owner.st_gid)
        _run("mount", "--bind", str(kept), str(image.inside(volume)))
    _run("mount", "-o", "remount,ro", str(image.root))
    _run("mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", str(image.root / "tmp"))
    given = {name: os.environ[name] for name in RUN_VARIABLES if name in os.environ}
    command = image.command(image.entrypoint)
    os.execvpe(command[0], command, {**image.variables, **given})


def _run(*command: str, env: Mapping[str, str] | None = None) -> None:
    subprocess.run(command, env=env, check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
