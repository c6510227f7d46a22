"""What Coze sends, read leniently: only what is no JSON object at all is not understood."""

from typing import Any

import msgspec
import pytest

from service.coze import wire


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'{"user_id":"7","nick_name":"n","avatar_url":"a"}', ("7", "n", "a")),
        (b'{"user_id":7,"nick_name":"\xff","avatar_url":null}', (7, "\ufffd", None)),
        (b'{"user_id":"7","nick_name":"x\\ud83d","more":"\\ud83d"}', ("7", "x\ufffd", None)),
        (b'{"user_id":"7","nick_name":"\\ud83d\\ude00","avatar_url":{"odd":1}}', ("7", "😀", None)),
        (b'{"user_id":{},"nick_name":5,"avatar_url":"a"}', (None, None, "a")),
        (b'{"user_id":"7","nick_name":"a\tb","more":[NaN,-Infinity,1e999]}', ("7", "a\tb", None)),
    ],
)
def test_an_odd_field_spoils_no_other(data: bytes, expected: tuple[Any, ...]) -> None:
    user = wire.decode_user(data)
    assert (user.user_id, user.nick_name, user.avatar_url) == expected


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b'"text"', b'{"id":', b"{} trailing", b"[" * 100_000, b"\xff"])
def test_what_is_no_object_is_not_understood(data: bytes) -> None:
    for decode in (wire.decode_answer, wire.decode_chat, wire.decode_file, wire.decode_user, wire.decode_workspace):
        with pytest.raises(wire.UNDECODABLE):
            decode(data)


@pytest.mark.parametrize(
    ("code", "expected"),
    [("4016", 4016), ('"4016"', 4016), ("4016.0", 4016), ("-1", -1)]
    + [(odd, None) for odd in ("null", '""', '"x"', "{}", "[4016]", "true", "4016.5", "9223372036854775808", "1e99")],
)
def test_codes(code: str, expected: int | None) -> None:
    for decode in (wire.decode_answer, wire.decode_chat):
        assert decode(f'{{"code":{code},"msg":"m"}}'.encode()).code == expected
    failed = wire.decode_chat(f'{{"id":"1","last_error":{{"code":{code},"msg":{{}}}}}}'.encode())
    assert failed.id == "1"
    assert (failed.last_error and failed.last_error.code) == expected


def test_the_data_of_an_answer_is_whole_though_its_message_is_broken() -> None:
    answer = wire.decode_answer(b'{"code":0,"msg":"\xff\\ud83d","data":{"id":"1","url":"\\ud83d"},"detail":"odd"}')
    assert (answer.code, answer.detail) == (0, None)
    assert msgspec.json.decode(answer.data) == {"id": "1", "url": "\ufffd"}
    assert wire.decode_file(bytes(answer.data)).id == "1"
