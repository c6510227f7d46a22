"""Request bodies: reading them within bounds of bytes and time, and draining the rest after an early answer.

A client that is still sending when the server closes the connection loses the answer. So the rest of its body is read
and discarded, up to a bound.
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
from service.http.headers import header


class BodyMemory:
    """The memory budget for all bodies that one process reads at once."""

    def __init__(self) -> None:
        self._taken = 0

    async def whole(self, chunks: AsyncIterator[bytes]) -> bytes:
        """Collects a body from `chunks`. Raises ServiceError (503) if the budget is used up."""
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
    """Yields the body as it arrives.

    Raises ServiceError: `too_large`, with `message`, at the first byte over `limit`; 400 if less than
    BOUNDS.body_bytes_a_second arrives for `timeout` seconds, or if the rest is malformed. Raises ClientLeft if the
    client disconnects.
    """
    now = asyncio.get_running_loop().time
    if int(header(request.scope, b"content-length") or 0) > limit:
        raise ServiceError(too_large, message)
    deadline = now() + BOUNDS.body_seconds
    patience_ends = now() + timeout
    received = recent_bytes = 0
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
        recent_bytes += len(chunk)
        if recent_bytes >= timeout * BOUNDS.body_bytes_a_second:
            patience_ends, recent_bytes = now() + timeout, 0
        if chunk:
            yield chunk
        if not event["more_body"]:
            return


class BodyDrain:
    """ASGI middleware: delays the end of an early answer until the client has sent its body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or not _has_body(scope):
            await self._app(scope, receive, send)
            return
        more_to_come = True
        end_delayed = False

        async def watching_receive() -> HTTPReceiveMessage:
            nonlocal more_to_come
            message = cast("HTTPReceiveMessage", await receive())
            if message["type"] != "http.request" or not message["more_body"]:
                more_to_come = False
            return message

        async def delaying_send(message: Message) -> None:
            nonlocal end_delayed
            if more_to_come and message["type"] == "http.response.start":
                # The rest of the body must not be parsed as the next request.
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            if more_to_come and message["type"] == "http.response.body" and not message.get("more_body"):
                end_delayed = True
                message = {**message, "more_body": True}
            await send(message)

        await self._app(scope, watching_receive, delaying_send)
        # Drain only now, when the application has released its part of the body.
        if not end_delayed:
            return
        drained = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BOUNDS.drain_seconds):
                while more_to_come and drained <= BOUNDS.drained_bytes:
                    message = await watching_receive()
                    drained += len(message["body"]) if message["type"] == "http.request" else 0
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _has_body(scope: Scope) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in scope["headers"]
    )
