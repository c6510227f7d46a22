"""/metrics: the figures for Prometheus, in the format that it asks for."""

from typing import Any

from litestar import Request, Response
from litestar.handlers import HTTPRouteHandler
from prometheus_client.exposition import choose_encoder

from service.observe import metrics
from service.pages.handlers import get


def metrics_page(*, shared: bool) -> HTTPRouteHandler:
    """Makes the handler: for this process alone or, if `shared`, for all workers together."""
    registry = metrics.registry(shared=shared)

    # Rendered in a thread, so that chats need not wait for it.
    @get("/metrics", include_in_schema=False, sync_to_thread=True)
    def scrape(request: Request[Any, Any, Any]) -> Response[bytes]:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"Content-Type": content_type})

    return scrape
