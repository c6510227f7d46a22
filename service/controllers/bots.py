"""Tag Bots: the bots to talk with, and how they open."""

from typing import Any

from litestar import Controller, Request
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.types import ASGIApp

from generated.models import BotResponse, BotsResponse
from service.answers.conditional import tagged_answer
from service.http.connection import connection_of, unless_client_leaves
from service.pages.handlers import get
from service.services import Services


class BotsController(Controller):
    path = "/api/v1/bots"

    @get(operation_id="listBots")
    async def list_bots(self, request: Request[Any, Any, Any], services: NamedDependency[Services]) -> ASGIApp:
        bots = await unless_client_leaves(connection_of(request.scope), services.coze.profiles.configured())
        document = BotsResponse(success=True, message="Bots retrieved successfully", data=bots)
        return tagged_answer(document, request.headers)

    @get("/{bot:str}", operation_id="getBot")
    async def get_bot(
        self, request: Request[Any, Any, Any], services: NamedDependency[Services], bot: FromPath[str]
    ) -> ASGIApp:
        found = await unless_client_leaves(connection_of(request.scope), services.coze.profiles.details(bot))
        return tagged_answer(
            BotResponse(success=True, message="Bot retrieved successfully", data=found), request.headers
        )
