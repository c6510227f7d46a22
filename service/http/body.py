"""Reading requests' bodies: bounded in bytes and time, and to the end so that the client can read the answer.

A server that answers and closes while the client still sends makes the client lose the answer. So what comes after an
early answer is read and thrown away, up to a bound.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, cast

from litestar.connection import Request
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPReceiveMessage, Message, Receive, Scope, Send

from service.bounds import BOUNDS
from service.errors import BAD_REQUEST, TAKING_IN, ClientLeft, Failure, ServiceError
from service.http.connection import connection_of


class BodyMemory:
    """The memory for all bodies that one process reads at once."""

    def __init__(self) -> None:
        self._taken = 0

    async def whole(self, chunks: AsyncIterator[bytes]) -> bytes:
        """A body that comes in `chunks`. Raises ServiceError (503) if there is no memory for it just now."""
        own = 0
        body = bytearray()
        try:
            async for chunk in chunks:
                own += len(chunk)
                self._taken += len(chunk)
                kept = BOUNDS.small_bodies_bytes if own > BOUNDS.large_body_bytes else 0
                if self._taken > BOUNDS.bodies_bytes - kept:
                    raise ServiceError(TAKING_IN)
                body += chunk
            return bytes(body)
        finally:
            self._taken -= own


async def body_chunks(
    request: Request[Any, Any, Any],
    *,
    limit: int,
    too_large: Failure,
    message: str | None = None,
    timeout: float,
) -> AsyncIterator[bytes]:
    """The body as it comes. Raises ServiceError at the first byte over `limit`, after `timeout` seconds of next to
    nothing, and if the rest cannot be read; ClientLeft if the client goes away.
    """
    now = asyncio.get_running_loop().time
    if int(request.headers.get("content-length", 0)) > limit:
        raise ServiceError(too_large, message)
    deadline = now() + BOUNDS.body_seconds
    patience_ends = now() + timeout
    received = lately = 0
    while True:
        try:
            async with asyncio.timeout_at(min(patience_ends, deadline)):
                event = await request.receive()
        except TimeoutError:
            raise ServiceError(BAD_REQUEST, "The request's body did not arrive in time.") from None
        if event["type"] != "http.request":
            if fault := connection_of(request.scope).fault:
                raise ServiceError(BAD_REQUEST, fault)
            raise ClientLeft
        chunk = event["body"]
        received += len(chunk)
        if received > limit:
            raise ServiceError(too_large, message)
        lately += len(chunk)
        if lately >= timeout * BOUNDS.body_bytes_a_second:
            patience_ends, lately = now() + timeout, 0
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
        held = False

        async def watched_receive() -> HTTPReceiveMessage:
            nonlocal more_to_come
            message = cast("HTTPReceiveMessage", await receive())
            if message["type"] != "http.request" or not message["more_body"]:
                more_to_come = False
            return message

        async def held_send(message: Message) -> None:
            nonlocal held
            if more_to_come and message["type"] == "http.response.start":
                # Whatever is still on its way must not be taken for the next request.
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            if more_to_come and message["type"] == "http.response.body" and not message.get("more_body"):
                held = True
                message = {**message, "more_body": True}
            await send(message)

        await self._app(scope, watched_receive, held_send)
        # Only now is all gone that the application has kept of the body.
        if not held:
            return
        drained = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BOUNDS.drain_seconds):
                while more_to_come and drained <= BOUNDS.drained_bytes:
                    message = await watched_receive()
                    drained += len(message["body"]) if message["type"] == "http.request" else 0
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _has_body(scope: Scope) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in scope["headers"]
    )
