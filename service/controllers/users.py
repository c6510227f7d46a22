"""Tag Users: the Coze account behind the service."""

from typing import Any

from litestar import Controller, Request
from litestar.di import NamedDependency

from generated.models import UserInfo, UserInfoResponse
from service.http.connection import connection_of, unless_client_leaves
from service.pages.handlers import get
from service.services import Services


class UsersController(Controller):
    path = "/api/v1/user"

    @get("/info", operation_id="getUserInfo")
    async def get_user_info(
        self, request: Request[Any, Any, Any], services: NamedDependency[Services]
    ) -> UserInfoResponse:
        user, logid = await unless_client_leaves(connection_of(request.scope), services.coze.user())
        return UserInfoResponse(
            success=True,
            message="User info retrieved successfully",
            data=UserInfo(
                user_info=f"User(id={user.user_id!r}, name={user.nick_name or user.user_name!r})",
                response_logid=logid,
                user=user,
            ),
        )
