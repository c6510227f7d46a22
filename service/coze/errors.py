"""Failures by Coze: its codes and HTTP statuses as a status, a code and a message for the caller.

The status depends on whose fault it is: 4xx for what the client named, 500 for the operator's set-up, 503 for what
passes by itself. Sources: Coze's error code page, and the source of Coze Studio.
"""

from enum import Enum

from service.errors import BODY_TOO_LARGE, FILE_TOO_LARGE, NO_BOT, Failure

_SAID = "error"


def _said(status: int, code: str, message: str, retry_after: int | None = None) -> Failure:
    """Makes a failure that Coze itself reports, by a code or a status."""
    return Failure(status, code, message, retry_after, coze=_SAID)


# Observed by the service: no connection, no answer in time, an answer that is malformed.
UNREACHABLE = Failure(
    503, "coze_unreachable", "Coze could not be reached. Try again in a moment.", 5, coze="unreachable"
)
UNTRUSTED = Failure(
    503,
    "certificate_untrusted",
    "A certificate on the way to Coze is not trusted. The operator has to check it and SSL_CERT_FILE.",
    60,
    coze="unreachable",
)
TIMED_OUT = Failure(503, "coze_timeout", "Coze took too long to answer. Try again in a moment.", 5, coze="timed_out")
PROXY_AWAY = Failure(
    503,
    "proxy_unreachable",
    "The proxy on the way to Coze could not be reached. Try again in a moment.",
    5,
    coze="proxy",
)
PROXY_FAILED = Failure(
    503, "proxy_failed", "The proxy on the way to Coze did not reach it. Try again in a moment.", 5, coze="proxy"
)
PROXY_REFUSES = Failure(
    500,
    "proxy_refused",
    "The proxy on the way to Coze refuses the service. The operator has to check its address, user and password.",
    coze="proxy",
)
NOT_UNDERSTOOD = Failure(
    503,
    "coze_not_understood",
    "Coze gave an answer that could not be understood. Try again in a moment.",
    5,
    coze="not_understood",
)
BROKE_OFF = Failure(
    503, "coze_broke_off", "Coze broke off before the answer was complete. Try again in a moment.", 5, coze="broke_off"
)
CANCELED = Failure(503, "chat_cancelled", "The chat was cancelled before the answer was complete.", 1, coze="canceled")
NEEDS_TOOL = Failure(
    500,
    "bot_needs_tool",
    "The bot asks its caller to run a tool, which this service does not do. Its maker has to change it.",
    coze="needs_tool",
)
ABSENT = Failure(
    503,
    "coze_lacks_endpoint",
    "This Coze server has no such endpoint, as is usual on a self-hosted Coze Studio.",
    coze="absent",
)

# Reported by Coze.
_INVALID = _said(400, "coze_rejected", "Coze rejected the request as invalid.")
_REFUSED_CONTENT = _said(400, "content_refused", "Coze refused the content.")
_FILE_MISNAMED = _said(
    400, "file_misnamed", "Coze refused the file: its content and its name do not agree, or one is not valid."
)
_FILE_REFUSED = _said(
    400, "file_type_refused", "Coze does not support this type of file, or its content does not fit its name."
)
_NO_FILE = _said(400, "file_missing", "Coze found no file, or more than one, in the upload.")
_COZE_HAS_NO_BOT = NO_BOT._replace(coze=_SAID)
NO_CONVERSATION = _said(404, "conversation_not_found", "The conversation does not exist or belongs to another account.")
_BUSY = _said(
    429,
    "conversation_busy",
    "The bot is still answering in this conversation. Wait for it to finish, or stop it first.",
    3,
)
_CHAT_OVER = _said(400, "chat_over", "The chat is over already.")
NOT_THERE = _said(404, "resource_not_found", "What the request names does not exist or belongs to another account.")
TOKEN_REFUSED = _said(
    500,
    "coze_token_refused",
    "Coze does not accept the service's token. The operator has to check its source and COZE_API_BASE.",
)
_NO_TOKEN = _said(
    500,
    "coze_token_unavailable",
    "Coze gives the service no token. The operator has to check the COZE_JWT_OAUTH_ settings and COZE_API_BASE.",
)
_RIGHTS = _said(
    500,
    "coze_permission_missing",
    "The service's token lacks a permission at Coze, or is wrong. The operator has to check it.",
)
_OUR_BOT = _said(
    500, "default_bot_unusable", "The service's default bot cannot be used. The operator has to check COZE_BOT_ID."
)
_MODEL_GONE = _said(
    500, "model_unavailable", "The bot's model is not available any more. Its maker has to choose another."
)
_MOVED = _said(500, "coze_moved", "Coze sends its callers to another address. The operator has to check COZE_API_BASE.")
_UNKNOWN_PATH = _said(
    500, "coze_path_unknown", "Coze does not know what it is asked for. The operator has to check COZE_API_BASE."
)
_SETUP = _said(
    500, "misconfigured", "Something is set up wrong at Coze or in the service. The operator has to look at it."
)
_DOWN = _said(503, "coze_unavailable", "Coze is not available just now. Try again in a moment.", 5)
_QUOTA = _said(503, "coze_quota_exceeded", "The Coze account behind the service has used up its quota.", 3600)
_SLOW_DOWN = _said(
    429, "coze_rate_limited", "Coze is getting too many requests from this service. Try again in a minute.", 60
)


_TOO_LARGE = FILE_TOO_LARGE._replace(coze=_SAID)
_BODY_TOO_LARGE = BODY_TOO_LARGE._replace(coze=_SAID)


class Asked(Enum):
    """The part of a call to Coze that the client itself named: only that can be the client's fault."""

    BOT = "a bot"
    DEFAULT_BOT = "no bot, so that ours was asked"
    FILE = "a file"
    CONVERSATION = "a conversation"
    PROFILE = "what a bot is"
    NOTHING = "nothing"


