"""The wheel: built from the source distribution, installed away from the checkout, started with nothing around it."""

import email
import os
import shutil
import subprocess
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, Service, events_of, running_service, text_of

from service.contract import contract
from service.settings import SETTINGS

pytestmark = pytest.mark.index

UV = shutil.which("uv", path=os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])) or "uv"


def uv(*arguments: str | Path) -> None:
    """Runs uv. Where the package index cannot be reached the test is skipped; in CI it fails."""
    done = subprocess.run([UV, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode and "error sending request" in done.stderr and not os.environ.get("CI"):
        pytest.skip(f"the package index cannot be reached: {done.stderr.strip().splitlines()[-1].strip()}")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel; uv makes it from the source distribution, not from the checkout."""
    folder = tmp_path_factory.mktemp("dist")
    uv("build", "--out-dir", folder, ROOT)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module", params=["locked", "newest"])
def command(request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`coze-service` in an environment of its own, with the locked or the newest allowed versions of what it needs."""
    folder = tmp_path_factory.mktemp(request.param)
    python = folder / "venv/bin/python"
    uv("venv", folder / "venv")
    if request.param == "locked":
        locked = folder / "requirements.txt"
        uv("export", "--frozen", "--no-dev", "--no-emit-project", "--output-file", locked)
        uv("pip", "install", "--python", python, "--require-hashes", "-r", locked)
        uv("pip", "install", "--python", python, "--no-deps", wheel)
    else:
        uv("pip", "install", "--python", python, "--resolution", "highest", "--refresh", wheel)
    return folder / "venv/bin/coze-service"


@pytest.fixture(scope="module")
def installed(command: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("elsewhere")
    with running_service(folder, "--sandbox", command=[str(command)], WORKERS="2") as running:
        yield running


def test_the_installed_service_chats(installed: Service) -> None:
    answer = installed.chat()
    assert answer.status_code == 200, answer.text
    said = answer.json()["data"]["content"]
    assert said.startswith("Hello!")
    assert text_of(events_of(installed.chat(stream=True).text)) == said


def test_the_contract_and_the_pages_are_inside(installed: Service) -> None:
    assert installed.http.get("/openapi.yaml").content == (ROOT / "openapi.yaml").read_bytes()
    for path in ("/docs", "/docs/scalar.js", "/docs/contract.zh.json", "/playground", "/widget.js"):
        assert installed.http.get(path, follow_redirects=True).status_code == 200, path


def test_there_is_one_version(installed: Service, command: Path, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        assert email.message_from_bytes(archive.read(metadata))["Version"] == contract().version
    assert run(command, "--version").stdout.strip() == contract().version
    assert installed.http.get("/").json()["version"] == contract().version
    assert installed.http.get("/api/v1/config").json()["data"]["version"] == contract().version


def test_the_help_names_every_option_and_variable(command: Path) -> None:
    said = run(command, "--help").stdout
    for name in ("--sandbox", "--version", *(setting.name for setting in SETTINGS)):
        assert name in said, name


def test_without_a_token_one_line_says_what_is_missing(command: Path, tmp_path: Path) -> None:
    ended = run(command, folder=tmp_path, code=1)
    assert ended.stderr.startswith("COZE_API_TOKEN is required")
    assert len(ended.stderr.splitlines()) == 1


def test_the_wheel_holds_the_service_alone(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
    assert tops == {"service", "generated", f"coze_service-{contract().version}.dist-info"}


def run(command: Path, *arguments: str, folder: Path | None = None, code: int = 0) -> subprocess.CompletedProcess[str]:
    ended = subprocess.run([command, *arguments], cwd=folder, env={}, capture_output=True, text=True, check=False)
    assert ended.returncode == code, ended.stdout + ended.stderr
    return ended
