"""Every failure a caller can meet: one error type, and one table from failure to status, code and message.

    ServiceError ── carries ──> Failure (status, code, message, seconds to wait)
        raised by   the controllers (a bad request), the Coze side (whatever Coze does), the limiter
        rendered by service.errors.envelope, or inside a stream that has begun as an `error` event

Sources: the API document's status list; for Coze's codes its error code page and the source of Coze Studio.
"""

from enum import Enum
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from generated.models import ErrorResponse, UploadErrorResponse

UPLOAD_PATH = "/api/v1/upload"


class Failure(NamedTuple):
    """What a caller is told: the HTTP status, a code for programs, a message for people, and in how many seconds a new
    try makes sense.

    The codes are those of the contract's ErrorCode, one for each row below. The generated models have no name for that
    type: it stands in each of them.
    """

    status: int
    code: Any
    message: str
    retry_after: int | None = None


class ServiceError(Exception):
    """The one exception that carries a failure to the caller.

    `message` replaces the failure's own. `code`, `logid` and `cause` are for the log alone: Coze's code, Coze's id of
    the exchange, and what happened in a few words without any text of Coze or of a user.
    """

    def __init__(
        self,
        failure: Failure,
        message: str | None = None,
        *,
        retry_after: int | None = None,
        code: int | None = None,
        logid: str | None = None,
        cause: str | None = None,
    ) -> None:
        self.failure = failure
        self.status = failure.status
        self.message = message or failure.message
        # Where no new try helps, Coze's word that it would is not passed on.
        self.retry_after = (retry_after or failure.retry_after) if failure.retry_after else None
        self.code = code
        self.logid = logid
        self.cause = cause
        super().__init__(self.message)


class ClientLeft(Exception):
    """The client closed its connection: there is nobody to answer."""


# The service's own.
BAD_REQUEST = Failure(400, "invalid_request", "The request is not valid.")
FOREIGN_WEBSITE = Failure(400, "website_not_allowed", "This website may not call from a browser.")
FOREIGN_METHOD = Failure(400, "website_method_not_allowed", "This method may not be called from a browser.")
KEY_MISSING = Failure(401, "api_key_missing", "This service asks for an API key in the Authorization header.")
KEY_WRONG = Failure(401, "api_key_invalid", "The API key is not valid.")
NOT_FOUND = Failure(404, "not_found", "There is nothing at this address.")
METHOD_NOT_ALLOWED = Failure(405, "method_not_allowed", "This address does not take this method.")
BODY_TOO_LARGE = Failure(413, "body_too_large", "Request body too large.")
FILE_TOO_LARGE = Failure(413, "file_too_large", "File too large. Maximum size is 10MB")
TOO_MANY_REQUESTS = Failure(429, "rate_limited", "Too many requests.", 1)
BUG = Failure(500, "internal_error", "Internal server error")
FULL = Failure(503, "service_full", "The service is answering as many chats as it can. Try again in a moment.", 5)
TAKING_IN = Failure(503, "service_busy", "The service is taking in as much as it can. Try again in a moment.", 5)
STOPPING = Failure(503, "service_stopping", "The service is stopping. Try again in a moment.", 5)
RANGE_NOT_THERE = Failure(416, "range_not_satisfiable", "The file has no such range of bytes.")
NO_FILES = Failure(503, "files_unavailable", "The file cannot be read just now. Try again in a moment.", 5)
NO_SPACE = Failure(503, "storage_unavailable", "The service cannot store the file just now. Try again in a moment.", 30)

# Coze as seen from outside: the connection, the time, the form of its answer.
UNREACHABLE = Failure(503, "coze_unreachable", "Coze could not be reached. Try again in a moment.", 5)
UNTRUSTED = Failure(
    503,
    "certificate_untrusted",
    "A certificate on the way to Coze is not trusted. The operator has to check it and SSL_CERT_FILE.",
    60,
)
TIMED_OUT = Failure(503, "coze_timeout", "Coze took too long to answer. Try again in a moment.", 5)
PROXY_AWAY = Failure(
    503, "proxy_unreachable", "The proxy on the way to Coze could not be reached. Try again in a moment.", 5
)
PROXY_FAILED = Failure(503, "proxy_failed", "The proxy on the way to Coze did not reach it. Try again in a moment.", 5)
PROXY_REFUSES = Failure(
    500,
    "proxy_refused",
    "The proxy on the way to Coze refuses the service. The operator has to check its address, user and password.",
)
NOT_UNDERSTOOD = Failure(
    503, "coze_not_understood", "Coze gave an answer that could not be understood. Try again in a moment.", 5
)
BROKE_OFF = Failure(503, "coze_broke_off", "Coze broke off before the answer was complete. Try again in a moment.", 5)
CANCELED = Failure(503, "chat_cancelled", "The chat was cancelled before the answer was complete.", 1)
NEEDS_TOOL = Failure(
    500,
    "bot_needs_tool",
    "The bot asks its caller to run a tool, which this service does not do. Its maker has to change it.",
)
ABSENT = Failure(
    503, "coze_lacks_endpoint", "This Coze server has no such endpoint, as is usual on a self-hosted Coze Studio."
)

