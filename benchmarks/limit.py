"""The limit: Coze's bytes copied and nothing understood, which no gateway that translates can beat."""

import os
from typing import Any

import aiohttp

_URL = os.environ.get("COZE_API_BASE", "") + "/v3/chat"


class Limit:
    """A bare ASGI application. It speaks Coze's own wire, so only streams can be asked of it."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        async with self._session.post(_URL, data=body, headers={"Content-Type": "application/json"}) as response:
            kind = response.headers["Content-Type"].encode()
            headers = [(b"content-type", kind)]
            await send({"type": "http.response.start", "status": response.status, "headers": headers})
            async for data in response.content.iter_any():
                await send({"type": "http.response.body", "body": data, "more_body": True})
            await send({"type": "http.response.body", "body": b""})

    async def _lifespan(self, receive: Any, send: Any) -> None:
        await receive()
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as self._session:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


app = Limit()
