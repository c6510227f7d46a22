"""The log: one JSON line for each request, with what an operator needs and nothing that is nobody's business."""

import ast
import json
import os
import pty
import re
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import ROOT, Service, Start, Upstream, http, wait_until
from operations import operations

CANARY = "pat_CANARY7c1f"
TEXT = "a-very-private-sentence"


def line_of(service: Service, request_id: str) -> dict[str, Any]:
    def found() -> list[dict[str, Any]]:
        return [line for line in service.lines() if line.get("request_id") == request_id and line["event"] == "request"]

    wait_until(found)
    (line,) = found()
    return line


def test_a_request(service: Service) -> None:
    service.http.get("/api/v1/user/info?user_id=private", headers={"X-Request-ID": "line-1"})
    line = line_of(service, "line-1")
    assert line["logid"]
    assert isinstance(line["duration_ms"], float)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line["timestamp"])
    wanted = {"method": "GET", "route": "/api/v1/user/info", "status": 200, "client": "127.0.0.1", "level": "info"}
    assert wanted.items() <= line.items()
    assert "private" not in service.output()


@pytest.mark.parametrize("path", ["user/info", "workspaces", "test/connection", "upload"])
def test_every_answer_of_coze_is_in_the_log_with_its_logid(service: Service, path: str) -> None:
    name = f"asks-{path.replace('/', '-')}"
    files = {"file": ("a.txt", b"text")} if path == "upload" else None
    answer = service.http.request(
        "POST" if files else "GET", f"/api/v1/{path}", files=files, headers={"X-Request-ID": name}
    )
    assert answer.status_code == 200
    assert line_of(service, name)["logid"]


@pytest.mark.parametrize("stream", [True, False])
def test_a_chat(service: Service, bots: dict[str, str], stream: bool) -> None:
    name = f"chat-{stream}"
    body = {"user_id": "u", "messages": [{"role": "user", "content": "x"}], "stream": stream}
    service.http.post("/api/v1/chat", json=body, headers={"X-Request-ID": name})
    assert line_of(service, name)["logid"]
    body["bot_id"] = bots["failed-midway-4028"]
    service.http.post("/api/v1/chat", json=body, headers={"X-Request-ID": f"failed-{name}"})
    line = line_of(service, f"failed-{name}")
    assert line["code"] == 4028
    assert (line["status"], line["outcome"]) == (200 if stream else 503, "failed")


def test_unknown_paths_and_methods(service: Service) -> None:
    service.http.get("/secret/path", headers={"X-Request-ID": "unknown-1"})
    line = line_of(service, "unknown-1")
    assert (line["status"], line["route"]) == (404, None)
    assert "/secret/path" not in service.output()


def test_the_level(start: Start) -> None:
    service = start()
    assert service.http.get("/").status_code == 200
    wait_until(lambda: service.lines()[-1]["event"] == "request")
    assert {line["level"] for line in service.lines()} == {"info"}


@pytest.mark.parametrize("level", ["DEBUG", "INFO"])
def test_the_token_and_the_texts_appear_nowhere(
    start: Start, upstream: Upstream, bots: dict[str, str], level: str
) -> None:
    """A canary token and a private text go through everything that can happen."""
    service = start(COZE_API_TOKEN=CANARY, LOG_LEVEL=level, COZE_FIRST_EVENT_TIMEOUT="2", COZE_EVENT_TIMEOUT="2")
    answers = [operation.call(service.http) for operation in operations()]
    pages = ("/docs", "/openapi.yaml", "/openapi.json", "/openapi-3.0.yaml", "/nowhere")
    answers += [service.http.get(path) for path in pages]
    for name in (f"{TEXT}.csv", f"{TEXT}.exe"):
        form: dict[str, Any] = {"files": {"file": (name, b"1")}, "data": {"description": TEXT}}
        answers.append(service.http.post("/api/v1/upload", **form))
    answers.append(service.http.post("/api/v1/chat", content=TEXT, headers={"content-type": "application/json"}))
    names = bots.keys() - {"for-ever", "load", "many-deltas", "huge-delta", "endless-line", "drip"}
    # Some of them wait until their time is up.
    with ThreadPoolExecutor(8) as pool:
        for stream in (False, True):
            answers += pool.map(lambda name, stream=stream: service.chat(TEXT, bot=bots[name], stream=stream), names)
    upstream.set(fail={"/v1/users/me": {"status": 401, "code": 4100, "msg": f"bad token {CANARY}"}})
    answers.append(service.http.get("/api/v1/user/info"))
    upstream.set(fail={})
    assert service.stop() == 0
    for answer in answers:
        assert CANARY not in answer.text
        assert CANARY not in str(answer.headers)
    assert CANARY not in service.output()
    assert TEXT not in service.output()
    assert "Traceback" not in service.output()