# Coze by its own words. Whose fault it is decides the status.
_INVALID = Failure(400, "coze_rejected", "Coze rejected the request as invalid.")
_REFUSED_CONTENT = Failure(400, "content_refused", "Coze refused the content.")
_FILE_MISNAMED = Failure(
    400, "file_misnamed", "Coze refused the file: its content and its name do not agree, or one is not valid."
)
_FILE_REFUSED = Failure(
    400, "file_type_refused", "Coze does not support this type of file, or its content does not fit its name."
)
_NO_FILE = Failure(400, "file_missing", "Coze found no file, or more than one, in the upload.")
_NO_BOT = Failure(404, "bot_not_found", "The bot does not exist or belongs to another account.")
_NO_CONVERSATION = Failure(
    404, "conversation_not_found", "The conversation does not exist or belongs to another account."
)
_BUSY = Failure(
    429,
    "conversation_busy",
    "The bot is still answering in this conversation. Wait for it to finish, or stop it first.",
    3,
)
_CHAT_OVER = Failure(400, "chat_over", "The chat is over already.")
_NOT_THERE = Failure(404, "resource_not_found", "What the request names does not exist or belongs to another account.")
TOKEN_REFUSED = Failure(
    500,
    "coze_token_refused",
    "Coze does not accept the service's token. The operator has to check its source and COZE_API_BASE.",
)
_NO_TOKEN = Failure(
    500,
    "coze_token_unavailable",
    "Coze gives the service no token. The operator has to check the COZE_JWT_OAUTH_ settings and COZE_API_BASE.",
)
_RIGHTS = Failure(
    500,
    "coze_permission_missing",
    "The service's token lacks a permission at Coze, or is wrong. The operator has to check it.",
)
_OUR_BOT = Failure(
    500, "default_bot_unusable", "The service's default bot cannot be used. The operator has to check COZE_BOT_ID."
)
_MODEL_GONE = Failure(
    500, "model_unavailable", "The bot's model is not available any more. Its maker has to choose another."
)
_MOVED = Failure(
    500, "coze_moved", "Coze sends its callers to another address. The operator has to check COZE_API_BASE."
)
_UNKNOWN_PATH = Failure(
    500, "coze_path_unknown", "Coze does not know what it is asked for. The operator has to check COZE_API_BASE."
)
_SETUP = Failure(
    500, "misconfigured", "Something is set up wrong at Coze or in the service. The operator has to look at it."
)
_DOWN = Failure(503, "coze_unavailable", "Coze is not available just now. Try again in a moment.", 5)
_QUOTA = Failure(503, "coze_quota_exceeded", "The Coze account behind the service has used up its quota.", 3600)
_SLOW_DOWN = Failure(
    429, "coze_rate_limited", "Coze is getting too many requests from this service. Try again in a minute.", 60
)


class Asked(Enum):
    """What the client itself named in the call to Coze: only that can be the client's fault."""

    BOT = "a bot"
    DEFAULT_BOT = "no bot, so that ours was asked"
    FILE = "a file"
    NOTHING = "nothing"


# fmt: off
_COZE: dict[int, Failure] = {
    4000: _INVALID,
    4001: Failure(404, "chat_not_found", "The chat does not exist or belongs to another account."),
    4002: _NO_CONVERSATION,
    4003: _INVALID,
    4004: Failure(400, "too_many_messages", "Coze takes at most 100 messages in one chat."),
    4005: Failure(400, "message_invalid", "Coze found a message that does not exist or is not valid."),
    4006: _NO_BOT,
    4007: _SETUP,
    4008: Failure(429, "user_limit_reached", "The bot has answered this user as often as it may today.", 3600),
    4009: Failure(503, "coze_busy", "Coze has too many users just now. Try again in a moment.", 30),
    4010: Failure(400, "conversation_too_long", "The conversation is too long for the bot's model."),
    4011: _QUOTA,
    4012: _MODEL_GONE,
    4013: _DOWN,
    4014: Failure(400, "question_not_answerable", "The bot cannot answer this question."),
    4015: Failure(400, "bot_not_published", "The bot is not published for use through the API."),
    4016: _BUSY,
    4019: _QUOTA,
    4020: _SLOW_DOWN,
    4021: _SETUP,
    4022: _QUOTA,
    4027: _QUOTA,
    4028: _QUOTA,
    4029: _DOWN,
    4100: TOKEN_REFUSED,
    4101: _RIGHTS,
    4102: Failure(503, "risk_control_refused", "Coze's risk control refused the request.", 60),
    4104: _CHAT_OVER,
    4105: _REFUSED_CONTENT,
    4200: _NOT_THERE,
    4201: _INVALID,
    4300: _NO_FILE,
    4301: _NO_FILE,
    4302: FILE_TOO_LARGE,
    4303: _FILE_REFUSED,
    4304: _FILE_REFUSED,
    4314: _NOT_THERE,
    4315: _INVALID,
    5000: _DOWN,
    700012006: TOKEN_REFUSED,
    # Coze Studio's own.
    103000000: _INVALID,
    103000001: _RIGHTS,
    103000002: _NO_CONVERSATION,
    103100001: _DOWN,
    103100002: _NO_BOT,
    103200001: _NOT_THERE,
    103200003: _NOT_THERE,
    103200004: _SETUP,
    103200005: _CHAT_OVER,
    104000003: _FILE_REFUSED,
    104000004: FILE_TOO_LARGE,
    104000005: _NO_FILE,
    104000006: _NO_FILE,
    104000007: _NO_FILE,
    104000008: _DOWN,
}

