"""Failures as HTTP answers: the envelope, with the status and headers that belong to it."""

from typing import Any

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.response.base import ASGIResponse
from litestar.types import ExceptionHandlersMap, Scope

from service.errors import (
    BAD_REQUEST,
    BUG,
    KEY_WRONG,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    USER_TOKEN_WRONG,
    ClientLeft,
    ServiceError,
    envelope,
    is_openai,
)
from service.observe.record import RequestRecord, record_of

log = structlog.get_logger()

# The framework's own client errors; all others of it are bad requests.
_FRAMEWORK = {404: NOT_FOUND, 405: METHOD_NOT_ALLOWED}
# nginx's status for a client that disconnected. Only the log sees it.
_CLIENT_LEFT = 499
# RFC 6750, section 3.
_CHALLENGE = 'Bearer realm="coze-service"'
_INVALID = (KEY_WRONG, USER_TOKEN_WRONG)
# OpenAI's clients send these again by themselves, unless they are told not to.
_SENT_AGAIN = (429, 500, 503)
# The longest that they wait. Told to wait longer, they try again at once.
_PATIENCE_SECONDS = 60


def error_answer(scope: Scope, error: ServiceError, headers: dict[str, str] | None = None) -> ASGIResponse:
    """Makes the answer to a request that failed with `error`, and records the error."""
    record = record_of(scope)
    record.fail(error)
    headers = dict(headers or {})
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if error.status == 401:
        headers["WWW-Authenticate"] = (
            f'{_CHALLENGE}, error="invalid_token"' if error.failure in _INVALID else _CHALLENGE
        )
    if is_openai(scope["path"]) and error.status in _SENT_AGAIN and not _may_be_sent_again(record, error):
        headers["X-Should-Retry"] = "false"
    return ASGIResponse(
        body=envelope(scope["path"], error),
        status_code=error.status,
        media_type="application/json",
        headers=headers,
    )


def _may_be_sent_again(record: RequestRecord, error: ServiceError) -> bool:
    """Whether a client may send the request again by itself: not a question that Coze may have taken."""
    refused = error.status == 429 and record.chat_id is None
    soon = error.retry_after is not None and error.retry_after <= _PATIENCE_SECONDS
    return soon and (refused or not record.taken)


class _ErrorResponse(Response[None]):
    """Adapter: Litestar wants a Response of an exception handler."""

    def __init__(self, answer: ASGIResponse) -> None:
        super().__init__(None)
        self._answer = answer

    def to_asgi_response(self, *_: object, **__: object) -> ASGIResponse:
        return self._answer


def _service_error(request: Request[Any, Any, Any], error: ServiceError) -> Response[None]:
    return _ErrorResponse(error_answer(request.scope, error))


def _framework_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[None]:
    if error.status_code >= 500:
        return _bug(request, error)
    failure = _FRAMEWORK.get(error.status_code)
    found = ServiceError(failure) if failure else ServiceError(BAD_REQUEST, error.detail)
    return _ErrorResponse(error_answer(request.scope, found, error.headers))


def _client_left(_: Request[Any, Any, Any], __: ClientLeft) -> Response[None]:
    return _ErrorResponse(ASGIResponse(status_code=_CLIENT_LEFT, media_type="application/json"))


def _bug(request: Request[Any, Any, Any], error: Exception) -> Response[None]:
    log.error("bug", exc_info=error)
    return _ErrorResponse(error_answer(request.scope, ServiceError(BUG, cause=type(error).__name__)))


EXCEPTION_HANDLERS: ExceptionHandlersMap = {
    ServiceError: _service_error,
    HTTPException: _framework_error,
    ClientLeft: _client_left,
    Exception: _bug,
}
