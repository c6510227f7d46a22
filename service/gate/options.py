"""OPTIONS of the contract's paths, by RFC 9110, section 9.3.7: which methods a path takes."""

from litestar.enums import ScopeType
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp, Receive, Scope, Send

from service.contract import contract


class Options:
    """ASGI middleware: answers OPTIONS, except for preflights and for pages.

    Litestar's own answer names the methods of the handler that came last, where a path has several handlers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        methods: dict[str, set[str]] = {}
        for method, path in contract().routes:
            methods.setdefault(path, {"OPTIONS"}).update({"GET", "HEAD"} if method == "GET" else {method})
        self._allow = {path: ", ".join(sorted(taken)) for path, taken in methods.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if scope["type"] == ScopeType.HTTP and scope["method"] == "OPTIONS" and "path_template" in scope:
            app = ASGIResponse(status_code=204, headers={"Allow": self._allow[scope["path_template"]]})
        await app(scope, receive, send)