# fmt: off
_COZE: dict[int, Failure] = {
    4000: _INVALID,
    4001: _said(404, "chat_not_found", "The chat does not exist or belongs to another account."),
    4002: NO_CONVERSATION,
    4003: _INVALID,
    4004: _said(400, "too_many_messages", "Coze takes at most 100 messages in one chat."),
    4005: _said(400, "message_invalid", "Coze found a message that does not exist or is not valid."),
    4006: _COZE_HAS_NO_BOT,
    4007: _SETUP,
    4008: _said(429, "user_limit_reached", "The bot has answered this user as often as it may today.", 3600),
    4009: _said(503, "coze_busy", "Coze has too many users just now. Try again in a moment.", 30),
    4010: _said(400, "conversation_too_long", "The conversation is too long for the bot's model."),
    4011: _QUOTA,
    4012: _MODEL_GONE,
    4013: _DOWN,
    4014: _said(400, "question_not_answerable", "The bot cannot answer this question."),
    4015: _said(400, "bot_not_published", "The bot is not published for use through the API."),
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
    4102: _said(503, "risk_control_refused", "Coze's risk control refused the request.", 60),
    4104: _CHAT_OVER,
    4105: _REFUSED_CONTENT,
    4200: NOT_THERE,
    4201: _INVALID,
    4300: _NO_FILE,
    4301: _NO_FILE,
    4302: _TOO_LARGE,
    4303: _FILE_REFUSED,
    4304: _FILE_REFUSED,
    4314: NOT_THERE,
    4315: _INVALID,
    5000: _DOWN,
    700012006: TOKEN_REFUSED,
    # Coze Studio's own.
    100000000: _COZE_HAS_NO_BOT,  # to who asks for a bot: not published, or not there
    103000000: _INVALID,
    103000001: _RIGHTS,
    103000002: NO_CONVERSATION,
    103100001: _DOWN,
    103100002: _COZE_HAS_NO_BOT,
    103200001: NOT_THERE,
    103200003: NOT_THERE,
    103200004: _SETUP,
    103200005: _CHAT_OVER,
    104000003: _FILE_REFUSED,
    104000004: _TOO_LARGE,
    104000005: _NO_FILE,
    104000006: _NO_FILE,
    104000007: _NO_FILE,
    104000008: _DOWN,
    110000001: _COZE_HAS_NO_BOT,  # permission denied
}

# The same codes for the default bot, which the operator configured.
_OURS: dict[int, Failure] = dict.fromkeys((4006, 4015, 4200, 100000000, 103100002, 110000001), _OUR_BOT)

# HTTP statuses without a known code in the body: a gateway's, or those of a wrong base URL.
_NOT_THEIRS: dict[int, Failure] = {4005: NOT_THERE, 103000001: NO_CONVERSATION}
_HTTP: dict[int, Failure] = {
    400: _INVALID,
    401: TOKEN_REFUSED,
    402: _QUOTA,
    403: _RIGHTS,
    404: _UNKNOWN_PATH,
    407: PROXY_REFUSES,
    408: _DOWN,
    413: _BODY_TOO_LARGE,
    422: _INVALID,
    425: _DOWN,
    429: _SLOW_DOWN,
}
_HTTP_FILE: dict[int, Failure] = {413: _TOO_LARGE, 415: _FILE_REFUSED}
# Other statuses by their first digit. A retry does not help after a redirect or a 4xx.
_CLASSES: dict[int, Failure] = {3: _MOVED, 4: _UNKNOWN_PATH}

# Errors of the token endpoint.
_OAUTH: dict[str, Failure] = {
    "access_deny": _NO_TOKEN,
    "internal_error": _DOWN,
    "invalid_client": _NO_TOKEN,
    "invalid_request": _NO_TOKEN,
    "unsupported_grant_type": _NO_TOKEN,
}
# fmt: on


def coze_failure(asked: Asked, *, code: int | None = None, status: int = 200) -> Failure:
    """Returns the failure for Coze's `code`, else for its HTTP `status`, given what the client `asked` for."""
    failure = _COZE.get(code) if code is not None else None
    if failure is None:
        statuses = _HTTP | _HTTP_FILE if asked is Asked.FILE else _HTTP
        failure = statuses.get(status) or _CLASSES.get(status // 100, _DOWN)
    elif asked in (Asked.DEFAULT_BOT, Asked.NOTHING) and code in _OURS:
        failure = _OURS[code]
    about_bot = asked is Asked.PROFILE and code in _OURS
    if asked in (Asked.NOTHING, Asked.PROFILE) and failure.status in (400, 404, 413) and not about_bot:
        return _SETUP
    if asked is Asked.CONVERSATION and code in _NOT_THEIRS:
        return _NOT_THEIRS[code]
    if asked is Asked.FILE and failure.status == 404:
        return _SETUP
    if asked is Asked.FILE and failure is _INVALID:
        return _FILE_MISNAMED
    return failure


def oauth_failure(error: str, *, code: int | None, status: int) -> Failure:
    """Returns the failure for the token endpoint's `error`, else for Coze's `code`, else for the HTTP `status`."""
    failure = _OAUTH.get(error) or coze_failure(Asked.NOTHING, code=code, status=status)
    return _NO_TOKEN if failure.status == 500 and failure is not PROXY_REFUSES else failure


def coze_error(failure: Failure, code: int | None) -> tuple[str, str] | None:
    """Returns the metric labels of an error: its kind, and Coze's code if it is a known one. None without Coze."""
    kind = failure.coze or (_SAID if code else None)
    if kind is None:
        return None
    return kind, "none" if not code else str(code) if code in _COZE else "other"
