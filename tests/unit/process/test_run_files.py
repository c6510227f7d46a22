"""The files that tell of a running service."""

import contextlib
import fcntl
import os
import resource
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.bounds import BOUNDS
from service.process.run_files import RunFiles
from service.settings import SettingsError


def test_they_say_who_runs_and_where(tmp_path: Path) -> None:
    pid, ready = tmp_path / "pid", tmp_path / "ready"
    pid.write_text("4711 and more than the new one has\n")
    ready.write_text("http://left.example:1\n70\n")
    files = RunFiles(pid, ready, 41.5)
    assert pid.read_text() == f"{os.getpid()}\n"
    assert ready.read_text() == "\n41.5\n"
    files.tell_address("http://127.0.0.1:1")
    assert ready.read_text() == "http://127.0.0.1:1\n41.5\n"
    files.tell_address("")
    assert ready.read_text() == "\n41.5\n"
    files.remove_ready_file()
    assert [path.name for path in tmp_path.iterdir()] == ["pid"]


def test_a_pid_file_has_one_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BOUNDS, "pid_file_seconds", 0.1)
    pid, ready = tmp_path / "pid", tmp_path / "ready"
    RunFiles(pid, ready, 40).tell_address("http://127.0.0.1:1")
    with pytest.raises(SettingsError, match=r"^PID_FILE .* is that of a service that runs\.$"):
        RunFiles(pid, ready, 40)
    assert ready.read_text().startswith("http://127.0.0.1:1\n")


def test_a_lock_that_is_held_for_a_moment_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by run.sh, to see whether a service runs."""
    monkeypatch.setattr(BOUNDS, "pid_file_seconds", 30.0)
    pid = tmp_path / "pid"
    with pid.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        moment = threading.Timer(0.1, fcntl.flock, (file, fcntl.LOCK_UN))
        moment.start()
        RunFiles(pid, None, 40)
        moment.join()
    assert pid.read_text() == f"{os.getpid()}\n"


def test_a_pid_file_that_is_just_removed_is_made_again(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    pid.touch()
    # As run.sh does with one whose lock no service has.
    with pid.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        pid.unlink()
        RunFiles(pid, None, 40)
    assert pid.read_text() == f"{os.getpid()}\n"


@pytest.mark.parametrize("name", ["PID_FILE", "READY_FILE"])
@pytest.mark.parametrize("path", ["/nowhere/file", "/dev/null/file", "/"])
def test_a_file_that_cannot_be_written_is_named(name: str, path: str) -> None:
    pid, ready = (Path(path), None) if name == "PID_FILE" else (None, Path(path))
    with pytest.raises(SettingsError, match=rf"^{name} {path} cannot be used: .+\.$"):
        RunFiles(pid, ready, 40)


@pytest.mark.parametrize("name", ["PID_FILE", "READY_FILE"])
def test_a_device_or_a_pipe_is_left_alone(tmp_path: Path, name: str) -> None:
    """As /dev/null, which READY_FILE would replace if root runs the service."""
    place = tmp_path / "pipe"
    os.mkfifo(place)
    pid, ready = (place, None) if name == "PID_FILE" else (None, place)
    with pytest.raises(SettingsError, match=rf"^{name} {place} cannot be used: it is no regular file\.$"):
        RunFiles(pid, ready, 40)
    assert place.is_fifo()


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """A file can be made, and takes no byte."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_on_a_full_disk_it_says_no_more_that_connections_are_taken(tmp_path: Path) -> None:
    """Else run.sh takes a service that stops for one that hangs, and kills it."""
    ready = tmp_path / "ready"
    files = RunFiles(None, ready, 40)
    files.tell_address("http://127.0.0.1:1")
    with full_disk():
        files.tell_stop()
        assert not list(tmp_path.iterdir())
        with pytest.raises(SettingsError, match=r"^READY_FILE .* cannot be used: .+\.$"):
            files.tell_address("http://127.0.0.1:2")
        assert not list(tmp_path.iterdir()), "a draft is left"


def test_a_file_that_cannot_be_removed_spoils_no_exit(tmp_path: Path) -> None:
    (folder := tmp_path / "run").mkdir()
    files = RunFiles(None, folder / "ready", 40)
    (folder / "ready").unlink()
    folder.rmdir()
    folder.touch()
    files.tell_stop()
    files.remove_ready_file()


def test_none_are_written_where_none_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files = RunFiles(None, None, 40)
    files.tell_address("http://127.0.0.1:1")
    files.tell_stop()
    files.remove_ready_file()
    assert not list(tmp_path.iterdir())
