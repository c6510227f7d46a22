"""Who the token belongs to, and what it may see: the user, the workspaces, the bots."""

from __future__ import annotations

from aiohttp import web

from .bots import BOTS, Bot
from .wire import CozeError, reply
from .world import WORLD, Json

USER_ID = "7500000000000000001"
CREATED = 1_735_689_600  # the sandbox's bots are as old as 2025


async def me(request: web.Request) -> web.Response:
    """GET /v1/users/me"""
    user = {
        "user_id": USER_ID,
        "user_name": "sandbox_user",
        "nick_name": "沙盒用户",
        "avatar_url": "https://example.com/avatar.png",
    }
    return reply(request, user)


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
    number, size = _whole(request, "page_num", 1, 1_000_000), _whole(request, "page_size", 20, 50)
    rows = [_workspace(n) for n in range(1, dials.workspaces + 1)]
    if dials.odd_workspace:
        rows.append({"id": "7519999999999999999", "name": None, "role_type": "janitor", "icon_url": None})
    page = rows[(number - 1) * size : number * size]
    return reply(request, {"total_count": len(rows), "workspaces": page})


def _whole(request: web.Request, name: str, default: int, most: int) -> int:
    text = request.query.get(name) or str(default)
    if not text.isdecimal() or len(text) > 9 or not 1 <= int(text) <= most:
        raise CozeError(4000, f"{name} takes a whole number from 1 to {most}.")
    return int(text)


async def bot(request: web.Request) -> web.Response:
    """GET /v1/bots/{id} and GET /v1/bot/get_online_info"""
    bot_id = request.match_info.get("id") or request.query.get("bot_id")
    if not bot_id:
        raise CozeError(4000, "bot_id is required.")
    found = BOTS.get(bot_id)
    if found is None:
        raise CozeError(4006)
    return reply(request, _bot(found))


def _bot(found: Bot) -> Json:
    return {
        "bot_id": found.id,
        "name": found.name,
        "description": found.what,
        "icon_url": "https://example.com/bot.png",
        "create_time": CREATED,
        "update_time": CREATED,
        "version": str(CREATED),
        "prompt_info": {"prompt": ""},
        "onboarding_info": {"prologue": "你好！Hello!", "suggested_questions": ["你是谁？", "帮助"]},
        "bot_mode": 0,
        "plugin_info_list": [],
        "model_info": {"model_id": "0", "model_name": "none"},
        "owner_user_id": USER_ID,
    }
