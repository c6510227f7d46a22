"""The application: what is plugged into what, and nothing else."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

from litestar import Litestar
from litestar.di import Provide
from litestar.routes import HTTPRoute
from litestar.types import ASGIApp

from service.answers.errors import EXCEPTION_HANDLERS
from service.contract import contract
from service.controllers import CONTROLLERS
from service.coze import Coze
from service.files import Files
from service.gate.callers import Callers, Identify, RequireCaller
from service.gate.cors import Cors, RefuseForeignPages
from service.gate.forwarded import Forwarded
from service.gate.head import HeadCheck
from service.gate.options import Options
from service.gate.rate_limit import RateLimit, RateLimiter
from service.gate.request_log import RequestLog
from service.gate.target import Target
from service.http.body import BodyDrain, BodyMemory
from service.http.form import Uploads
from service.kept import KeptAnswers, Shared
from service.lifecycle import Lifecycle
from service.ownership import Ownership
from service.pages.docs import docs
from service.pages.markdown import markdown
from service.pages.metrics import metrics_page
from service.pages.playground import playground
from service.pages.widget import widget
from service.readiness import Readiness
from service.services import Services
from service.settings import Settings
from service.store import open_answer_store, open_store
from service.users import user_tokens
from service.users.visitors import SharedVisitors

if TYPE_CHECKING:
    from service.observe.tracing import Tracing


def create_app(settings: Settings, coze: Coze, lifecycle: Lifecycle, tracing: "Tracing | None" = None) -> ASGIApp:
    """Returns the service as one ASGI application, which enters and leaves `coze` with the server's lifespan."""
    limit = settings.rate_limit_requests, settings.rate_limit_window, settings.rate_limit_storage
    limiter = RateLimiter(*limit) if settings.enable_rate_limit else None
    store = open_store(settings.store, settings.conversation_lifetime) if settings.store is not None else None
    ownership = Ownership(store)
    visitors = (
        SharedVisitors(ownership.shared_secret, settings.visitor_token_lifetime) if settings.has_visitors else None
    )
    callers = Callers(settings.api_keys, user_tokens(settings), visitors)
    files = Files(settings)
    uploads = Uploads(settings.max_concurrent_uploads, timeout=settings.request_body_timeout)
    answers = KeptAnswers(
        coze,
        _shared_answers(settings),
        idle_seconds=settings.answer_idle_seconds,
        chat_seconds=settings.coze_chat_timeout,
        workers=settings.workers,
    )
    services = Services(
        settings, coze, Readiness(coze, settings, lifecycle), files, BodyMemory(), uploads, ownership, answers, visitors
    )

    shared = settings.workers > 1 or _is_server(settings.store)

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        # A process that is alone stops the chats by itself when it deletes.
        deletions = (
            ownership.noticing_deletions(coze.busy_conversations, coze.cancel_chats) if shared else nullcontext()
        )
        async with ownership, coze, files, limiter or nullcontext(), answers, deletions:
            yield

    # With METRICS_PORT they have a server of their own, which command.py starts.
    own_metrics = settings.metrics and settings.metrics_port is None
    metrics_routes = [metrics_page(shared=settings.workers > 1)] if own_metrics else []
    app = Litestar(
        route_handlers=[
            *CONTROLLERS,
            *docs(settings),
            *markdown(),
            widget,
            *(playground(settings) if settings.playground else ()),
            *metrics_routes,
        ],
        dependencies={"services": Provide(lambda: services, sync_to_thread=False)},
        exception_handlers=EXCEPTION_HANDLERS,
        lifespan=[lifespan],
        # The contract is openapi.yaml; the framework must not write another.
        openapi_config=None,
        logging_config=None,
    )
    check_routes(app)
    origins = settings.cors_allow_origins
    # In the order in which a request passes them on its way to the router.
    middlewares: list[Callable[[ASGIApp], ASGIApp] | None] = [
        Target,
        partial(Forwarded, proxies=settings.forwarded_allow_ips),
        partial(RequestLog, tracing=tracing),
        BodyDrain,
        HeadCheck,
        partial(Cors, origins=origins),
        Options,
        partial(Identify, callers=callers),
        # Before the checks below, so that refused calls count and keys cannot be tried without limit.
        partial(RateLimit, limiter=limiter) if limiter else None,
        None if "*" in origins else partial(RefuseForeignPages, origins=origins, public_url=settings.public_base_url),
        partial(RequireCaller, callers=callers),
    ]
    served: ASGIApp = app
    for middleware in reversed(middlewares):
        served = middleware(served) if middleware else served
    return served


def _shared_answers(settings: Settings) -> Shared | None:
    """Returns the answers that several processes share, where there is a store that they can."""
    if settings.store is None or not _is_server(settings.store):
        return None
    return Shared(open_answer_store(settings.store, settings.coze_chat_timeout, settings.answer_idle_seconds))


def _is_server(store: str | None) -> bool:
    return store is not None and "://" in store


def routes(app: Litestar) -> set[tuple[str, str]]:
    """Returns all (method, path) pairs of the API, without those of the pages."""
    return {
        (str(method), route.path_format)
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        if handler.resolve_include_in_schema()
        for method in handler.http_methods
    }


def check_routes(app: Litestar) -> None:
    served, promised = routes(app), contract().routes
    # HEAD comes with GET; the contract does not list it.
    promised = promised | {("HEAD", path) for method, path in promised if method == "GET"}
    if served != promised:
        raise RuntimeError(
            f"Routes and contract differ. Only served: {sorted(served - promised)}. "
            f"Only promised: {sorted(promised - served)}."
        )
