"""Takes the pictures of the READMEs, on the sandbox: `python tests/pictures.py` writes docs/*.png. Look at them."""

import tempfile
from pathlib import Path

from browser import chromium, page_on
from conftest import ROOT, running_service
from playground import answered, ask, open_at
from playwright.sync_api import Browser, ViewportSize, expect

# Small enough for pictures below 150 kB.
SIZE: ViewportSize = {"width": 1280, "height": 600}
# A name's ending, the language of the browser, the questions, and a button of Scalar's.
LANGUAGES = [
    ("", "en-US", ["Hello!", "Is there **Markdown**, with `code`?"], "Test Request"),
    (".zh-CN", "zh-CN", ["您好！", "支持 **Markdown** 和 `代码` 吗？"], "测试请求"),
]


def take(browser: Browser, url: str) -> None:
    for ending, locale, questions, button in LANGUAGES:
        with page_on(browser, f"{url}/playground", locale=locale, viewport=SIZE) as page:
            open_at(page)
            for count, question in enumerate(questions, 1):
                ask(page, question)
                answered(page, count)
            page.screenshot(path=ROOT / "docs" / f"playground{ending}.png")
        with page_on(browser, f"{url}/docs#tag/chat/POST/api/v1/chat", locale=locale, viewport=SIZE) as page:
            expect(page.locator("section[id$='/chat']").get_by_role("button", name=button)).to_be_visible()
            page.screenshot(path=ROOT / "docs" / f"reference{ending}.png")


if __name__ == "__main__":
    with (
        tempfile.TemporaryDirectory() as folder,
        running_service(Path(folder), "--sandbox") as service,
        chromium() as browser,
    ):
        take(browser, service.url)
