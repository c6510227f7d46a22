"""Tag Users: visitors, for sites without a login."""

from litestar import Controller, post
from litestar.di import NamedDependency

from generated.models import VisitorResponse, VisitorToken
from service.clock import timestamp_of
from service.errors import NOT_FOUND, ServiceError
from service.services import Services


class VisitorsController(Controller):
    path = "/api/v1/visitors"

    @post(operation_id="createVisitor", status_code=200)
    async def create_visitor(self, services: NamedDependency[Services]) -> VisitorResponse:
        if services.visitors is None:
            raise ServiceError(NOT_FOUND, "This service has no visitors.")
        visitor = await services.visitors.welcome()
        return VisitorResponse(
            success=True,
            message="Visitor created successfully",
            data=VisitorToken(
                token=visitor.token, user_id=visitor.user_id, expires_at=timestamp_of(visitor.expires * 1000)
            ),
        )
