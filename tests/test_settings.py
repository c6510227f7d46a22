"""A start with a missing or bad setting."""

import os
import re
import socket
from pathlib import Path

import pytest
from forked import Forked


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"COZE_API_TOKEN": "pat_1", "PORT": "x"},
        {"COZE_API_TOKEN": "pat_1", "HOST": "203.0.113.7"},
        {"COZE_API_TOKEN": "pat_1", "HOST": "a..b"},
        {"COZE_API_TOKEN": "pat_1", "https_proxy": "socks5://user:secret@127.0.0.1:1", "WORKERS": "2"},
        {"COZE_API_TOKEN": "pat_1", "SSL_CERT_FILE": "/dev/null"},
        {"COZE_API_TOKEN": "pat_1", "STORE": "/proc/nobody/may/make/this", "WORKERS": "2"},
        {"COZE_API_TOKEN": "pat_1", "STORE": "/dev/null"},
        {"COZE_API_TOKEN": "pat_1", "USER_TOKEN_SECRET": "short secret", "WORKERS": "2"},
        {"COZE_API_TOKEN": "pat_1", "USER_TOKEN_PUBLIC_KEY": "-----BEGIN PUBLIC KEY-----\\nsecret"},
    ],
)
def test_a_start_that_cannot_be_ends_with_one_line(tmp_path: Path, env: dict[str, str]) -> None:
    code, said = start(tmp_path, env)
    assert code == 1
    assert len(said.splitlines()) == 1
    assert re.search(r"COZE_API_TOKEN|PORT|HOST|HTTPS_PROXY|SSL_CERT_FILE|STORE|USER_TOKEN", said)
    assert "secret" not in said


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        _, said = start(tmp_path, {"COZE_API_TOKEN": "pat_1", "HOST": "127.0.0.1", "PORT": str(port)})
    assert said == (
        f"HOST 127.0.0.1 and PORT {port} cannot be used: another program listens there. "
        "Stop it, or set PORT to another number.\n"
    )


def start(folder: Path, env: dict[str, str]) -> tuple[int, str]:
    """The exit code of a start that cannot be, and what it said on standard error; it says nothing elsewhere."""
    output, errors = folder / "output", folder / "errors"
    code = Forked([], folder, {"PATH": os.environ["PATH"], **env}, output, errors).wait(60)
    assert output.read_text() == ""
    return code, errors.read_text()
