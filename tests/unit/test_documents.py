"""The project's own pages: what they link to is there, and so is each test that tests/README.md names."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

FOLDERS = ("docs", "tests", "examples", "benchmarks", "service")


def pages() -> Iterator[Path]:
    yield from ROOT.glob("*.md")
    for name in FOLDERS:
        for folder, inner, files in os.walk(ROOT / name):
            # Tens of thousands of files that others have written.
            inner[:] = [one for one in inner if one != "node_modules"]
            yield from (Path(folder, file) for file in files if file.endswith(".md"))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall("^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", sorted(pages()), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub("^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


def test_each_test_that_keeps_a_promise_is_there() -> None:
    named = re.findall(r"`((?:unit/)?[\w/]*test_\w+\.py)`", (ROOT / "tests/README.md").read_text(encoding="utf-8"))
    assert named
    assert not [name for name in named if not (ROOT / "tests" / name).exists()]
