"""Tag System: configuration, and a test of the connection to Coze."""

from typing import Any

from litestar import Controller, Request
from litestar.di import NamedDependency

from generated.models import Config, ConfigResponse, ConnectionTest, ConnectionTestResponse, Features
from service.clock import timestamp
from service.contract import contract
from service.http.connection import connection_of, unless_client_leaves
from service.pages.handlers import get
from service.services import Services


class SystemController(Controller):
    path = "/api/v1"

    @get("/config", operation_id="getConfig")
    async def get_config(self, services: NamedDependency[Services]) -> ConfigResponse:
        return ConfigResponse(
            success=True,
            message="Configuration retrieved successfully",
            data=Config(
                api_base=services.settings.coze_api_base,
                default_bot_id=services.settings.coze_bot_id,
                default_user_id=services.settings.coze_user_id,
                log_level=services.settings.log_level,
                environment=services.settings.environment,
                version=contract().version,
                features=Features(chat=True, file_upload=True, user_management=True, workspace_management=True),
            ),
        )

    @get("/test/connection", operation_id="testConnection")
    async def test_connection(
        self, request: Request[Any, Any, Any], services: NamedDependency[Services]
    ) -> ConnectionTestResponse:
        user, _ = await unless_client_leaves(connection_of(request.scope), services.coze.user())
        return ConnectionTestResponse(
            success=True,
            message="Connection test successful",
            data=ConnectionTest(connected=True, user_id=user.user_id, timestamp=timestamp()),
        )
