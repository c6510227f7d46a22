"""A start with a missing or bad setting."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest


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
    ended = start(tmp_path, env)
    assert ended.returncode == 1
    assert len((ended.stdout + ended.stderr).splitlines()) == 1
    assert re.search(r"COZE_API_TOKEN|PORT|HOST|HTTPS_PROXY|SSL_CERT_FILE|STORE|USER_TOKEN", ended.stderr)
    assert "secret" not in ended.stderr


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = start(tmp_path, {"COZE_API_TOKEN": "pat_1", "HOST": "127.0.0.1", "PORT": str(port)})
    assert ended.stderr == (
        f"HOST 127.0.0.1 and PORT {port} cannot be used: another program listens there. "
        "Stop it, or set PORT to another number.\n"
    )


def start(folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "service"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
