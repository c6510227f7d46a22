"""Names and links of kept files: a link opens what it was made for, and nothing else does."""

import base64
import hmac

import pytest

from service.files.links import NAME, base_url, expiry_of, link_to, name_in, new_name

KEY, OTHER = bytes(range(32)), bytes(32)
TIME = 1_764_244_800.123


def test_a_name_tells_when_its_file_s_life_ends() -> None:
    name = new_name(TIME)
    assert NAME.fullmatch(name)
    assert len(name) == 44
    assert expiry_of(name) == TIME
    assert name[:12] == f"{1_764_244_800_123:012x}"
    # They sort by age, whatever the random part.
    assert sorted(new_name(TIME + second) for second in (2, 0, 1))[0][:12] == name[:12]


def test_no_two_names_are_the_same() -> None:
    assert len({new_name(TIME) for _ in range(100)}) == 100


def test_a_link_is_its_name_and_its_signature() -> None:
    name = "01" * 22
    raw = bytes.fromhex(name)
    link = link_to(name, KEY)
    assert link == base64.urlsafe_b64encode(raw + hmac.digest(KEY, raw, "sha256")).decode()
    assert len(link) == 72
    assert name_in(link, KEY) == name
    assert name_in(link, OTHER) is None


def test_no_other_link_opens_anything() -> None:
    link = link_to(new_name(TIME), KEY)
    for at in range(len(link)):
        other = "A" if link[at] != "A" else "B"
        assert name_in(link[:at] + other + link[at + 1 :], KEY) is None
    for odd in ("", link[:-1], link + "A", link[:-1] + "=", link + "\n", link[:-1] + "/", link[:-1] + "é"):
        assert name_in(odd, KEY) is None


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("shop.example", "https://shop.example"),
        ("shop.example:2026", "https://shop.example:2026"),
        ("127.0.0.1:1", "https://127.0.0.1:1"),
        ("[2001:DB8::1]:65535", "https://[2001:DB8::1]:65535"),
        ("a" * 253, "https://" + "a" * 253),
        ("a" * 254, None),
        ("", None),
        ("shop.example/x", None),
        ("u@shop.example", None),
        ("shop.example:", None),
        ("shop.example:123456", None),
        ("-shop.example", None),
        ("[shop]", None),
        ("[:]", None),
        ("shop.example\n", None),
    ],
)
def test_links_begin_where_the_request_went(host: str, url: str | None) -> None:
    assert base_url("https", {"host": host}, None) == url
    assert base_url("https", {"host": host}, "http://files.example/x") == "http://files.example/x"


def test_without_a_host_links_have_no_beginning() -> None:
    assert base_url("http", {}, None) is None
    assert base_url("http", {}, "") is None
