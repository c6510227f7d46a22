"""What the sandbox tells about its bots: names and greetings for everybody, and their making for nobody else.

Whatever only a bot's developer should read holds CANARY, so that a test can look for it anywhere.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from .account import first_workspace
from .bots import BOTS, PREFIX, Bot
from .canary import CANARY
from .history import Json
from .wire import ACCOUNT, CozeError, dump, reply, whole
from .world import USER_ID, WORLD

CREATED: Final = 1_735_689_600  # the sandbox's bots are as old as 2025
UNPUBLISHED: Final = PREFIX + "4015"
STATUSES: Final = ("all", "published_online", "published_draft", "unpublished_draft")
ICON: Final = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="#4d53e8"/>'
    b'<circle cx="11" cy="15" r="3" fill="#fff"/><circle cx="21" cy="15" r="3" fill="#fff"/>'
    b'<path d="M10 22h12" stroke="#fff" stroke-width="2" stroke-linecap="round"/></svg>'
)


async def retrieve(request: web.Request) -> web.Response:
    """GET /v1/bots/{id}"""
    world = request.app[WORLD]
    found = _find(request, request.match_info["id"])
    if world.studio:
        return reply(request, _with_changes(request, found, _studio_bot(request, found)))
    if found.id == UNPUBLISHED and request.query.get("is_published", "true") != "false":
        raise CozeError(4015)
    return reply(request, _with_changes(request, found, _bot(request, found)))


async def online(request: web.Request) -> web.Response:
    """GET /v1/bot/get_online_info: the older way; the Studio answers without an envelope, if told a connector."""
    bot_id = request.query.get("bot_id")
    if request.app[WORLD].studio:
        if not request.query.get("connector_id", "").isdecimal():
            return web.Response(text='strconv.ParseInt: parsing "": invalid syntax', status=500)
        found = _find(request, bot_id or "")
        described = _with_changes(request, found, _studio_bot(request, found))
        return web.Response(body=dump(described), content_type="application/json")
    if not bot_id:
        raise CozeError(4000, "bot_id is required.")
    found = _find(request, bot_id)
    if found.id == UNPUBLISHED:
        raise CozeError(4015)
    return reply(request, _with_changes(request, found, _bot(request, found)))


def _find(request: web.Request, bot_id: str) -> Bot:
    is_studio = request.app[WORLD].studio
    found = BOTS.get(bot_id)
    if found is None or (is_studio and bot_id == UNPUBLISHED):
        raise CozeError(100000000, "agent not published") if is_studio else CozeError(4006)
    if request[ACCOUNT] != USER_ID:
        raise CozeError(110000001, "permission denied") if is_studio else CozeError(4006)
    return found


async def listing(request: web.Request) -> web.Response:
    """GET /v1/bots: those of a workspace; all that there are belong to the first one."""
    query = request.query
    status = query.get("publish_status") or "published_online"
    if not query.get("workspace_id"):
        raise CozeError(4000, "workspace_id is required.")
    if status not in STATUSES:
        raise CozeError(4000, f"publish_status must be one of {', '.join(STATUSES)}.")
    number, size = whole(request, "page_num", 1, 1_000_000), whole(request, "page_size", 20, 1_000)
    rows: list[Bot] = []
    if query["workspace_id"] == first_workspace() and request[ACCOUNT] == USER_ID:
        wanted = {"all": (True, False), "unpublished_draft": (False,)}.get(status, (True,))
        rows = [found for found in BOTS.values() if (found.id != UNPUBLISHED) in wanted]
    page = rows[(number - 1) * size : number * size]
    return reply(request, {"items": [_item(request, found) for found in page], "total": len(rows)})


async def icon(request: web.Request) -> web.Response:
    """GET /sandbox/icon.svg"""
    return web.Response(body=ICON, content_type="image/svg+xml")


def _with_changes(request: web.Request, found: Bot, described: Json) -> Json:
    """The description as the dial `bots` changes it; null takes a field away."""
    changed = described | request.app[WORLD].dials.bots.get(found.id, {})
    return {name: value for name, value in changed.items() if value is not None}


def _icon(request: web.Request) -> str:
    return f"{request.scheme}://{request.host}/sandbox/icon.svg?x-expires={CREATED}&x-signature=sandbox"


def _item(request: web.Request, found: Bot) -> Json:
    published = found.id != UNPUBLISHED
    return {
        "id": found.id,
        "name": found.title,
        "description": found.what,
        "icon_url": _icon(request),
        "is_published": published,
        "updated_at": CREATED,
        "owner_user_id": USER_ID,
        "folder_id": "0",
        **({"published_at": CREATED} if published else {}),
    }


def _onboarding(found: Bot) -> Json:
    return {
        "prologue": "您好！我是扣子沙盒里的智能体。Hello! I am the bot of the Coze sandbox.",
        "suggested_questions": ["Who are you?", "Help", "您是谁？", "帮助"],
    }


def _shown(request: web.Request, found: Bot) -> Json:
    """What both flavours tell alike."""
    return {
        "bot_id": found.id,
        "name": found.title,
        "description": found.what,
        "icon_url": _icon(request),
        "version": str(CREATED),
        "bot_mode": 0,
        "prompt_info": {"prompt": f"# Role\nYou are the sandbox's bot. Never tell anybody: {CANARY}"},
        "onboarding_info": _onboarding(found),
        "shortcut_commands": [
            {
                "id": "7540000000000000001",
                "name": f"{CANARY} shortcut",
                "command": "/sandbox",
                "description": CANARY,
                "icon_url": f"https://example.com/{CANARY}.png",
                "query_template": f"{CANARY} {{{{what}}}}",
                "tool": {"name": f"{CANARY} tool", "type": "plugin"},
                "components": [
                    {
                        "name": "what",
                        "description": CANARY,
                        "type": "select",
                        "options": [CANARY],
                        "tool_parameter": "what",
                        "default_value": CANARY,
                        "is_hide": False,
                    }
                ],
            }
        ],
    }


def _bot(request: web.Request, found: Bot) -> Json:
    return _shown(request, found) | {
        "create_time": CREATED,
        "update_time": CREATED,
        "owner_user_id": USER_ID,
        "folder_id": "0",
        "default_user_input_type": "text",
        "model_info": {
            "model_id": "1706077826",
            "model_name": f"{CANARY} model",
            "temperature": 0.8,
            "top_k": 50,
            "top_p": 1,
            "context_round": 30,
            "max_tokens": 4096,
            "response_format": "text",
            "presence_penalty": 0,
            "frequency_penalty": 0,
            "parameters": {"thinking_type": "disabled"},
        },
        "knowledge": {"knowledge_infos": [{"id": "7541000000000000001", "name": f"{CANARY} knowledge"}]},
        "suggest_reply_info": {"reply_mode": "customized", "customized_prompt": CANARY},
        "variables": [
            {
                "keyword": "user_name",
                "default_value": CANARY,
                "description": CANARY,
                "variable_type": "KVVariable",
                "channel": "custom",
                "enable": True,
                "prompt_enable": True,
            }
        ],
        "plugin_info_list": [
            {
                "plugin_id": "7542000000000000001",
                "name": f"{CANARY} plugin",
                "description": CANARY,
                "icon_url": f"https://example.com/{CANARY}.png",
                "api_info_list": [{"api_id": "7542100000000000001", "name": f"{CANARY} tool", "description": CANARY}],
            }
        ],
        "workflow_info_list": [
            {
                "id": "7543000000000000001",
                "name": f"{CANARY} workflow",
                "description": CANARY,
                "icon_url": f"https://example.com/{CANARY}.png",
            }
        ],
        "voice_info_list": [{"voice_id": "7468512265134800000", "language_code": "zh"}],
        "background_image_info": {
            side: {
                "image_url": f"https://example.com/{CANARY}.png",
                "theme_color": "#ffffff",
                "canvas_position": {"top": 0, "left": 0, "width": 300, "height": 200},
                "gradient_position": {"left": 0, "right": 300},
            }
            for side in ("web_background_image", "mobile_background_image")
        },
        "media_config": {"is_voice_call_closed": False},
    }


def _studio_bot(request: web.Request, found: Bot) -> Json:
    return _shown(request, found) | {
        "create_time": 0,
        "update_time": 0,
        "default_user_input_type": "text",
        "model_info": {"model_id": "100", "model_name": f"{CANARY} model", "response_format": 0},
        "plugin_info_list": [{"plugin_id": "7542000000000000001", "api_id": "1", "api_name": f"{CANARY} tool"}],
        "workflow_info_list": [{"workflow_id": "7543000000000000001", "plugin_id": "0", "desc": CANARY}],
    }
