"""/markdown: the modules that show an answer's Markdown, for the playground and for the widget on any website."""

from pathlib import Path

from litestar.datastructures import CacheControlHeader
from litestar.handlers import HTTPRouteHandler

from service.pages.handlers import assets

_STATIC = Path(__file__).resolve().parent / "static"
# Libraries as their makers publish them; vendored.json says which.
_VENDOR = _STATIC.parent / "vendor"


_FOLDERS = {"markdown/assets": _STATIC, "markdown/vendor": _VENDOR}

# Where a page at the service's root finds the modules.
MODULES = [f"{path}/{file.name}" for path, folder in _FOLDERS.items() for file in sorted(folder.glob("*.*js"))]


def markdown() -> list[HTTPRouteHandler]:
    """Returns the handlers of the files. They are revalidated, so that no page runs those of another version."""
    return [
        assets(f"/{path}", folder, cache_control=CacheControlHeader(no_cache=True)) for path, folder in _FOLDERS.items()
    ]
