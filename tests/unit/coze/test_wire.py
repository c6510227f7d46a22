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


@pytest.mark.parametrize(
    "url",
    ["http://h", "https://h/a?b=c#d", "HTTPS://h:1/%20", "https://user@h/", "https://[fd00::1]/", "https://h/图片.png"],
)
def test_an_address_of_the_web(url: str) -> None:
    assert wire.web_address(url) == url


@pytest.mark.parametrize(
    "url",
    [
        *(None, "", "javascript:alert(1)", "JavaScript://h/%0aalert(1)", "java\nscript:x", "vbscript:x", "//h/a", "/a"),
        *("data:text/html,<script>", "ftp://h", "file:///etc/passwd", "blob:https://h/1", "https:h", "https://"),
        *(" https://h", "https://h/\n", "https://h/a b", 'https://h/"onerror=', "https://h/<b>", "https://h\\@other"),
        *("https://h/\u202e", "https://h/\x00", "http\t://h"),
        pytest.param("https://h/" + "a" * 9000, id="long"),
    ],
)
def test_what_is_no_address_of_the_web(url: str | None) -> None:
    assert wire.web_address(url) is None


@pytest.mark.parametrize(
    ("created_at", "expected"),
    [
        (1764300000, 1764300000_000),
        ("1764300000", 1764300000_000),
        (1764300000_123, 1764300000_123),
        (10**11 - 1, (10**11 - 1) * 1000),
        (10**11, 10**11),
        (999999999999999, 999999999999999),
        *((odd, 0) for odd in (None, "", 0, "0", -1, "-1", "1.5", "soon", "１", 10**15, "1764300000 ")),
    ],
)
def test_times(created_at: str | int | None, expected: int) -> None:
    assert wire.milliseconds(created_at) == expected


@pytest.mark.parametrize(("value", "expected"), [("7", "7"), (7, "7"), (0, "0"), ("", None), (None, None)])
def test_ids(value: str | int | None, expected: str | None) -> None:
    assert wire.text_id(value) == expected


def test_a_broken_message_keeps_its_type_unless_it_may_be_an_answer() -> None:
    assert wire.decode_odd_message(b'{"id":5,"type":"verbose","content":7}') == wire.Message(
        5, type="verbose", content="7"
    )
    assert wire.decode_odd_message(b'{"type": "verbose", "content": "cut') == wire.Message(type="verbose")
    for data in (
        b'{"type":"answer","content":"cut',
        b'{"content":"cut',
        b'["answer"]',
        b'{"type":"answer","content":[]}',
    ):
        with pytest.raises(wire.UNDECODABLE):
            wire.decode_odd_message(data)


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b'"text"', b'{"id":', b"{} trailing", b"[" * 100_000, b"\xff"])
def test_what_is_no_object_is_not_understood(data: bytes) -> None:
    for decode in (wire.decode_envelope, wire.decode_chat, wire.decode_file, wire.decode_user, wire.decode_workspace):
        with pytest.raises(wire.UNDECODABLE):
            decode(data)


@pytest.mark.parametrize(
    ("code", "expected"),
    [("4016", 4016), ('"4016"', 4016), ("4016.0", 4016), ("-1", -1)]
    + [(odd, None) for odd in ("null", '""', '"x"', "{}", "[4016]", "true", "4016.5", "9223372036854775808", "1e99")],
)
def test_codes(code: str, expected: int | None) -> None:
    for decode in (wire.decode_envelope, wire.decode_chat):
        assert decode(f'{{"code":{code},"msg":"m"}}'.encode()).code == expected
    failed = wire.decode_chat(f'{{"id":"1","last_error":{{"code":{code},"msg":{{}}}}}}'.encode())
    assert failed.id == "1"
    assert (failed.last_error and failed.last_error.code) == expected


def test_the_data_of_an_answer_is_whole_though_its_message_is_broken() -> None:
    answer = wire.decode_envelope(b'{"code":0,"msg":"\xff\\ud83d","data":{"id":"1","url":"\\ud83d"},"detail":"odd"}')
    assert (answer.code, answer.detail) == (0, None)
    assert msgspec.json.decode(answer.data) == {"id": "1", "url": "\ufffd"}
    assert wire.decode_file(bytes(answer.data)).id == "1"
