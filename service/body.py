"""Reading a request's body: bounded, patient only so long, and to the end so that the client can read the answer.

A server that answers and closes while the client still sends makes the client lose the answer. So what comes after an
early answer is read and thrown away, up to a bound.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

from litestar.connection import Request
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPReceiveMessage, Message, Receive, Scope, Send

from service.errors import BAD_REQUEST, ClientLeft, Failure, ServiceError

# How much is thrown away after an early answer, and for how many seconds.
_MAX_DRAINED_BYTES = 32 * 1024 * 1024
_MAX_DRAIN_SECONDS = 30.0
# How long a whole body may take, however steadily it comes.
_MAX_BODY_SECONDS = 600.0


async def body_chunks(
    request: Request[Any, Any, Any],
    *,
    limit: int,
    too_large: Failure,
    message: str | None = None,
    timeout: float,
) -> AsyncIterator[bytes]:
    """The body as it comes. Raises ServiceError at the first byte over `limit` or after `timeout` seconds of silence,
    and ClientLeft if the client goes away.
    """
    announced = request.headers.get("content-length", "")
    deadline = asyncio.get_running_loop().time() + _MAX_BODY_SECONDS
    if announced.isdecimal() and int(announced) > limit:
        raise ServiceError(too_large, message)
    received = 0
    while True:
        try:
            async with asyncio.timeout_at(min(asyncio.get_running_loop().time() + timeout, deadline)):
                event = await request.receive()
        except TimeoutError:
            raise ServiceError(BAD_REQUEST, "The request's body did not arrive in time.") from None
        if event["type"] != "http.request":
            raise ClientLeft
        chunk = event["body"]
        received += len(chunk)
        if received > limit:
            raise ServiceError(too_large, message)
        if chunk:
            yield chunk
        if not event["more_body"]:
            return


class BodyDrain:
    """ASGI middleware: holds a response open until the client has sent what it was sending."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or not _has_body(scope):
            await self._app(scope, receive, send)
            return
        more_to_come = True

        async def watched_receive() -> HTTPReceiveMessage:
            nonlocal more_to_come
            message = cast("HTTPReceiveMessage", await receive())
            if message["type"] != "http.request" or not message["more_body"]:
                more_to_come = False
            return message

        async def held_send(message: Message) -> None:
            if more_to_come and message["type"] == "http.response.start":
                # Whatever is still on its way must not be taken for the next request.
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            if not more_to_come or message["type"] != "http.response.body" or message.get("more_body"):
                await send(message)
                return
            await send({**message, "more_body": True})
            await drain()
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        async def drain() -> None:
            drained = 0
            try:
                async with asyncio.timeout(_MAX_DRAIN_SECONDS):
                    while more_to_come and drained <= _MAX_DRAINED_BYTES:
                        message = await watched_receive()
                        drained += len(message["body"]) if message["type"] == "http.request" else 0
            except TimeoutError:
                pass

        await self._app(scope, watched_receive, held_send)


def _has_body(scope: Scope) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in scope["headers"]
    )
