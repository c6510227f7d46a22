"""The normal form of a request's path, and its route in the contract."""

import re

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from service.contract import contract


class Target:
    """ASGI middleware: removes empty segments from the path, and puts the contract's path template into the scope.

    So the middlewares around the router count, refuse and log by what the router will serve.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        paths = {path for _, path in contract().routes}
        self._plain = {path for path in paths if "{" not in path}
        self._patterns = [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), path) for path in paths - self._plain]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP:
            scope["path"] = "/" + "/".join(filter(None, scope["path"].split("/")))
            if (template := self._template(scope["path"])) is not None:
                scope["path_template"] = template
        await self._app(scope, receive, send)

    def _template(self, path: str) -> str | None:
        if path in self._plain:
            return path
        return next((template for pattern, template in self._patterns if pattern.fullmatch(path)), None)
