"""Tag Workspaces: what the account can reach."""

from litestar import Controller
from litestar.di import NamedDependency

from generated.models import WorkspacesResponse
from service.handlers import get
from service.parts import Parts


class WorkspacesController(Controller):
    path = "/api/v1/workspaces"

    @get(operation_id="listWorkspaces")
    async def list_workspaces(self, parts: NamedDependency[Parts]) -> WorkspacesResponse:
        return WorkspacesResponse(
            success=True, message="Workspaces retrieved successfully", data=await parts.coze.workspaces()
        )
