"""Headers of a request and of its answer, as ASGI has them: pairs of bytes, names in lower case."""

import re
from collections.abc import Iterable

from litestar.types import Message, Scope, Send

Header = tuple[bytes, bytes]

# A quoted value ends where its quotes do. If they end nowhere, it ends with the header's last quote: a browser does not
# escape a backslash, and in a Chinese encoding a character's second byte may look like one.
_PARAMETER = re.compile(
    rb';\s*(?:([^\s;="*]+\*?)\s*=\s*(?:"((?:[^"\\]|\\.)*)"\s*(?=;|$)|"(.*)"\s*$|([^;"]*)))?', re.DOTALL
)


def header(scope: Scope, name: bytes) -> bytes | None:
    """The request's first header of that name; None if it has none."""
    return next((value for found, value in scope["headers"] if found == name), None)


def parameters(value: bytes) -> dict[str, bytes]:
    """The parameters of a header such as Content-Type by their names in lower case, without the quotes around them."""
    found: dict[str, bytes] = {}
    at = value.find(b";")
    while match := _PARAMETER.match(value, at):
        name, quoted, unended, plain = match.groups()
        if name is not None:
            text = next((part for part in (quoted, unended) if part is not None), (plain or b"").strip())
            found.setdefault(name.decode("latin-1").lower(), text)
        at = match.end()
    return found


def adding(headers: Iterable[Header], send: Send) -> Send:
    """`send` for an answer that gets `headers` besides its own, whoever makes it."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *headers]
        await send(message)

    return send_with_headers
