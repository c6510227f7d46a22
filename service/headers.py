"""Headers of a request and of its answer, as ASGI has them: pairs of bytes, names in lower case."""

from collections.abc import Iterable

from litestar.types import Message, Scope, Send

Header = tuple[bytes, bytes]


def header(scope: Scope, name: bytes) -> bytes | None:
    """The request's first header of that name; None if it has none."""
    return next((value for found, value in scope["headers"] if found == name), None)


def adding(headers: Iterable[Header], send: Send) -> Send:
    """`send` for an answer that gets `headers` besides its own, whoever makes it."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *headers]
        await send(message)

    return send_with_headers
