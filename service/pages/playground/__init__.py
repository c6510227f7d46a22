"""/playground: one page to chat on, of plain HTML, CSS and JavaScript. `PLAYGROUND=false` leaves it out."""

from pathlib import Path
from urllib.parse import urlsplit

from litestar.datastructures import CacheControlHeader
from litestar.types import ControllerRouterHandler

from service.contract import contract
from service.pages.handlers import assets, page
from service.pages.markdown import MODULES
from service.settings import Settings

_STATIC = Path(__file__).resolve().parent / "static"
_PAGE = (_STATIC / "playground.html").read_text(encoding="utf-8")
_ASSETS = "playground/assets"
# A browser learns of a module by reading the one that imports it: one round trip to the service for each generation.
_PRELOADS = "".join(
    f'<link rel="modulepreload" href="{module}">\n'
    for module in [*(f"{_ASSETS}/{file.name}" for file in sorted(_STATIC.glob("*.js"))), *MODULES]
)
_SCRIPT = '<script type="module"'
_HISTORY = 'data-history="nobody"'
_ACCEPT = 'accept=""'
# The page runs only its own script, calls only its own service, and has the browser refuse to read any text as HTML.
# Blobs are pictures that the user picks; sent ones are loaded from their `file_url`. Bots' pictures are Coze's, on
# whatever host it has them; those in answers are loaded when the person asks for them.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:{files} https:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def playground(settings: Settings) -> list[ControllerRouterHandler]:
    """Returns the handlers of the page and its files."""
    base = urlsplit(settings.public_base_url or "")
    policy = _POLICY.format(files=f" {base.scheme}://{base.netloc}" if base.netloc else "")
    # So that the page need not ask for what this service does not have.
    history = "nobody" if settings.store is None else "visitors" if settings.has_visitors else "users"
    accept = ",".join(f".{extension}" for extension in contract().file_extensions)
    content = (
        _PAGE.replace(_SCRIPT, _PRELOADS + _SCRIPT)
        .replace(_HISTORY, f'data-history="{history}"')
        .replace(_ACCEPT, f'accept="{accept}"')
        .encode()
    )

    return [
        page("/playground", content, _HEADERS | {"Content-Security-Policy": policy}),
        # Revalidate, so that a page never runs the script of another version.
        assets(f"/{_ASSETS}", _STATIC, cache_control=CacheControlHeader(no_cache=True)),
    ]
