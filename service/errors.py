"""Failures a caller can meet: the type of a failure, the error that carries it, and the service's own failures.

    ServiceError ── carries ──> Failure (status, code, message, seconds to wait)
        raised by   the controllers (a bad request), the Coze side (whatever Coze does), the limiter
        rendered by service.errors.envelope, or inside a stream that has begun as an `error` event

`service.coze.errors` has the rest of the table: what Coze does, and what its codes mean. Each failure has one row in
one of the two. Source: the API document's status list.
"""

import re
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from generated.models import ErrorResponse, OpenAIError, OpenAIErrorResponse, UploadErrorResponse

UPLOAD_PATH = "/api/v1/upload"


class Failure(NamedTuple):
    """A row of the failure table: HTTP status, code for programs, message for people, seconds until a retry helps.

    Each row has one code of the contract's ErrorCode, which the generated models inline and therefore do not name.
    `coze` is the kind of Coze's error for the metrics; None if Coze has no part in it.
    """

    status: int
    code: Any
    message: str
    retry_after: int | None = None
    coze: str | None = None


class ServiceError(Exception):
    """The one exception that carries a failure to the caller.

    `message` replaces the failure's own. `code` (Coze's), `logid` (Coze's id of the exchange) and `cause` (a few words,
    never text of Coze or of a user) are for the log alone.
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
        # Where a retry cannot help, Coze's Retry-After is not passed on.
        self.retry_after = (retry_after or failure.retry_after) if failure.retry_after else None
        self.code = code
        self.logid = logid
        self.cause = cause
        super().__init__(self.message)

    def again(self) -> "ServiceError":
        """Returns the same error to be raised anew: one that was raised holds the frames that it passed."""
        return ServiceError(
            self.failure,
            self.message,
            retry_after=self.retry_after,
            code=self.code,
            logid=self.logid,
            cause=self.cause,
        )


class ClientLeft(Exception):
    """The client closed its connection: there is nobody to answer."""


# The service's own.
BAD_REQUEST = Failure(400, "invalid_request", "The request is not valid.")
FOREIGN_WEBSITE = Failure(400, "website_not_allowed", "This website may not call from a browser.")
FOREIGN_METHOD = Failure(400, "website_method_not_allowed", "This method may not be called from a browser.")
KEY_MISSING = Failure(401, "api_key_missing", "This service asks for an API key in the Authorization header.")
KEY_WRONG = Failure(401, "api_key_invalid", "The API key is not valid.")
USER_TOKEN_MISSING = Failure(401, "user_token_missing", "This needs a token that proves who the user is.")
USER_TOKEN_WRONG = Failure(401, "user_token_invalid", "The user's token is not valid, or not any more.")
OTHER_USER = Failure(403, "user_mismatch", "The token proves another user than the request names.")
NOT_FOUND = Failure(404, "not_found", "There is nothing at this address.")
METHOD_NOT_ALLOWED = Failure(405, "method_not_allowed", "This address does not take this method.")
BODY_TOO_LARGE = Failure(413, "body_too_large", "Request body too large.")
NO_BOT = Failure(404, "bot_not_found", "The bot does not exist or belongs to another account.")
# NO_BOT in OpenAI's words.
NO_MODEL = Failure(404, "model_not_found", "No such model: it is the name or the id of a bot, or `default`.")
FILE_TOO_LARGE = Failure(413, "file_too_large", "File too large. Maximum size is 10MB")
TOO_MANY_REQUESTS = Failure(429, "rate_limited", "Too many requests.", 1)
BUG = Failure(500, "internal_error", "Internal server error")
FULL = Failure(503, "service_full", "The service is answering as many chats as it can. Try again in a moment.", 5)
TAKING_IN = Failure(503, "service_busy", "The service is taking in as much as it can. Try again in a moment.", 5)
STOPPING = Failure(503, "service_stopping", "The service is stopping. Try again in a moment.", 5)
RANGE_NOT_THERE = Failure(416, "range_not_satisfiable", "The file has no such range of bytes.")
NO_FILES = Failure(503, "files_unavailable", "The file cannot be read just now. Try again in a moment.", 5)
HISTORY_UNAVAILABLE = Failure(
    503,
    "history_unavailable",
    "The service cannot look up whose this is just now. Try again in a moment.",
    5,
)
HISTORY_OFF = Failure(503, "history_off", "This service keeps no history: its operator has set STORE=off.")
USER_KEYS_UNAVAILABLE = Failure(
    503, "user_keys_unavailable", "The keys of users' tokens cannot be fetched just now. Try again in a moment.", 5
)
ANSWER_GONE = Failure(404, "answer_not_found", "The answer does not exist, or is not kept any more.")
STOPPED = Failure(400, "answer_stopped", "The answer was stopped before it was complete.")
KEY_REUSED = Failure(400, "idempotency_key_reused", "The Idempotency-Key was sent with another request before.")
TOO_MANY_ANSWERS = Failure(429, "too_many_answers", "Too many answers of this user are still running.", 5)
ANSWERS_FULL = Failure(503, "answers_full", "The service keeps as many answers as it can. Try again in a moment.", 5)
ANSWERS_OFF = Failure(
    503,
    "answers_unavailable",
    "An answer cannot outlive its connection here: with several WORKERS that takes a STORE on Valkey or Redis.",
)
ANSWERS_AWAY = Failure(
    503, "answers_unreachable", "Answers that are kept cannot be reached just now. Try again in a moment.", 5
)
ANSWER_LOST = Failure(
    503, "answer_lost", "The rest of the answer was lost with the process that was reading it. Ask again.", 1
)
NO_SPACE = Failure(503, "storage_unavailable", "The service cannot store the file just now. Try again in a moment.", 30)


# By status; of other statuses those below 500 are the request's fault.
_OPENAI_TYPES: dict[int, Any] = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
# How msgspec says where in a request it found a fault.
_FIELD = re.compile(r" - at `\$\.([^`]+)`")


def is_openai(path: str) -> bool:
    """Whether what is on `path`, or would be, speaks OpenAI's form."""
    return f"{path}/".startswith("/openai/")


def openai_error(error: ServiceError) -> OpenAIErrorResponse:
    """Returns an error in OpenAI's form."""
    code, message = error.failure.code, error.message
    field = _FIELD.search(message)
    param = field[1] if field else None
    if code == NO_BOT.code:
        code, message, param = NO_MODEL.code, NO_MODEL.message, "model"
    kind = _OPENAI_TYPES.get(error.status, "server_error" if error.status >= 500 else "invalid_request_error")
    return OpenAIErrorResponse(error=OpenAIError(message=message, type=kind, param=param, code=code))


def envelope(path: str, error: ServiceError) -> bytes:
    """Returns the JSON body of an error answer on `path`."""
    code, message, retry_after = error.failure.code, error.message, error.retry_after or UNSET
    answer: ErrorResponse | UploadErrorResponse | OpenAIErrorResponse
    if is_openai(path):
        answer = openai_error(error)
    elif path == UPLOAD_PATH:
        answer = UploadErrorResponse(
            success=False, message=message, code=code, retry_after=retry_after, file_id=None, file_url=None
        )
    else:
        answer = ErrorResponse(success=False, message=message, code=code, retry_after=retry_after, data=None)
    return msgspec.json.encode(answer)
