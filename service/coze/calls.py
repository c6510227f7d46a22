"""Calls to Coze. The SDK makes and signs every request, and reads no answer.

Its reader fails on legal event streams, ignores HTTP statuses and leaves connections open. So answers are read here,
from the wire.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from service.coze import wire
from service.coze.errors import ABSENT, NOT_UNDERSTOOD, TOKEN_REFUSED, Asked, coze_failure
from service.coze.http import Answer, Exchange, Receiver, Route, Transport, time_limit
from service.coze.observer import Observer
from service.coze.sdk import HTTPRequest, Requester
from service.coze.tokens import token_for
from service.errors import ServiceError
from service.settings import Settings

# Coze Studio's answer at an endpoint that it does not have: it takes the caller for a browser that is not signed in.
_STUDIO_NO_SESSION = "missing session_key"

T = TypeVar("T")


class Calls:
    """The calls of one process. An asynchronous context manager that owns the connections."""

    def __init__(self, settings: Settings, observer: Observer, route: Route) -> None:
        self._settings = settings
        self._observer = observer
        self._route = route
        self._token = token_for(settings, lambda request: self._transport.exchange(request), observer)
        self._requester = Requester(auth=self._token)

    async def __aenter__(self) -> "Calls":
        self._transport = Transport(
            self._route,
            connect_timeout=self._settings.coze_connect_timeout,
            max_chats=self._settings.max_concurrent_chats,
            observer=self._observer,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._transport.close()

    def token_refused(self) -> None:
        """Takes note that Coze refuses the token. The next call has another, if there can be one."""
        self._token.refused()

    async def begin(self, method: str, path: str, receiver: Receiver, **arguments: Any) -> Exchange:
        """Sends a request, and tells `receiver` the answer. Raises ServiceError if Coze cannot be reached.

        If this is cancelled, Coze has not been asked. The `arguments`, here and below, are those of the SDK's requests.
        """
        return await self._transport.begin(await self._make(method, path, **arguments), receiver)

    async def exchange(
        self, method: str, path: str, *, repeatable: bool, timeout: float | None = None, **arguments: Any
    ) -> tuple[Answer, bytes]:
        """Returns an answer of any status, and its body. Raises ServiceError if there is none in `timeout` seconds.

        A `repeatable` request is sent once more if its connection ends without an answer.
        """
        async with time_limit(timeout or self._settings.coze_request_timeout):
            return await self._transport.exchange(await self._make(method, path, **arguments), repeatable=repeatable)

    async def call(
        self,
        method: str,
        path: str,
        decode: Callable[[bytes], T],
        *,
        asked: Asked = Asked.NOTHING,
        timeout: float | None = None,
        **arguments: Any,
    ) -> tuple[T, str | None]:
        """Returns the decoded `data` of the JSON envelope in Coze's answer, and the logid. Raises ServiceError."""
        envelope, logid = await self._envelope(
            method, path, asked=asked, repeatable=method == "GET", timeout=timeout, **arguments
        )
        try:
            return decode(envelope.data), logid
        except wire.UNDECODABLE:
            raise ServiceError(NOT_UNDERSTOOD, cause="an answer with other data", logid=logid) from None

    async def envelope(
        self, method: str, path: str, *, asked: Asked, repeatable: bool, **arguments: Any
    ) -> wire.Envelope:
        """Returns the envelope itself, of a call that went well: some calls have facts beside `data`.

        Raises ServiceError.
        """
        envelope, _ = await self._envelope(method, path, asked=asked, repeatable=repeatable, **arguments)
        return envelope

    async def _envelope(
        self, method: str, path: str, *, asked: Asked, repeatable: bool, timeout: float | None = None, **arguments: Any
    ) -> tuple[wire.Envelope, str | None]:
        answer, body = await self.exchange(method, path, repeatable=repeatable, timeout=timeout, **arguments)
        logid = answer.logid
        try:
            said = wire.decode_envelope(body)
        except wire.UNDECODABLE:
            if answer.status == 200:
                raise ServiceError(NOT_UNDERSTOOD, cause="an answer that is no JSON object", logid=logid) from None
            said = wire.Envelope()
        if said.detail and said.detail.logid and not logid:
            logid = said.detail.logid
        if said.code or answer.status != 200:
            # Every server takes files.
            if asked is not Asked.FILE and _is_absent(answer.status, said):
                raise ServiceError(ABSENT, code=said.code, cause=f"{path} is absent", logid=logid)
            failure = coze_failure(asked, code=said.code or None, status=answer.status)
            if failure is TOKEN_REFUSED:
                self._token.refused()
            raise ServiceError(
                failure,
                code=said.code,
                cause=f"HTTP {answer.status}",
                logid=logid,
                retry_after=answer.retry_after,
            )
        return said, logid

    async def _make(self, method: str, path: str, **arguments: Any) -> HTTPRequest[Any]:
        return await self._requester.amake_request(method, self._settings.coze_api_base + path, **arguments)


def _is_absent(status: int, said: wire.Envelope) -> bool:
    """Whether Coze Studio says, in either of its ways, that it has no such endpoint."""
    if _STUDIO_NO_SESSION in str(said.msg):
        return True
    return status == 404 and said.code == 404
