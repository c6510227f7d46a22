"""Debian's Chromium as the tests drive it. Every page must be free of console errors and stay on its own servers."""

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

# The one without windows costs half as much as the one with them, and is what Playwright itself takes for tests.
CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
# It calls nobody of its own accord; --no-sandbox because root cannot have Chromium's own.
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_FORBIDDEN = (
    "Access to fetch at",
    "Failed to load resource: net::ERR_FAILED",
    "Connecting to",
    "Fetch API cannot load",
)
# How long a page may take is no promise of the service: machines are slow at times.
expect.set_options(timeout=20_000)
WIDE: ViewportSize = {"width": 1280, "height": 800}
NARROW: ViewportSize = {"width": 390, "height": 780}


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser. Open one for a module at most: while it is there, its thread has a running event loop."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (on Debian: apt install chromium-headless-shell fonts-noto-cjk)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def page_on(
    browser: Browser,
    url: str,
    *others: str,
    statuses: tuple[int, ...] = (),
    refused: bool = False,
    lost: bool = False,
    forbidden: bool = False,
    **context: Any,
) -> Iterator[Page]:
    """A page at `url`. At the end: it asked only the servers of `url` and `others`, and its console had no error.

    `statuses` are the failing HTTP statuses that the test provokes, `refused` says that it stops the server, `lost`
    that it cuts connections, `forbidden` that the page may not call: the browser reports all of them in the console.
    """
    homes = {urlsplit(address).netloc for address in (url, *others)}
    outside: list[str] = []
    errors: list[str] = []
    provoked = [rf"Failed to load resource: .* status of {status} " for status in statuses]
    provoked += [r"Failed to load resource: net::ERR_CONNECTION_REFUSED"] if refused else []
    provoked += [r"Failed to load resource: net::ERR_[A-Z_]+", r"Access to fetch at .* blocked by CORS"] if lost else []
    provoked += [rf"{words}\b" for words in _FORBIDDEN] if forbidden else []
    with contextlib.closing(browser.new_context(**{"viewport": WIDE, **context})) as opened:
        page = opened.new_page()
        page.on("request", lambda request: outside.append(request.url) if strange(request.url, homes) else None)
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        yield page
        page.screenshot()  # what the page has still to say is said before this is done
    errors = [error for error in errors if not any(re.match(pattern, error) for pattern in provoked)]
    assert not errors, errors
    assert not outside, outside


def keep_nothing(page: Page) -> None:
    """Forbids the page to keep anything, as Chromium does with cookies blocked, and loads it again."""
    page.add_init_script("""
        const get = () => { throw new DOMException("Access is denied", "SecurityError"); };
        for (const name of ["localStorage", "sessionStorage"]) Object.defineProperty(window, name, { get });
    """)
    page.reload()


def strange(url: str, homes: set[str]) -> bool:
    parts = urlsplit(url)
    return parts.scheme not in ("data", "blob") and parts.netloc not in homes


def keep_screenshot(page: Page, name: str) -> None:
    """For people: with SCREENSHOTS=folder in the environment the tests leave their pictures there."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png")