def test_every_line_of_all_workers_is_whole(start: Start, bots: dict[str, str]) -> None:
    service = start(WORKERS="2")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: http.get(f"{service.url}/health", timeout=60), range(100)))
        list(pool.map(lambda _: service.chat(bot=bots["failed-midway-4028"]), range(20)))
    assert service.stop() == 0
    lines = [json.loads(line) for line in service.output().splitlines()]
    assert [line["event"] for line in lines].count("request") == 120
    assert all(line["logid"] for line in lines if line.get("route") == "/api/v1/chat")


@pytest.mark.parametrize(("log_format", "no_color"), [("auto", ""), ("auto", "1"), ("json", "")])
def test_on_a_terminal(tmp_path: Path, log_format: str, no_color: str) -> None:
    env = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    env |= {"COZE_API_TOKEN": CANARY, "COZE_API_BASE": "http://coze.invalid", "HOST": "127.0.0.1", "PORT": "0"}
    env |= {"LOG_FORMAT": log_format, "NO_COLOR": no_color}
    ours, theirs = pty.openpty()
    it = subprocess.Popen([sys.executable, "-W", "error", "-m", "service"], cwd=tmp_path, env=env, stdout=theirs)
    try:
        os.close(theirs)
        seen = b""
        while b"listening" not in seen:
            seen += os.read(ours, 10_000)
        (port,) = re.findall(rb"http://127.0.0.1:([0-9]+)", seen)
        assert http.get(f"http://127.0.0.1:{int(port)}/", timeout=60).status_code == 200
        it.terminate()
        while b"stopping" not in seen:
            seen += os.read(ours, 10_000)
        os.close(ours)
        # The terminal is gone before the service is.
        assert it.wait(60) == 0
    finally:
        it.kill()
        it.wait()
    assert (b"\x1b[" in seen) == (log_format == "auto" and not no_color)
    assert seen.startswith(b"{") == (log_format == "json")
    assert CANARY.encode() not in seen


def test_a_disk_that_was_full_takes_lines_again(start: Start) -> None:
    """A limit of the file's size stands in for it: a part of a line still fits."""
    service = start()
    process = psutil.Process(service.process.pid)
    assert service.http.get("/").status_code == 200
    wait_until(lambda: service.lines()[-1]["event"] == "request")
    limit = len(service.output()) + 10
    process.rlimit(psutil.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    # Ten kilobytes of lines: more than a buffer would hold back.
    assert {service.http.get("/").status_code for _ in range(50)} == {200}
    wait_until(lambda: len(service.output()) == limit)
    process.rlimit(psutil.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    service.http.get("/", headers={"X-Request-ID": "room-again"})
    assert line_of(service, "room-again")["status"] == 200
    assert service.stop() == 0
    assert len(service.output().splitlines()) - len(service.lines()) == 1


def test_what_comes_from_elsewhere_does_not_steer_the_terminal(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    program = (
        "import structlog; from service import settings; from service.observe import logs;"
        "logs.configure(settings.read({'COZE_API_TOKEN': 'pat_test', 'LOG_FORMAT': 'console'}));"
        "structlog.get_logger().info('request', cause='\\x1b[2Jgone')"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
    out = capfdbinary.readouterr().out
    assert b"gone" in out
    assert b"\x1b" not in out


def test_the_manual_lists_every_event() -> None:
    """Those that the service's own code names; what libraries say is theirs."""
    named = set()
    for path in (ROOT / "service").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="log"), attr=level), args=[ast.Constant(value=event)]
                ):
                    named.add((event, level))
                case ast.Call(func=ast.Attribute(value=ast.Name(id="log"))):
                    raise AssertionError(f"{path.name}:{node.lineno} names its event in a way not looked at here")
    rows = re.findall(r"^\| `(.+?)` \| (info|warning|error) \| ", (ROOT / "docs/logs.md").read_text(), re.MULTILINE)
    assert set(rows) == named
    assert len(rows) == len(named)
