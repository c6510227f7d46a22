"""Coze's official SDK for JavaScript works against the sandbox. (test_sandbox.py has the one for Python.)"""

import json

import pytest
from conftest import ROOT, Upstream
from javascript import run_node

pytestmark = pytest.mark.npm


def test_the_javascript_sdk(upstream: Upstream) -> None:
    upstream.reset()
    assert "agrees" in run_node("sandbox_sdk.mjs", upstream.url, needs="@coze/api")


def test_npm_packages_are_pinned_and_come_from_the_public_registry() -> None:
    wanted = json.loads((ROOT / "tests" / "package.json").read_text())["devDependencies"]
    packages = json.loads((ROOT / "tests" / "package-lock.json").read_text())["packages"]
    assert packages.pop("")["devDependencies"] == wanted
    for name, version in wanted.items():
        assert packages[f"node_modules/{name}"]["version"] == version
    for package in packages.values():
        assert package["resolved"].startswith("https://registry.npmjs.org/")
        assert package["integrity"]
