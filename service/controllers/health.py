"""Tag Health: liveness of the process, and readiness with Coze."""

from litestar import Controller, Response
from litestar.di import NamedDependency

from generated.models import HealthStatus, RootStatus
from service.clock import timestamp
from service.contract import contract
from service.pages.handlers import get
from service.services import Services


class HealthController(Controller):
    path = "/"

    @get(operation_id="getRoot")
    async def get_root(self) -> RootStatus:
        return RootStatus(
            status="running",
            message="Coze SDK API Service is running",
            timestamp=timestamp(),
            version=contract().version,
        )

    @get("/health", operation_id="getHealth")
    async def get_health(self, services: NamedDependency[Services]) -> Response[HealthStatus]:
        problem = await services.readiness.problem()
        status = HealthStatus(
            status="unhealthy" if problem else "healthy",
            message=problem.message if problem else services.readiness.healthy_message,
            timestamp=timestamp(),
            version=contract().version,
        )
        headers = {"Retry-After": str(problem.retry_after)} if problem and problem.retry_after else {}
        return Response(status, status_code=503 if problem else 200, headers=headers)
