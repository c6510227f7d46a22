"""The id of a request, and its line in the log, its figures and its spans once it is over."""

import re
import secrets
from typing import TYPE_CHECKING

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from service.http.headers import adding, common_headers, header
from service.observe.record import Outcome, begin_record
from service.observe.report import report

if TYPE_CHECKING:
    from service.observe.tracing import Tracing

_PLAIN_ID = re.compile(rb"[A-Za-z0-9._~-]{1,64}")


class RequestLog:
    """ASGI middleware: takes the caller's `X-Request-ID` if it is short and plain, else makes one."""

    def __init__(self, app: ASGIApp, tracing: "Tracing | None") -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        given = header(scope, b"x-request-id") or b""
        record = begin_record(scope, given.decode() if _PLAIN_ID.fullmatch(given) else secrets.token_hex(16))
        spans = self._tracing.begin_request(scope, record) if self._tracing is not None else None

        async def send_and_note(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, adding(common_headers(record.request_id), send_and_note))
        finally:
            record.over = True
            if record.chat_begun:
                # The chat neither completed nor failed.
                record.end(Outcome.LEFT)
            method, route = scope["method"], scope.get("path_template")
            report(record, method, route, scope.get("client"))
            if spans is not None:
                spans.end(record, method, route)
