"""Headers of a request and of its answer, as ASGI has them: pairs of bytes, names in lower case."""

import re
from collections.abc import Iterable

from litestar.types import Message, Scope, Send

Header = tuple[bytes, bytes]

# A quoted value ends at its closing quote, or else at the header's last quote: browsers do not escape a backslash, and
# in Chinese encodings the second byte of a character may look like one.
_PARAMETER = re.compile(
    rb';\s*(?:([^\s;="*]+\*?)\s*=\s*(?:"((?:[^"\\]|\\.)*)"\s*(?=;|$)|"(.*)"\s*$|([^;"]*)))?', re.DOTALL
)


def header(scope: Scope, name: bytes) -> bytes | None:
    """Returns the value of the first header called `name`, in lower case; None if there is none."""
    return next((value for found, value in scope["headers"] if found == name), None)


def parameters(value: bytes) -> dict[str, bytes]:
    """Returns the parameters of a header such as Content-Type, unquoted, by their names in lower case."""
    found: dict[str, bytes] = {}
    at = value.find(b";")
    while match := _PARAMETER.match(value, at):
        name, quoted, unended, plain = match.groups()
        if name is not None:
            text = next((part for part in (quoted, unended) if part is not None), (plain or b"").strip())
            found.setdefault(name.decode("latin-1").lower(), text)
        at = match.end()
    return found


def common_headers(request_id: str) -> list[Header]:
    """Returns the headers that every answer has, whichever part of the service makes it."""
    return [(b"x-request-id", request_id.encode()), (b"x-content-type-options", b"nosniff")]


def adding(headers: Iterable[Header], send: Send) -> Send:
    """Returns a `send` that adds `headers` to those of the answer."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *headers]
        await send(message)

    return send_with_headers
