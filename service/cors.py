"""Which websites may call: Litestar's CORS, with what it leaves open."""

from litestar.config.cors import CORSConfig
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Method, Receive, Scope, Send

from service.answers import error_answer
from service.errors import BAD_REQUEST, ServiceError

_METHODS: list[Method] = ["GET", "POST", "OPTIONS"]
_EXPOSED_HEADERS = [
    *("X-Request-ID", "Retry-After", "RateLimit", "RateLimit-Policy", "WWW-Authenticate"),
    *("Accept-Ranges", "Content-Disposition", "Content-Range", "ETag"),
]


def cors_config(origins: tuple[str, ...]) -> CORSConfig:
    """What Litestar is to allow: never credentials."""
    return CORSConfig(
        allow_origins=list(origins),
        allow_methods=[*_METHODS],
        allow_headers=["*"],
        expose_headers=_EXPOSED_HEADERS,
    )


class Cors:
    """ASGI middleware around Litestar: a preflight that is refused gets the envelope, and where not every website may
    call, every answer tells caches that it is for one.
    """

    def __init__(self, app: ASGIApp, config: CORSConfig) -> None:
        self._app = app
        self._config = config

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        origin = next((value for name, value in scope["headers"] if name == b"origin"), None)
        refusal = None
        if scope["method"] == "OPTIONS" and origin is not None:
            refusal = self._refusal(scope, origin.decode("latin-1"))
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        if not self._config.is_allow_all_origins:
            send = _varied(send)
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope, origin: str) -> ASGIApp | None:
        """The answer to a preflight that Litestar would refuse; None if it would not."""
        wanted = next((value for name, value in scope["headers"] if name == b"access-control-request-method"), b"")
        allowed = self._config.is_origin_allowed(origin)
        if allowed and (not wanted or wanted.decode("latin-1") in _METHODS):
            return None
        what = "This method may not be called" if allowed else "This website may not call"
        headers = dict(self._config.simple_headers) if allowed else {}
        if not self._config.is_allow_all_origins:
            headers |= {"Vary": "Origin"} | ({"Access-Control-Allow-Origin": origin} if allowed else {})
        return error_answer(scope, ServiceError(BAD_REQUEST, f"{what} from a browser."), headers)


def _varied(send: Send) -> Send:
    async def send_varied(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            if not any(name.lower() == b"vary" for name, _ in headers):
                headers.append((b"vary", b"Origin"))
            message["headers"] = headers
        await send(message)

    return send_varied