# The same codes where the bot is the one the operator configured.
_OURS: dict[int, Failure] = {4006: _OUR_BOT, 4015: _OUR_BOT, 4200: _OUR_BOT, 103100002: _OUR_BOT}

# An HTTP status of Coze's whose body names no code known here: a gateway speaking, or a wrong base URL.
_HTTP: dict[int, Failure] = {
    400: _INVALID,
    401: TOKEN_REFUSED,
    402: _QUOTA,
    403: _RIGHTS,
    404: _UNKNOWN_PATH,
    407: PROXY_REFUSES,
    408: _DOWN,
    413: FILE_TOO_LARGE,
    415: _FILE_REFUSED,
    422: _INVALID,
    425: _DOWN,
    429: _SLOW_DOWN,
}
# And the others by their first digit: to ask the same again does not help where Coze redirects or finds it wrong.
_CLASSES: dict[int, Failure] = {3: _MOVED, 4: _UNKNOWN_PATH}

# The words of the token endpoint.
_OAUTH: dict[str, Failure] = {
    "access_deny": _NO_TOKEN,
    "internal_error": _DOWN,
    "invalid_client": _NO_TOKEN,
    "invalid_request": _NO_TOKEN,
    "unsupported_grant_type": _NO_TOKEN,
}
# fmt: on


def coze_failure(asked: Asked, *, code: int | None = None, status: int = 200) -> Failure:
    """What Coze's `code`, else its HTTP `status`, means for the caller who `asked`."""
    failure = _COZE.get(code) if code is not None else None
    if failure is None:
        failure = _HTTP.get(status) or _CLASSES.get(status // 100, _DOWN)
    elif asked is not Asked.BOT and code in _OURS and asked is not Asked.FILE:
        failure = _OURS[code]
    if asked is Asked.NOTHING and failure.status in (400, 404, 413):
        return _SETUP
    if asked is Asked.FILE and failure.status == 404:
        return _SETUP
    if asked is Asked.FILE and failure is _INVALID:
        return _FILE_MISNAMED
    return failure


def oauth_failure(error: str, *, code: int | None, status: int) -> Failure:
    """Why there is no token, by the token endpoint's `error`, else Coze's `code`, else the HTTP `status`."""
    failure = _OAUTH.get(error) or coze_failure(Asked.NOTHING, code=code, status=status)
    return _NO_TOKEN if failure.status == 500 and failure is not PROXY_REFUSES else failure


# What Coze did where its words do not say it, for the metrics. Whatever its code or status leads to is an "error".
_KINDS = {
    UNREACHABLE: "unreachable",
    UNTRUSTED: "unreachable",
    PROXY_AWAY: "proxy",
    PROXY_FAILED: "proxy",
    PROXY_REFUSES: "proxy",
    TIMED_OUT: "timed_out",
    NOT_UNDERSTOOD: "not_understood",
    BROKE_OFF: "broke_off",
    CANCELED: "canceled",
    NEEDS_TOOL: "needs_tool",
    ABSENT: "absent",
}
_SAID_BY_COZE = {*_COZE.values(), *_OURS.values(), *_HTTP.values(), *_CLASSES.values(), _FILE_MISNAMED} - {
    FILE_TOO_LARGE
}


def coze_error(failure: Failure, code: int | None) -> tuple[str, str] | None:
    """What kind of error of Coze's a failure is, and its code as text: few of both. None if Coze has no part in it."""
    kind = _KINDS.get(failure) or ("error" if code or failure in _SAID_BY_COZE else None)
    if kind is None:
        return None
    return kind, "none" if not code else str(code) if code in _COZE else "other"


def envelope(path: str, error: ServiceError) -> bytes:
    """The body of an error answer on `path`."""
    code, message, retry_after = error.failure.code, error.message, error.retry_after or UNSET
    answer: ErrorResponse | UploadErrorResponse
    if path == UPLOAD_PATH:
        answer = UploadErrorResponse(
            success=False, message=message, code=code, retry_after=retry_after, file_id=None, file_url=None
        )
    else:
        answer = ErrorResponse(success=False, message=message, code=code, retry_after=retry_after, data=None)
    return msgspec.json.encode(answer)
