"""Tag System: configuration, and a test of the connection to Coze."""

from typing import Any

from litestar import Controller, Request, get
from litestar.di import NamedDependency

from generated.models import Config, ConfigResponse, ConnectionTest, ConnectionTestResponse, Features
from service.clock import timestamp
from service.contract import contract
from service.coze import Coze
from service.request_log import record_of
from service.settings import Settings


class SystemController(Controller):
    path = "/api/v1"

    @get("/config", operation_id="getConfig")
    async def get_config(self, settings: NamedDependency[Settings]) -> ConfigResponse:
        return ConfigResponse(
            success=True,
            message="Configuration retrieved successfully",
            data=Config(
                api_base=settings.coze_api_base,
                default_bot_id=settings.coze_bot_id,
                default_user_id=settings.coze_user_id,
                log_level=settings.log_level,
                environment=settings.environment,
                version=contract().version,
                features=Features(chat=True, file_upload=True, user_management=True, workspace_management=True),
            ),
        )

    @get("/test/connection", operation_id="testConnection")
    async def test_connection(
        self, request: Request[Any, Any, Any], coze: NamedDependency[Coze]
    ) -> ConnectionTestResponse:
        user, logid = await coze.user()
        record_of(request.scope).logid = logid
        return ConnectionTestResponse(
            success=True,
            message="Connection test successful",
            data=ConnectionTest(connected=True, user_id=user.user_id, timestamp=timestamp()),
        )
