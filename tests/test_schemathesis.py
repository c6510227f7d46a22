"""schemathesis over the running service, as users run it: every phase and every check, by schemathesis.toml."""

import json
import os
import subprocess
import sysconfig
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Start
from operations import OPERATIONS

from service.contract import contract

CONFIG = ROOT / "schemathesis.toml"
COMMAND = Path(sysconfig.get_path("scripts")) / "schemathesis"
PHASES = {"examples", "coverage", "fuzzing", "stateful"}


@pytest.mark.timeout(900)  # it is some thousand requests, and other tests run beside it
def test_the_service_keeps_its_contract(start: Start, tmp_path: Path) -> None:
    # With a sandbox of its own: thousands of requests would hide what other tests look for.
    service = start("--sandbox", SANDBOX_DELTA_SECONDS="0", ANSWER_IDLE_SECONDS="3600")
    visitor = service.http.post("/api/v1/visitors").json()["data"]
    body = {"messages": [{"role": "user", "content": "Hello"}]}
    headers = {"Authorization": f"Bearer {visitor['token']}"}
    said, more = (service.http.post("/api/v1/chat", json=body, headers=headers).json() for _ in range(2))
    kept = service.http.post("/api/v1/chat", json={**body, "user_id": "u", "on_disconnect": "continue"})
    known = {
        "VISITOR_TOKEN": visitor["token"],
        "VISITOR_ID": visitor["user_id"],
        "CONVERSATION_ID": said["conversation_id"],
        "MESSAGE_ID": said["data"]["message_id"],
        "ANSWER_ID": kept.headers["answer-id"],
        "DISPOSABLE_CONVERSATION_ID": more["conversation_id"],
    }
    report = tmp_path / "report.json"
    done = subprocess.run(
        [COMMAND, "--config-file", CONFIG, "run", f"{service.url}/openapi.yaml", f"--report-json-path={report}"],
        cwd=tmp_path,
        env=os.environ | known,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout
    result = json.loads(report.read_text())
    operations = len(contract().routes)
    assert result["complete"]
    assert (result["operations"]["total"], result["operations"]["tested"]) == (operations, operations)
    assert {name for name, phase in result["phases"].items() if phase["status"] == "success"} == PHASES
    assert result["test_cases"]["generated"] > 1000
    # The check that authentication is needed sends three requests of its own, which are not checked in turn.
    probes = 3 * sum(operation.is_owned for operation in OPERATIONS.values())
    assert result["test_cases"]["without_checks"] == probes
    assert [line for line in service.lines() if line["level"] in ("error", "critical")] == []


def switched_off(node: object, path: str = "") -> Iterator[str]:
    """Where a part of the configuration says that something is off."""
    if isinstance(node, dict):
        here = f"{path}/{node['include-operation-id']}" if "include-operation-id" in node else path
        for key, child in node.items():
            if key == "enabled" and child is False:
                yield here.removeprefix("/")
            yield from switched_off(child, here if here != path and key == "phases" else f"{here}/{key}")
    elif isinstance(node, list):
        for child in node:
            yield from switched_off(child, path)


def test_no_more_is_off_than_has_a_reason() -> None:
    config: dict[str, Any] = tomllib.loads(CONFIG.read_text(encoding="utf-8"))
    assert config["generation"]["max-examples"] >= 100
    assert sorted(switched_off(config)) == [
        "cache",
        "operations/chat/coverage/checks/positive_data_acceptance",
        "operations/chat/fuzzing/checks/positive_data_acceptance",
        "operations/chat/stateful/checks/positive_data_acceptance",
        "operations/createChatCompletion/checks/positive_data_acceptance",
        "operations/deleteConversation/stateful",
        "operations/uploadFile/fuzzing/checks/negative_data_rejection",
        "operations/uploadFile/stateful/checks/negative_data_rejection",
    ]
