"""A file's name as clients write it in the form's headers, and those that are refused."""

import codecs
import contextlib
import re
from unicodedata import category
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import ServiceError
from service.files.names import file_name
from service.http.headers import parameters

REPORT = "报告.pdf"


def name_in(disposition: bytes | str) -> str | None:
    raw = disposition.encode() if isinstance(disposition, str) else disposition
    return file_name(parameters(raw))


def by_browser(name: str) -> bytes:
    return f'form-data; name="file"; filename="{name}"'.encode()


@pytest.mark.parametrize(
    "name",
    [
        *(
            "a.csv",
            "X",
            ".env",
            "猫 🐈.csv",
            "a;b=c.csv",
            "100%25.txt",
            "a'b.txt",
            "%E6%8A%A5.pdf",
            "name=x; filename=y.txt",
        ),
        "Screenshot 2026-01-30 at 10.32.07\u202fAM.png",
        "报告\u3000最终版.docx",
        "\u3000报告.docx",
        "家庭👨\u200d👩\u200d👧.png",
        "می\u200cخواهم.pdf",
        "हिन्दी\u200d फ़ाइल.pdf",
        "שלום\u200f.txt",
        "ไทย.txt",
        "cafe\u0301.txt",  # as macOS decomposes it
        "a\u00a0b\u00adc\ufeffd\u200be.txt",
        "\U0001fae9\U00032000\ue000.txt",  # some of it newer than Python's Unicode, or nobody's
        "🏴\U000e0067\U000e0062\U000e007f.png",
        "a" * 255,
        "猫" * 255,
    ],
)
def test_any_name_that_people_have(name: str) -> None:
    assert name_in(by_browser(name)) == name
    assert name_in(f"form-data; name=file; filename*=UTF-8''{quote(name, safe='')}") == name


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        (b'form-data; name="file"; filename="a%22b%22.csv"', 'a"b".csv'),
        (b'form-data; name="file"; filename="a\\"b\\\\\\".csv"', '".csv'),
        (b'form-data; name="file"; filename="a\\"b%22.csv"', 'a"b%22.csv'),
        (b"form-data;name=file;filename=a.csv", "a.csv"),
        (b"form-data; name=file; FileName = a b.csv ; x=y", "a b.csv"),
        (b"form-data;;\tname=file; ;filename=a.csv;", "a.csv"),
        (b'form-data; name="file"; filename="../../etc/passwd.csv"', "passwd.csv"),
        (b'form-data; name="file"; filename="C:\\temp\\new.csv"', "new.csv"),
        (b'form-data; name="file"; filename="\\\\server\\share\\a.csv"', "a.csv"),
        (b'form-data; name="file"; filename=" a.csv "', "a.csv"),
        # A console's encoding; the second byte of 誠 is a backslash.
        (by_browser(REPORT).decode().encode("gbk"), REPORT),
        (by_browser("誠.pdf").decode().encode("gbk"), "誠.pdf"),
        (by_browser("誠").decode().encode("gbk"), "誠"),
        (by_browser("é.pdf").decode().encode("latin-1"), "é.pdf"),
        (by_browser("1 – 2.pdf").decode().encode("cp1252"), "1 – 2.pdf"),
        # Encoded words.
        (b'form-data; name=file; filename="=?utf-8?B?5oql5ZGKLnBkZg==?="', REPORT),
        (b'form-data; name=file; filename="=?UTF-8?Q?=E6=8A=A5=E5=91=8A?= =?gbk?q?_1.pdf?="', "报告 1.pdf"),
        (b'form-data; name=file; filename="=?utf-8?B?5oql5ZE=?= =?utf-8?B?ii5wZGY=?="', REPORT),
        (b'form-data; name=file; filename="=?zzz?B?5oql?="', "=?zzz?B?5oql?="),
        (b'form-data; name=file; filename="a =?utf-8?B?5oql?="', "a =?utf-8?B?5oql?="),
        # The parameter with an encoding comes first, if it can be read.
        (b"form-data; name=file; filename=x.pdf; filename*=utf-8''%E6%8A%A5%E5%91%8A.pdf", REPORT),
        (b"form-data; name=file; filename*=utf-8''%E6%8A%A5%E5%91%8A.pdf; filename=x.pdf", REPORT),
        (b"form-data; name=file; filename*=\"UTF-8'zh-CN'%E6%8A%A5%E5%91%8A.pdf\"", REPORT),
        (b"form-data; name=file; filename*=GBK''%B1%A8%B8%E6.pdf", REPORT),
        (b"form-data; name=file; filename*=utf-8'en'it's.pdf", "it's.pdf"),
        (b"form-data; name=file; filename*=utf-8''a%5Cb%2Fc.pdf", "c.pdf"),
        (b"form-data; name=file; filename*=utf-8''%FF; filename=x.pdf", "x.pdf"),
        (b"form-data; name=file; filename*=zzz''x; filename=x.pdf", "x.pdf"),
        (b"form-data; name=file; filename*=x.pdf; filename=y.pdf", "y.pdf"),
        # None.
        (b'form-data; name="file"', None),
        (b'form-data; name="file"; filename=""', None),
        (b"form-data; name=\"file\"; filename*=utf-8''", None),
        (b'form-data; name="x; filename=\\"evil\\""', None),
        (b"form-data", None),
    ],
)
def test_every_way_to_write_it(disposition: bytes, name: str | None) -> None:
    assert name_in(disposition) == name


@pytest.mark.parametrize(
    "name",
    [
        *("a\0b", "a\tb", "a\x1bb", "a\x7fb", "a\x85b", "a\x9fb", "a\u2028b", "a\u2029b", "a%0Db", "a%0Ab", "a\r"),
        *(f"a{override}gnp.exe" for override in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"),
        *(".", "..", "...", " ", "\u3000", "\u202f.", "/", "a/", "a\\", "x/..", "a" * 256, "猫" * 256),
    ],
)
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(ServiceError) as refused:
        name_in(by_browser(name))
    assert refused.value.status == 400
    assert refused.value.message == (
        "The file needs a name of at most 255 characters, without controls, line separators and direction overrides."
    )


@given(st.text(st.characters(codec="utf-8", exclude_characters="%"), min_size=1, max_size=255))
def test_a_name_is_itself_without_its_folders_or_refused(name: str) -> None:
    own = re.split(r"[/\\]", name)[-1].strip(" ")
    bad = any(category(c) in ("Cc", "Cf", "Zl", "Zp") for c in own) or not own.strip().strip(".")
    for escaped in (name.replace('"', "%22"), name.replace("\\", "\\\\").replace('"', '\\"')):
        with contextlib.suppress(ServiceError) if bad else contextlib.nullcontext():
            assert name_in(by_browser(escaped)) == own


@given(st.binary(max_size=200))
def test_no_header_is_a_bug(raw: bytes) -> None:
    for before, after in (
        (b"", b""),
        (b"form-data; filename=", b""),
        (b'x; filename="', b'"'),
        (b"x; filename*=", b""),
    ):
        with contextlib.suppress(ServiceError):
            name_in(before + raw + after)


def test_no_encoding_is_looked_for_that_nobody_names() -> None:
    """Python would remember each of them."""
    asked: list[str] = []
    codecs.register(asked.append)
    try:
        assert name_in("form-data; filename*=x-one''x; filename=\"=?x-two?B?eA==?=\"") == "=?x-two?B?eA==?="
    finally:
        codecs.unregister(asked.append)
    assert asked == []
