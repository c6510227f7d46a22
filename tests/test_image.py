"""The image, as far as it can be checked without an engine: its lint, and its own steps followed by image.py."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dockerfile
import psutil
import pytest
from conftest import BOT, ROOT, Service, Upstream, running_service
from image import RUN_VARIABLES

pytestmark = [pytest.mark.image, pytest.mark.index]

STEPS = dockerfile.parse_file(str(ROOT / "Dockerfile"))
LAST = STEPS[max(at for at, step in enumerate(STEPS) if step.cmd.upper() == "FROM") :]


class Container:
    """The service as process 1 of its own; `unshare`, which started it, ends as it does."""

    def __init__(self, service: Service) -> None:
        self.service = service
        (self.first,) = psutil.Process(service.process.pid).children()

    def run(self, *command: str, **env: str) -> int:
        """The exit code of a command inside, as the service's user and with its variables."""
        user, group = self.first.uids().real, self.first.gids().real
        enter = ["nsenter", f"--target={self.first.pid}", "--mount", "--pid", "--root", "--wd"]
        inside = [*enter, f"--setuid={user}", f"--setgid={group}", *command]
        return subprocess.run(inside, env=self.first.environ() | env, check=False).returncode


@pytest.fixture(scope="module")
def container(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    allowed = subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True, check=False)
    if os.geteuid() != 0 or allowed.returncode:
        pytest.skip("the Dockerfile's steps are followed in mounts of their own, which only root may make")
    root = tmp_path_factory.mktemp("image")
    # The steps reach the package index as this process does; the service gets none of it.
    outside = {name: value for name, value in os.environ.items() if name not in RUN_VARIABLES}
    unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    command = [*unshare, sys.executable, str(ROOT / "tests/image.py"), str(root)]
    coze = {"COZE_API_TOKEN": "pat_test", "COZE_API_BASE": upstream.url, "COZE_BOT_ID": BOT}
    folder = tmp_path_factory.mktemp("outside")
    with running_service(folder, command=command, **(outside | coze)) as running:
        made = Container(running)
        yield made
        if made.first.is_running():
            made.first.kill()


def test_it_passes_the_lint() -> None:
    subprocess.run([Path(sys.executable).parent / "hadolint", ROOT / "Dockerfile"], check=True)


def test_it_serves(container: Container) -> None:
    assert container.service.chat().json()["data"]["content"].startswith("Hello!")
    # A file this large is spooled on its way.
    sent = container.service.http.post("/api/v1/upload", files={"file": ("a.txt", b"a" * 5_000_000)})
    assert sent.status_code == 200, sent.text
    kept = container.service.http.get(sent.json()["file_url"])
    assert len(kept.content) == 5_000_000
    assert container.run("test", "-s", "/data/coze-service.sqlite3") == 0
    assert container.service.http.get("/docs/scalar.js").status_code == 200


def test_it_has_no_rights(container: Container) -> None:
    user = next(step.value[0] for step in LAST if step.cmd.upper() == "USER")
    assert f"{container.first.uids().effective}:{container.first.gids().effective}" == user
    assert container.first.uids().effective >= 10_000
    for path in ("/tmp/new", "/data/new"):
        assert container.run("touch", path) == 0, path
    for path in ("/app/new", "/app/venv/new", "/new"):
        assert container.run("touch", path) != 0, path


def test_its_health_check_tells_well_from_ill(container: Container) -> None:
    check = next(step for step in LAST if step.cmd.upper() == "HEALTHCHECK")
    assert (check.json, check.value[0]) == (True, "CMD")
    port = container.service.url.rpartition(":")[2]
    assert container.run(*check.value[1:], PORT=port) == 0
    assert container.run(*check.value[1:], PORT="9") != 0


def test_a_stop_reaches_the_service(container: Container) -> None:
    """The last test of the container: it ends it."""
    stop = next(step.value[0] for step in LAST if step.cmd.upper() == "STOPSIGNAL")
    container.first.send_signal(signal.Signals[stop])
    assert container.service.process.wait(60) == 0
    assert any(line.get("event") == "stopping" for line in container.service.lines())


def test_it_is_made_by_the_same_uv_as_the_checkout() -> None:
    (wanted,) = re.findall(r"^UV_VERSION=(\S+)$", (ROOT / "run.sh").read_text(), re.M)
    assert f"uv=={wanted}" in (ROOT / "Dockerfile").read_text()


def test_what_it_copies_is_sent_to_the_engine() -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {path for step in STEPS if step.cmd.upper() == "COPY" and not step.flags for path in step.value[:-1]}
    assert sent == copied
