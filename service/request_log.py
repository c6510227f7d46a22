"""Outermost: every request gets an id, and one line in the log when it is over."""

import re
import secrets
import time

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

log = structlog.get_logger()

_PLAIN_ID = re.compile(rb"[A-Za-z0-9._~-]{1,64}")
_KEY = "request_record"


class RequestRecord:
    """What is to be said of one request when it is over. Whoever learns something sets it here."""

    __slots__ = ("caller", "cause", "code", "headers", "logid", "outcome", "request_id", "send", "status")

    def __init__(self, request_id: str, send: Send) -> None:
        self.request_id = request_id
        # The server's own. What is written very often may go here, past all that only looks at how an answer begins.
        self.send = send
        # What the answer gets besides its own headers, whoever makes it.
        self.headers = [(b"x-request-id", request_id.encode()), (b"x-content-type-options", b"nosniff")]
        self.caller: str | None = None  # the name of the key that it brought
        self.status: int | None = None  # None: nothing was answered
        self.outcome: str | None = None  # how a streamed chat ended, which its status cannot tell
        self.code: int | None = None  # Coze's
        self.logid: str | None = None  # Coze's
        self.cause: str | None = None


def new_request_id() -> str:
    return secrets.token_hex(16)


def record_of(scope: Scope) -> RequestRecord:
    record: RequestRecord = scope["state"][_KEY]
    return record


class RequestLog:
    """ASGI middleware. Takes the caller's `X-Request-ID` if it is short and plain, else makes one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        record = RequestRecord(given.decode() if _PLAIN_ID.fullmatch(given) else new_request_id(), send)
        scope.setdefault("state", {})[_KEY] = record
        structlog.contextvars.bind_contextvars(request_id=record.request_id)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                message["headers"] = [*message.get("headers", ()), *record.headers]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            client = scope.get("client")
            fields = {
                "method": scope["method"],
                "route": scope.get("path_template"),
                "status": record.status,
                "duration_ms": round((time.perf_counter() - started) * 1000, 2),
                "client": client[0] if client else None,
            }
            for name in ("caller", "outcome", "code", "logid", "cause"):
                if (value := getattr(record, name)) is not None:
                    fields[name] = value
            log.info("request", **fields)
            structlog.contextvars.unbind_contextvars("request_id")
