"""Whose fault a failure of Coze's is, by what Coze says and what the client asked for."""

from typing import Any

import pytest

from service.coze.errors import ABSENT, BROKE_OFF, UNREACHABLE, Asked, coze_error, coze_failure, oauth_failure
from service.errors import BAD_REQUEST, FILE_TOO_LARGE, FULL

BOT, OURS, FILE, NOTHING = Asked.BOT, Asked.DEFAULT_BOT, Asked.FILE, Asked.NOTHING
CONVERSATION, PROFILE = Asked.CONVERSATION, Asked.PROFILE


@pytest.mark.parametrize(
    ("asked", "code", "status", "expected"),
    [
        (BOT, 4000, 200, (400, "coze_rejected")),
        (FILE, 4000, 200, (400, "file_misnamed")),
        (FILE, None, 422, (400, "file_misnamed")),
        (FILE, 4303, 200, (400, "file_type_refused")),
        (FILE, 4302, 200, (413, "file_too_large")),
        (FILE, 4028, 200, (503, "coze_quota_exceeded")),
        (BOT, 4015, 200, (400, "bot_not_published")),
        (BOT, 4200, 200, (404, "resource_not_found")),
        # The operator has chosen the bot, and nobody has named a bot in an upload.
        (OURS, 4015, 200, (500, "default_bot_unusable")),
        (OURS, 4200, 200, (500, "default_bot_unusable")),
        (OURS, 4000, 200, (400, "coze_rejected")),
        (NOTHING, 4006, 200, (500, "default_bot_unusable")),
        (FILE, 4006, 200, (500, "misconfigured")),
        (FILE, 4200, 200, (500, "misconfigured")),
        # Who has asked for nothing is to blame for nothing.
        (NOTHING, 4000, 200, (500, "misconfigured")),
        (NOTHING, 4002, 200, (500, "misconfigured")),
        (NOTHING, 4302, 200, (500, "misconfigured")),
        (NOTHING, 4020, 200, (429, "coze_rate_limited")),
        (NOTHING, 4100, 200, (500, "coze_token_refused")),
        # Who asks what a bot is may have named one that is not there, and nothing else.
        (PROFILE, 4006, 200, (404, "bot_not_found")),
        (PROFILE, 4015, 200, (400, "bot_not_published")),
        (PROFILE, 4000, 200, (500, "misconfigured")),
        # A code may mean something else to who has named a conversation.
        (CONVERSATION, 4005, 200, (404, "resource_not_found")),
        (BOT, 4005, 200, (400, "message_invalid")),
        (CONVERSATION, 103000001, 200, (404, "conversation_not_found")),
        (BOT, 103000001, 200, (500, "coze_permission_missing")),
        # The code says more than the status, unless it is unknown.
        (BOT, 4028, 400, (503, "coze_quota_exceeded")),
        (BOT, 4_999_999, 403, (500, "coze_permission_missing")),
        (BOT, 4_999_999, 200, (503, "coze_unavailable")),
        (BOT, None, 200, (503, "coze_unavailable")),
        (BOT, None, 307, (500, "coze_moved")),
        (BOT, None, 404, (500, "coze_path_unknown")),
        (BOT, None, 418, (500, "coze_path_unknown")),
        # A gateway before Coze refuses a file by its size or type, and of anything else its whole body.
        (FILE, None, 413, (413, "file_too_large")),
        (BOT, None, 413, (413, "body_too_large")),
        (CONVERSATION, None, 413, (413, "body_too_large")),
        (NOTHING, None, 413, (500, "misconfigured")),
        (FILE, None, 415, (400, "file_type_refused")),
        (BOT, None, 415, (500, "coze_path_unknown")),
        (BOT, None, 502, (503, "coze_unavailable")),
    ],
)
def test_whose_fault_it_is(asked: Asked, code: int | None, status: int, expected: tuple[int, str]) -> None:
    failure = coze_failure(asked, code=code, status=status)
    assert (failure.status, failure.code) == expected


def test_a_failure_of_coze_says_what_is_wrong_and_when_to_ask_again() -> None:
    quota = coze_failure(BOT, code=4028)
    assert quota.message == "The Coze account behind the service has used up its quota."
    assert quota.retry_after == 3600


@pytest.mark.parametrize(
    ("error", "code", "status", "expected"),
    [
        ("access_deny", None, 403, (500, "coze_token_unavailable")),
        ("invalid_client", None, 200, (500, "coze_token_unavailable")),
        ("internal_error", None, 200, (503, "coze_unavailable")),
        ("unheard_of", None, 400, (500, "coze_token_unavailable")),
        ("None", 4100, 401, (500, "coze_token_unavailable")),
        ("None", 4100, 502, (500, "coze_token_unavailable")),
        ("None", 4028, 200, (503, "coze_quota_exceeded")),
        ("None", None, 404, (500, "coze_token_unavailable")),
        ("None", None, 302, (500, "coze_token_unavailable")),
        ("None", None, 407, (500, "proxy_refused")),
        ("None", None, 502, (503, "coze_unavailable")),
    ],
)
def test_what_the_token_endpoint_says(error: str, code: int | None, status: int, expected: tuple[int, str]) -> None:
    failure = oauth_failure(error, code=code, status=status)
    assert (failure.status, failure.code) == expected


@pytest.mark.parametrize(
    ("failure", "code", "counted"),
    [
        (coze_failure(BOT, code=4028), 4028, ("error", "4028")),
        (coze_failure(BOT, code=4_999_999), 4_999_999, ("error", "other")),
        (coze_failure(NOTHING, status=401), 0, ("error", "none")),
        (UNREACHABLE, None, ("unreachable", "none")),
        (BROKE_OFF, None, ("broke_off", "none")),
        (ABSENT, 404, ("absent", "other")),
        (FILE_TOO_LARGE, 4302, ("error", "4302")),
        (FILE_TOO_LARGE, None, None),
        (BAD_REQUEST, None, None),
        (FULL, None, None),
    ],
)
def test_how_it_is_counted(failure: Any, code: int | None, counted: tuple[str, str] | None) -> None:
    """Under few labels, whatever codes Coze makes up."""
    assert coze_error(failure, code) == counted
