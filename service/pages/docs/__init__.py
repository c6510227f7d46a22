"""/docs with Scalar, in English or Chinese, and the contract in OpenAPI 3.1 and 3.0.

Nothing is loaded from other hosts, and nothing is sent there.
"""

import gzip
import re
from functools import cache
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any

from litestar import Request, Response
from litestar.datastructures import CacheControlHeader
from litestar.response import File
from litestar.types import ControllerRouterHandler

from service.contract import contract
from service.pages.handlers import assets, get, page, query
from service.pages.languages import LANGUAGES, as_page_shows_it
from service.pages.rendition import rendition
from service.settings import Settings

_STATIC = Path(__file__).resolve().parent / "static"
_PAGE = (_STATIC / "docs.html").read_text(encoding="utf-8")
# The package is not imported: that would read each of its files.
_SCALAR = Path(str(distribution("offapi").locate_file("offapi/scalar.js")))
# Scalar's styles are made by its script. Nothing is loaded from other hosts, and nothing sent there.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "connect-src 'self'; font-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
    "Vary": "Accept-Language",
}
# The weight of one entry of an Accept-… header (RFC 9110, section 12.4.2).
_WEIGHT = re.compile(r"(?:q=([01](?:\.[0-9]{0,3})?))?")
_TEXTS = {
    "en": {"lang": "en", "title": "API reference", "playground": "Playground"},
    "zh": {"lang": "zh-CN", "title": "API 文档", "playground": "体验台"},
}


def docs(settings: Settings) -> list[ControllerRouterHandler]:
    """Returns the handlers of the page, of its files, and of the contract."""
    link = '<a href="playground">{playground}</a>' if settings.playground else ""
    template = _PAGE.replace("{link}", link).replace("{scalar}", version("offapi"))
    pages = {language: template.format(language=language, **texts).encode() for language, texts in _TEXTS.items()}
    return [
        openapi_yaml,
        openapi_json,
        rendition_yaml,
        rendition_json,
        page("/docs", lambda request: pages[_language(request)], _HEADERS),
        *(_contract_of_page(language) for language in LANGUAGES),
        scalar,
        assets("/docs/assets", _STATIC, cache_control=CacheControlHeader(no_cache=True)),
    ]


@get("/openapi.yaml", include_in_schema=False, sync_to_thread=False)
def openapi_yaml() -> Response[bytes]:
    return Response(contract().source, media_type="application/yaml")


@get("/openapi.json", include_in_schema=False, sync_to_thread=False)
def openapi_json() -> Response[bytes]:
    return Response(contract().json, media_type="application/json")


# The first request makes them. It does so in a thread, so that streams do not wait.
@get("/openapi-3.0.yaml", include_in_schema=False, sync_to_thread=True)
def rendition_yaml() -> Response[bytes]:
    return Response(rendition().yaml, media_type="application/yaml")


@get("/openapi-3.0.json", include_in_schema=False, sync_to_thread=True)
def rendition_json() -> Response[bytes]:
    return Response(rendition().json, media_type="application/json")


def _contract_of_page(language: str) -> Any:
    @get(f"/docs/contract.{language}.json", include_in_schema=False, sync_to_thread=True)
    def contract_of_page() -> Response[bytes]:
        return Response(
            as_page_shows_it(language), media_type="application/json", headers={"Cache-Control": "no-cache"}
        )

    return contract_of_page


@get("/docs/scalar.js", include_in_schema=False, sync_to_thread=True)
def scalar(request: Request[Any, Any, Any]) -> File | Response[bytes]:
    """Scalar's script, nearly 5 MB that compress well. The page names its version in the query."""
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
    if "gzip" not in _wanted(request.headers.get("accept-encoding", "")):
        return File(
            # Portions, of which a client that does not read holds one.
            _SCALAR,
            chunk_size=2**18,
            media_type="text/javascript",
            content_disposition_type="inline",
            headers=headers,
        )
    return Response(_compressed(), media_type="text/javascript", headers=headers | {"Content-Encoding": "gzip"})


@cache
def _compressed() -> bytes:
    return gzip.compress(_SCALAR.read_bytes(), mtime=0)


def _language(request: Request[Any, Any, Any]) -> str:
    """Returns the language that `?lang=` names, else the one that the browser prefers."""
    named = [value for name, value in query(request) if name == "lang"]
    wanted = [*named[:1], *_wanted(request.headers.get("accept-language", ""))]
    return next((name for tag in wanted if (name := tag.partition("-")[0]) in LANGUAGES), "en")


def _wanted(header: str) -> list[str]:
    """Returns what an Accept-… header names, in lower case, the most wanted first."""
    weights: dict[str, float] = {}
    # Split before anything is matched: a pattern for the whole header takes quadratic time for a hostile one.
    for part in header.lower().split(","):
        name, _, weight = part.partition(";")
        if found := _WEIGHT.fullmatch(weight.strip()):
            weights[name.strip()] = float(found[1] or 1)
    return sorted((name for name, weight in weights.items() if weight), key=lambda name: -weights[name])
