"""Who the token belongs to, and its workspaces."""

from __future__ import annotations

from aiohttp import web

from .history import Json
from .wire import ACCOUNT, reply, whole
from .world import USER_ID, WORLD


async def me(request: web.Request) -> web.Response:
    """GET /v1/users/me"""
    user = {
        "user_id": request[ACCOUNT],
        "user_name": "sandbox_user",
        "nick_name": "沙盒用户",
        "avatar_url": "https://example.com/avatar.png",
    }
    return reply(request, user)


def first_workspace() -> str:
    """The id of the workspace that holds the bots."""
    return str(_workspace(1)["id"])


def _workspace(number: int) -> Json:
    personal = number == 1
    return {
        "id": str(7_510_000_000_000_000_000 + number),
        "name": "个人空间" if personal else f"沙盒团队 {number}",
        "icon_url": "https://example.com/icon.png",
        "owner_uid": USER_ID,
        "role_type": ("owner", "admin", "member")[min(number, 3) - 1],
        "admin_uids": [USER_ID],
        "description": f"Workspace {number} of the sandbox",
        "enterprise_id": "" if personal else "7520000000000000001",
        "joined_status": "joined",
        "workspace_type": "personal" if personal else "team",
    }


async def workspaces(request: web.Request) -> web.Response:
    """GET /v1/workspaces: page_num from 1, page_size 20 unless said, 50 at most."""
    dials = request.app[WORLD].dials
    number, size = whole(request, "page_num", 1, 1_000_000), whole(request, "page_size", 20, 50)
    rows = [_workspace(n) for n in range(1, dials.workspaces + 1)]
    if dials.odd_workspace:
        rows.append({"id": "7519999999999999999", "name": None, "role_type": "janitor", "icon_url": None})
    page = rows[(number - 1) * size : number * size]
    return reply(request, {"total_count": len(rows), "workspaces": page})
