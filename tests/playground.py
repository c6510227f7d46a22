"""What tests of the playground do on the page."""

import struct
import zlib
from typing import Any

from conftest import ROOT
from playwright.sync_api import FilePayload, Locator, Page, expect

STATIC = ROOT / "service" / "pages" / "playground" / "static"
MARKDOWN = STATIC.parent.parent / "markdown" / "static"
VENDOR = MARKDOWN.parent / "vendor"


def picture(width: int = 240, height: int = 140, name: str = "evening.png") -> FilePayload:
    """A PNG of an evening sky, as a file to pick."""
    rows = b"".join(
        b"\0" + bytes((90 + 150 * y // height, 60 + 90 * y // height, 170 - 80 * y // height)) * width
        for y in range(height)
    )
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in ((b"IHDR", head), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    )
    return {"name": name, "mimeType": "image/png", "buffer": content}


def open_at(page: Page) -> None:
    page.wait_for_selector("html[data-ready]")
    expect(page.locator("#health")).to_have_class("health good")


def ask(page: Page, text: str) -> None:
    """Types and sends with Enter."""
    page.locator("#question").fill(text)
    page.locator("#question").press("Enter")


def answered(page: Page, count: int) -> str:
    """The last of `count` answers, when it is complete."""
    expect(page.locator(".bot[aria-busy=false] .bubble")).to_have_count(count)
    return page.locator(".bot .bubble").last.inner_text()


def wire(page: Page) -> list[str]:
    """The rows of the raw pane, when all of them are there."""
    expect(page.locator(".rows[aria-busy=true]")).to_have_count(0)
    return page.locator("#events li").all_inner_texts()


def visitor_token(page: Page) -> str:
    """The token of the page's visitor, who has none yet when the page is there."""
    read = "() => localStorage.getItem(`${location.pathname} visitor-token`)"
    token: str = page.wait_for_function(read).json_value()
    return token


def names(page: Page) -> Locator:
    """The names of the conversations in the side bar, as they stand there."""
    return page.locator("#conversations .name")


def bubbles(page: Page) -> Locator:
    return page.locator(".message .bubble")


def focused(page: Page) -> str:
    """The name of the element that the keyboard is on."""
    name: str = page.evaluate("(e => e.ariaLabel || e.labels?.[0]?.innerText || e.innerText)(document.activeElement)")
    return name.strip()


def say(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}
