"""The pages in Chromium under axe-core: in both languages, light and dark, wide and narrow."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import page_on
from conftest import ROOT, Service
from javascript import needs_packages
from playground import answered, ask, open_at, picture
from playwright.sync_api import Browser, FilePayload, Page, expect
from test_examples import served
from test_widget import OPEN

pytestmark = [pytest.mark.browser, pytest.mark.npm, pytest.mark.usefixtures("fresh")]

AXE = ROOT / "tests" / "node_modules" / "axe-core" / "axe.min.js"
LOCALES = ["en-US", "zh-CN"]
# What Scalar's own parts of /docs break, with pale words, samples that scroll, and small buttons.
OF_SCALAR = {"color-contrast", "scrollable-region-focusable", "target-size"}
# axe-core applies this rule of WCAG 2.2 only if it is told to.
CHECK = """async (exclude) => {
  const rules = { "target-size": { enabled: true } };
  const { violations } = await axe.run({ exclude }, { rules, resultTypes: ["violations"] });
  return violations.flatMap(({ id, nodes }) => nodes.map(({ target }) => [id, target.flat().join(" ")]));
}"""
SITE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>A shop</title>
<link rel="icon" href="data:,">
<main><h1>A shop</h1></main>
<script src="{service}/widget.js" async></script>
</html>
"""


@pytest.fixture(scope="module")
def axe() -> str:
    needs_packages("axe-core")
    return AXE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, on_sandbox: Service) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("shop")
    (folder / "index.html").write_text(SITE.format(service=on_sandbox.url))
    with served(folder) as url:
        yield url


def violations(page: Page, axe: str, *exclude: str) -> list[tuple[str, str]]:
    """The rules that elements of the page break, each with a selector of the element; those in `exclude` left out."""
    if page.evaluate("typeof axe") == "undefined":
        page.evaluate(axe)
    return [(rule, target) for rule, target in page.evaluate(CHECK, exclude)]


def assert_accessible(page: Page, axe: str) -> None:
    for width, scheme in itertools.product((1280, 360), ("light", "dark")):
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        assert violations(page, axe) == [], (width, scheme)


@pytest.mark.parametrize("locale", LOCALES)
def test_the_playground(browser: Browser, on_sandbox: Service, bots: dict[str, str], axe: str, locale: str) -> None:
    with page_on(
        browser, f"{on_sandbox.url}/playground", statuses=(400,), locale=locale, reduced_motion="reduce"
    ) as page:
        open_at(page)
        assert_accessible(page, axe)
        page.locator("#bot").fill(bots["markdown"])
        ask(page, "Hello" if locale == "en-US" else "您好")
        answered(page, 1)
        assert_accessible(page, axe)
        page.locator("#bot").fill(bots["code-4015"])
        ask(page, "Hello")
        expect(page.get_by_role("alert")).to_be_visible()
        notes: FilePayload = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"some notes"}
        page.locator("#file").set_input_files([picture(), notes])
        expect(page.locator("#files li .about")).to_have_text(["872 B", "10 B"])
        assert_accessible(page, axe)
        page.locator("#menu").click()
        conversation = page.locator("#conversations li")
        expect(conversation).to_have_count(1)
        assert violations(page, axe) == []
        conversation.hover()
        conversation.get_by_role("button").last.click()
        expect(page.get_by_role("alertdialog")).to_be_visible()
        assert violations(page, axe) == []


@pytest.mark.parametrize("locale", LOCALES)
def test_the_widget(browser: Browser, shop: str, on_sandbox: Service, axe: str, locale: str) -> None:
    with page_on(browser, "about:blank", shop, on_sandbox.url, locale=locale) as page:
        page.add_init_script(OPEN)
        page.goto(shop)
        page.locator(".launch").click()
        page.locator("textarea").fill("Hello")
        expect(page.locator(".send")).to_be_enabled()
        page.locator("textarea").press("Enter")
        expect(page.locator(".suggestions button").first).to_be_enabled()
        expect(page.locator(".assistant")).to_contain_text("I am the bot")
        assert_accessible(page, axe)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_docs(browser: Browser, on_sandbox: Service, axe: str, language: str) -> None:
    with page_on(browser, f"{on_sandbox.url}/docs?lang={language}") as page:
        expect(page.locator("aside a[href$='/api/v1/chat']")).to_be_visible()
        assert {rule for rule, _ in violations(page, axe)} <= OF_SCALAR
        assert violations(page, axe, "#reference") == []
