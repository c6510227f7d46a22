"""The probe of a container's health check, on its own."""

import socket

import pytest

from service.bounds import BOUNDS
from service.process import probe


def test_who_does_not_answer_in_time_does_not_live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BOUNDS, "probe_seconds", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HOST", "127.0.0.1")
        monkeypatch.setenv("PORT", str(silent.getsockname()[1]))
        with pytest.raises(SystemExit, match="Nothing good answers on port"):
            probe.main()
