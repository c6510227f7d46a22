"""Failures as the caller gets them: what an error keeps, and its three forms."""

import json
from typing import Any

import pytest

from service.errors import (
    BAD_REQUEST,
    BODY_TOO_LARGE,
    BUG,
    FULL,
    KEY_WRONG,
    NO_BOT,
    NO_MODEL,
    OTHER_USER,
    TOO_MANY_REQUESTS,
    UPLOAD_PATH,
    Failure,
    ServiceError,
    envelope,
    is_openai,
)

CHAT, COMPLETIONS = "/api/v1/chat", "/openai/v1/chat/completions"


def body(path: str, error: ServiceError) -> Any:
    return json.loads(envelope(path, error))


def facts(error: ServiceError) -> tuple[Any, ...]:
    return error.failure, error.status, error.message, error.retry_after, error.code, error.logid, error.cause


def test_an_error_says_what_its_failure_says_unless_told_otherwise() -> None:
    error = ServiceError(FULL)
    assert facts(error) == (FULL, 503, FULL.message, 5, None, None, None)
    assert str(error) == FULL.message
    error = ServiceError(FULL, "Later.", retry_after=9, code=4028, logid="log", cause="HTTP 502")
    assert facts(error) == (FULL, 503, "Later.", 9, 4028, "log", "HTTP 502")
    assert str(error) == "Later."


def test_a_retry_that_cannot_help_is_not_advised() -> None:
    assert ServiceError(BAD_REQUEST, retry_after=9).retry_after is None


def test_an_error_that_is_raised_again_says_the_same_and_holds_no_frames() -> None:
    with pytest.raises(ServiceError) as caught:
        raise ServiceError(FULL, "Later.", retry_after=9, code=4028, logid="log", cause="HTTP 502")
    anew = caught.value.again()
    assert facts(anew) == facts(caught.value)
    assert caught.value.__traceback__ is not None
    assert anew.__traceback__ is None


def test_the_envelope() -> None:
    assert body(CHAT, ServiceError(FULL)) == {
        "success": False,
        "message": FULL.message,
        "code": "service_full",
        "retry_after": 5,
        "data": None,
    }
    # Nothing about a retry where none helps.
    assert body(CHAT, ServiceError(BAD_REQUEST, "No.")) == {
        "success": False,
        "message": "No.",
        "code": "invalid_request",
        "data": None,
    }


def test_the_envelope_of_an_upload() -> None:
    assert body(UPLOAD_PATH, ServiceError(FULL)) == {
        "success": False,
        "message": FULL.message,
        "code": "service_full",
        "retry_after": 5,
        "file_id": None,
        "file_url": None,
    }


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (BAD_REQUEST, "invalid_request_error"),
        (BODY_TOO_LARGE, "invalid_request_error"),
        (KEY_WRONG, "authentication_error"),
        (OTHER_USER, "permission_error"),
        (TOO_MANY_REQUESTS, "rate_limit_error"),
        (BUG, "server_error"),
        (FULL, "server_error"),
    ],
)
def test_openais_form(failure: Failure, kind: str) -> None:
    assert body(COMPLETIONS, ServiceError(failure)) == {
        "error": {"message": failure.message, "type": kind, "param": None, "code": failure.code}
    }


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ("Expected `str`, got `int` - at `$.model`", "model"),
        ("Expected `str`, got `int` - at `$.messages[0].content`", "messages[0].content"),
        ("Expected `object`, got `array`", None),
        ("JSON is malformed: at `$.model`", None),
    ],
)
def test_openais_form_names_the_field_at_fault(message: str, field: str | None) -> None:
    error = body(COMPLETIONS, ServiceError(BAD_REQUEST, message))["error"]
    assert (error["message"], error["param"]) == (message, field)


def test_to_openais_clients_a_bot_is_a_model() -> None:
    assert body(COMPLETIONS, ServiceError(NO_BOT)) == {
        "error": {
            "message": NO_MODEL.message,
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        }
    }


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        *((path, True) for path in ("/openai", "/openai/", "/openai/v1/models", "/openai/nowhere")),
        *((path, False) for path in ("/", "/openai-docs", "/api/v1/chat", "/api/openai/", "/OpenAI/v1")),
    ],
)
def test_where_openais_form_is_spoken(path: str, expected: bool) -> None:
    assert is_openai(path) is expected
