"""Tag Workspaces: the workspaces that the account can reach."""

from typing import Any

from litestar import Controller, Request
from litestar.di import NamedDependency

from generated.models import WorkspacesResponse
from service.http.connection import connection_of, unless_client_leaves
from service.pages.handlers import get
from service.services import Services


class WorkspacesController(Controller):
    path = "/api/v1/workspaces"

    @get(operation_id="listWorkspaces")
    async def list_workspaces(
        self, request: Request[Any, Any, Any], services: NamedDependency[Services]
    ) -> WorkspacesResponse:
        workspaces = await unless_client_leaves(connection_of(request.scope), services.coze.workspaces())
        return WorkspacesResponse(success=True, message="Workspaces retrieved successfully", data=workspaces)
