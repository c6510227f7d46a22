"""/docs with Swagger UI, and the contract in OpenAPI 3.1 and 3.0. Nothing is loaded from other hosts."""

from pathlib import Path

from litestar import Response
from litestar.types import ControllerRouterHandler
from swagger_ui_bundle import swagger_ui_path

from service.contract import contract
from service.pages.handlers import assets, get, page
from service.pages.rendition import rendition

# Makes sure that Swagger UI loads nothing from other hosts.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_PAGE = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Coze SDK RESTful API</title>
<link rel="icon" type="image/png" href="docs/assets/favicon-32x32.png">
<link rel="stylesheet" href="docs/assets/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/assets/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_SCRIPT = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  tryItOutEnabled: true,
  validatorUrl: null,
});
"""


@get("/openapi.yaml", include_in_schema=False, sync_to_thread=False)
def openapi_yaml() -> Response[bytes]:
    return Response(contract().source, media_type="application/yaml")


@get("/openapi.json", include_in_schema=False, sync_to_thread=False)
def openapi_json() -> Response[bytes]:
    return Response(contract().json, media_type="application/json")


# Made on the first request, in a thread, so that streams do not wait for it.
@get("/openapi-3.0.yaml", include_in_schema=False, sync_to_thread=True)
def rendition_yaml() -> Response[bytes]:
    return Response(rendition().yaml, media_type="application/yaml")


@get("/openapi-3.0.json", include_in_schema=False, sync_to_thread=True)
def rendition_json() -> Response[bytes]:
    return Response(rendition().json, media_type="application/json")


@get("/docs/start.js", include_in_schema=False, sync_to_thread=False)
def docs_script() -> Response[str]:
    return Response(_SCRIPT, media_type="text/javascript")


DOCS: list[ControllerRouterHandler] = [
    openapi_yaml,
    openapi_json,
    rendition_yaml,
    rendition_json,
    page("/docs", _PAGE, {"Content-Security-Policy": _POLICY}),
    docs_script,
    assets("/docs/assets", Path(swagger_ui_path)),
]
