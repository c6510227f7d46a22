"""Where the service listens: on IPv4 beside IPv6, and where the image's health check asks for it."""

import json
import os
import signal
import subprocess
from pathlib import Path

import dockerfile
import pytest
from conftest import ROOT, Service, Start, http, wait_until

CHECK = next(step for step in dockerfile.parse_file(str(ROOT / "Dockerfile")) if step.cmd.upper() == "HEALTHCHECK")


@pytest.fixture(scope="module")
def everywhere(start: Start) -> Service:
    return start(HOST="::", METRICS_PORT="0", FORWARDED_ALLOW_IPS="127.0.0.1", SHUTDOWN_GRACE="1")


def healthy(folder: Path, **env: str) -> bool:
    """What the image's own health check says, with these variables."""
    python = ROOT / ".venv/bin/python"
    assert (CHECK.json, CHECK.value[:2]) == (True, ("CMD", "python"))
    command = [str(python), *CHECK.value[2:]]
    return subprocess.run(command, cwd=folder, env={"PATH": os.environ["PATH"], **env}, check=False).returncode == 0


def port_of(service: Service) -> str:
    return service.url.rpartition(":")[2]


def test_all_of_ipv6_is_all_of_ipv4_too(everywhere: Service) -> None:
    listening = next(line for line in everywhere.lines() if line["event"] == "listening")
    assert listening["url"] == f"http://[::1]:{listening['port']}"
    metrics = next(line for line in everywhere.lines() if line["event"] == "serving metrics")
    for host in ("127.0.0.1", "[::1]", "localhost"):
        assert http.get(f"http://{host}:{listening['port']}/").status_code == 200
        assert http.get(f"http://{host}:{metrics['port']}/metrics").status_code == 200


def test_an_ipv4_client_has_its_ipv4_address(everywhere: Service) -> None:
    port = port_of(everywhere)
    http.get(f"http://127.0.0.1:{port}/", headers={"X-Request-ID": "four"})
    http.get(f"http://[::1]:{port}/", headers={"X-Request-ID": "six"})
    # Which counts where a proxy is named by it.
    said = {"X-Forwarded-For": "203.0.113.1"}
    http.get(f"http://127.0.0.1:{port}/", headers={"X-Request-ID": "proxied", **said})
    http.get(f"http://[::1]:{port}/", headers={"X-Request-ID": "not-by-a-proxy", **said})

    def clients() -> dict[str, str]:
        lines = [json.loads(line) for line in everywhere.output().splitlines() if '"client"' in line]
        return {line["request_id"]: line["client"] for line in lines}

    wait_until(lambda: "not-by-a-proxy" in clients())
    named = ("four", "six", "proxied", "not-by-a-proxy")
    assert [clients()[name] for name in named] == ["127.0.0.1", "::1", "203.0.113.1", "::1"]


@pytest.mark.parametrize("host", ["", "0.0.0.0", "127.0.0.1", "localhost", "::", "::1", "0:0:0:0:0:0:0:0"])
def test_the_health_check_asks_where_it_listens(everywhere: Service, tmp_path: Path, host: str) -> None:
    assert healthy(tmp_path, HOST=host, PORT=port_of(everywhere))


def test_the_health_check_reads_what_the_service_reads(everywhere: Service, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"HOST='::1' # here\nexport PORT={port_of(everywhere)}\n")
    assert healthy(tmp_path)
    assert healthy(tmp_path, HTTP_PROXY="http://127.0.0.1:9", http_proxy="http://127.0.0.1:9")
    assert not healthy(tmp_path, PORT="9")
    assert not healthy(tmp_path, PORT="nonsense")


@pytest.mark.parametrize("host", ["::", "0.0.0.0", "127.0.0.1", "localhost"])
def test_the_health_check_needs_no_ipv6(service: Service, tmp_path: Path, host: str) -> None:
    """The service that is asked listens on 127.0.0.1 alone, as all is that may be had where there is no IPv6."""
    assert healthy(tmp_path, HOST=host, PORT=port_of(service))
    assert not healthy(tmp_path, HOST="::1", PORT=port_of(service))


def test_the_health_check_tells_of_a_service_that_hangs(everywhere: Service, tmp_path: Path) -> None:
    """The last test of the service: it is not asked again."""
    everywhere.process.send_signal(signal.SIGSTOP)
    try:
        assert not healthy(tmp_path, HOST="::1", PORT=port_of(everywhere))
    finally:
        everywhere.process.send_signal(signal.SIGCONT)
