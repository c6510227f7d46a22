"""The sandbox's table of contents: which path leads where, and what every request passes on its way."""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp.typedefs import Handler

from . import account, bot_info, chats, conversations, files, messages, oauth, observe, studio
from .play import NO_CONTENT_TYPE
from .recent import MEBI
from .settings import Settings
from .wire import ACCOUNT, LOGID, CozeError, failure, new_logid, reply
from .world import OTHER_USER_ID, USER_ID, WORLD, World

BODY_LIMIT = 15 * MEBI  # Coze's, for all but uploads, which stream
TOKENS = ("pat_", "sat_")

COMMON = (
    ("POST", "/v3/chat", chats.start),
    ("GET", "/v3/chat/retrieve", chats.retrieve),
    ("GET", "/v3/chat/message/list", chats.list_messages),
    ("POST", "/v3/chat/cancel", chats.cancel),
    ("POST", "/v1/conversation/create", conversations.create),
    ("GET", "/v1/conversation/retrieve", conversations.retrieve),
    ("GET", "/v1/conversations", conversations.list_conversations),
    ("PUT", "/v1/conversations/{id}", conversations.rename),
    ("DELETE", "/v1/conversations/{id}", conversations.delete),
    ("POST", "/v1/conversations/{id}/clear", conversations.clear),
    ("POST", "/v1/conversation/message/list", messages.list_messages),
    ("POST", "/v1/files/upload", files.upload),
    ("GET", "/v1/bots/{id}", bot_info.retrieve),
    ("GET", "/v1/bot/get_online_info", bot_info.online),
)
CLOUD = (
    ("POST", "/v3/chat/retrieve", chats.retrieve),  # as the SDKs ask, whatever the documents say
    ("GET", "/v1/conversation/message/list", messages.list_messages),
    ("POST", oauth.PATH, oauth.token),
)
# The Studio keeps these behind its web session: to a token they do not exist.
SESSION_ONLY = (
    ("GET", "/v1/conversation/message/retrieve", messages.retrieve),
    ("POST", "/v1/conversations/{id}/messages/{message_id}/feedback", messages.give_feedback),
    ("DELETE", "/v1/conversations/{id}/messages/{message_id}/feedback", messages.take_back_feedback),
    ("GET", "/v1/files/retrieve", files.retrieve),
    ("POST", "/v1/files/retrieve", files.retrieve),
    ("GET", "/v1/users/me", account.me),
    ("GET", "/v1/workspaces", account.workspaces),
    ("GET", "/v1/bots", bot_info.listing),
)
OWN = (
    ("GET", "/sandbox/state", observe.state),
    ("GET", "/sandbox/bots", observe.bots),
    ("POST", "/sandbox/reset", observe.reset),
    ("POST", "/sandbox/revoke", oauth.revoke),
    ("POST", "/sandbox/settings", observe.settings),
    ("POST", "/sandbox/conversations/{id}/messages", observe.add_messages),
    ("GET", "/sandbox/files/{id}", files.download),
    ("GET", "/sandbox/icon.svg", bot_info.icon),
)


def make_app(settings: Settings) -> web.Application:
    """The whole sandbox as an aiohttp application."""
    app = web.Application(middlewares=[_every_request, _coze_request], client_max_size=BODY_LIMIT)
    app[WORLD] = World(settings)
    is_studio = app[WORLD].studio
    for method, path, handler in COMMON + OWN + (() if is_studio else CLOUD):
        app.router.add_route(method, path, handler)
    for method, path, handler in SESSION_ONLY:
        app.router.add_route(method, path, studio.no_session if is_studio else handler)
    app.on_response_prepare.append(_headers)
    app.on_shutdown.append(_stop)
    return app


async def _headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["X-Log-ID" if request.app[WORLD].studio else "X-Tt-Logid"] = request[LOGID]
    if NO_CONTENT_TYPE in request:
        response.headers.popall("Content-Type", None)


async def _stop(app: web.Application) -> None:
    runs = app[WORLD].runs
    for run in runs:
        run.cancel()
    await asyncio.gather(*runs, return_exceptions=True)


@web.middleware
async def _every_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Gives the request its log id, and every failure Coze's shape."""
    request[LOGID] = new_logid()
    try:
        return await handler(request)
    except CozeError as error:
        return failure(request, studio.translated(error) if request.app[WORLD].studio else error)
    except web.HTTPException as error:
        if request.app[WORLD].studio:  # knows no "method not allowed"
            return reply(request, code=404, msg="not found", status=404)
        answer = reply(request, code=error.status, msg=error.reason, status=error.status)
        if "Allow" in error.headers:
            answer.headers["Allow"] = error.headers["Allow"]
        return answer


@web.middleware
async def _coze_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Counts a request, fails it where it is told to, and asks for the token."""
    world = request.app[WORLD]
    if request.path.startswith("/sandbox/"):
        return await handler(request)
    resource = request.match_info.route.resource
    # Unknown paths count as one: people may ask for any number of them.
    asked = f"{request.method} {resource.canonical}" if resource is not None else "unknown"
    world.requests[asked] += 1
    if (fault := world.fault(request.path, asked)) is not None:
        answer = await observe.fail(request, fault)
        if answer is not None:
            return answer
    if resource is not None and request.path != oauth.PATH and handler is not studio.no_session:
        _authenticate(request, world.studio)
    return await handler(request)


def _authenticate(request: web.Request, is_studio: bool) -> None:
    """Any token that looks personal or a service's is good. Raises CozeError as Coze does for others.

    Those that begin with pat_other belong to another account, and those with pat_forbidden may do nothing.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme != "Bearer" or not (token.startswith(TOKENS) or oauth.is_good(request, token)):
        if is_studio:
            raise CozeError(700012006, "authentication failed: the token is invalid")
        raise CozeError(4100, status=401)
    if token.startswith("pat_forbidden"):
        raise CozeError(4101)
    request[ACCOUNT] = OTHER_USER_ID if token.startswith("pat_other") else USER_ID
