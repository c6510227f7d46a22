"""The application: what is plugged into what, and nothing else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from litestar import Litestar
from litestar.config.cors import CORSConfig
from litestar.di import Provide
from litestar.middleware import DefineMiddleware
from litestar.routes import HTTPRoute
from litestar.types import ASGIApp

from service import metrics
from service.answers import EXCEPTION_HANDLERS
from service.body import BodyDrain
from service.callers import Callers, need_key
from service.contract import contract
from service.controllers import CONTROLLERS
from service.coze import Coze
from service.docs import DOCS
from service.parts import Parts
from service.playground import PLAYGROUND
from service.rate_limit import RateLimit, RateLimiter
from service.readiness import Readiness
from service.request_log import RequestLog
from service.settings import Settings

if TYPE_CHECKING:
    from service.tracing import Tracing


def create_app(settings: Settings, coze: Coze, tracing: "Tracing | None" = None) -> ASGIApp:
    """The service as one ASGI application. It enters and leaves `coze` with the server's lifespan."""
    parts = Parts(settings, coze, Readiness(coze, settings))

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        async with coze:
            yield

    middleware = [DefineMiddleware(Callers, keys=settings.api_keys)] if settings.api_keys else []
    if settings.enable_rate_limit:
        limiter = RateLimiter(settings.rate_limit_requests, settings.rate_limit_window)
        middleware.append(DefineMiddleware(RateLimit, limiter=limiter))
    cors = CORSConfig(
        allow_origins=list(settings.cors_allow_origins),
        allow_methods=["GET", "POST", "OPTIONS"],
        allow_headers=["*"],
        expose_headers=["X-Request-ID", "Retry-After", "RateLimit", "RateLimit-Policy"],
    )
    # On a port of their own they are served by __main__.
    own_metrics = settings.metrics and settings.metrics_port is None
    metrics_routes = [metrics.endpoint(shared=settings.workers > 1)] if own_metrics else []
    app = Litestar(
        route_handlers=[*CONTROLLERS, *DOCS, *(PLAYGROUND if settings.playground else ()), *metrics_routes],
        dependencies={"parts": Provide(lambda: parts, sync_to_thread=False)},
        middleware=middleware,
        guards=[need_key] if settings.api_keys else [],
        exception_handlers=EXCEPTION_HANDLERS,
        cors_config=cors,
        lifespan=[lifespan],
        # The contract is openapi.yaml; the framework must not write another.
        openapi_config=None,
        logging_config=None,
    )
    _check_routes(app)
    return RequestLog(BodyDrain(app), tracing)


def routes(app: Litestar) -> set[tuple[str, str]]:
    """All (method, path) pairs of the API, the documentation's own pages aside."""
    return {
        (str(method), route.path)
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        if handler.resolve_include_in_schema()
        for method in handler.http_methods
    }


def _check_routes(app: Litestar) -> None:
    served, promised = routes(app), contract().routes
    if served != promised:
        raise RuntimeError(
            f"Routes and contract differ. Only served: {sorted(served - promised)}. "
            f"Only promised: {sorted(promised - served)}."
        )
