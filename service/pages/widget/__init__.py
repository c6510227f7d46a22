"""/widget.js: a chat for pages of any website, by one script tag."""

from pathlib import Path

from litestar.response import File

from service.pages.handlers import get

_SCRIPT = Path(__file__).resolve().parent / "static" / "widget.js"
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    # Revalidate, so that no page runs the script of another version.
    "Cache-Control": "no-cache",
    # Also for pages that let in only what says so (COEP).
    "Cross-Origin-Resource-Policy": "cross-origin",
}


@get("/widget.js", include_in_schema=False, sync_to_thread=False)
def widget() -> File:
    return File(
        _SCRIPT,
        filename=_SCRIPT.name,
        content_disposition_type="inline",
        media_type="text/javascript",
        headers=_HEADERS,
    )
