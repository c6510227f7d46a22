"""compose.yaml and deploy/kubernetes.yaml: valid by their schemas, and true of the service as it is."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from conftest import ROOT

from service import settings
from service.bounds import BOUNDS
from service.contract import contract

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
MANIFESTS = list(yaml.safe_load_all((ROOT / "deploy/kubernetes.yaml").read_text()))
PATHS = contract().document["paths"]
DEFAULTS = {setting.name: setting.default for setting in settings.SETTINGS}
# How long a stop may take, in seconds, as the service itself counts it.
STOP_SECONDS = float(DEFAULTS["SHUTDOWN_GRACE"] or 0) + BOUNDS.worker_stop_seconds


def manifest(kind: str) -> dict[str, Any]:
    (found,) = (manifest for manifest in MANIFESTS if manifest["kind"] == kind)
    return dict(found)


@pytest.fixture
def pod() -> dict[str, Any]:
    return dict(manifest("Deployment")["spec"]["template"]["spec"])


@pytest.fixture
def container(pod: dict[str, Any]) -> dict[str, Any]:
    (only,) = pod["containers"]
    return dict(only)


def test_compose_keeps_its_schema() -> None:
    check = Path(sys.executable).parent / "check-jsonschema"
    subprocess.run([check, "--builtin-schema", "vendor.compose-spec", ROOT / "compose.yaml"], check=True)


@pytest.mark.parametrize("kind", ["Deployment", "Service", "PodDisruptionBudget"])
def test_the_manifests_keep_the_schemas_of_kubernetes(kind: str) -> None:
    version = kubernetes_validate.latest_version()
    kubernetes_validate.validate(manifest(kind), version, strict=True)


def test_their_variables_are_the_services(container: dict[str, Any]) -> None:
    named = {variable["name"] for variable in container["env"]}
    assert named <= set(DEFAULTS)
    assert set(COMPOSE["services"]["coze-service"]["environment"]) <= set(DEFAULTS)


def test_a_stop_is_given_its_time(pod: dict[str, Any], container: dict[str, Any]) -> None:
    waits = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > waits + STOP_SECONDS
    grace = COMPOSE["services"]["coze-service"]["stop_grace_period"]
    assert float(grace.removesuffix("s")) > STOP_SECONDS


def test_the_probes_ask_what_the_contract_promises(container: dict[str, Any]) -> None:
    probes = {name: container[f"{name}Probe"] for name in ("startup", "liveness", "readiness")}
    asked = {name: probe["httpGet"]["path"] for name, probe in probes.items()}
    # A restart does not mend Coze: only what is asked for readiness may depend on it.
    assert asked == {"startup": "/", "liveness": "/", "readiness": "/health"}
    assert set(asked.values()) <= set(PATHS)
    assert probes["readiness"]["timeoutSeconds"] > float(DEFAULTS["COZE_REQUEST_TIMEOUT"] or 0)


def test_the_port_is_the_services(container: dict[str, Any]) -> None:
    (port,) = container["ports"]
    assert str(port["containerPort"]) == DEFAULTS["PORT"]
    assert f"\nEXPOSE {DEFAULTS['PORT']}\n" in (ROOT / "Dockerfile").read_text()
    (published,) = COMPOSE["services"]["coze-service"]["ports"]
    assert published.split(":")[-1] == DEFAULTS["PORT"]


def test_pods_keep_nothing_in_a_folder_that_they_do_not_share(container: dict[str, Any]) -> None:
    values = {variable["name"]: variable.get("value", "") for variable in container["env"]}
    for name in ("STORE", "FILE_STORE"):
        assert values[name] == "off" or "://" in values[name], name


def test_nothing_runs_with_rights_it_does_not_need(pod: dict[str, Any], container: dict[str, Any]) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    for name, one in COMPOSE["services"].items():
        assert (one["read_only"], one["cap_drop"]) == (True, ["ALL"]), name
