"""Targets of requests, and what the application is told of a head."""

import pytest

from service.http.head import Head, target_of


@pytest.mark.parametrize(
    ("url", "target"),
    [
        (b"/a?b=c?d", ("/a", b"b=c?d", None)),
        (b"/", ("/", b"", None)),
        (b"http://host:80/a%2Fb?q", ("/a%2Fb", b"q", b"host:80")),
        (b"HTTP://me@host", ("/", b"", b"host")),
        (b"/http://host/a", ("/http://host/a", b"", None)),
        (b"a", None),
        (b"", None),
        ("/é".encode(), None),
    ],
)
def test_targets(url: bytes, target: tuple[str, bytes, bytes | None] | None) -> None:
    assert target_of(url) == target


def head(*headers: tuple[bytes, bytes], version: str = "1.1", url: bytes = b"/a%20b?q=1") -> Head:
    target = target_of(url)
    assert target is not None
    return Head("POST", target, version, [*headers], True)


def test_the_scope() -> None:
    server, client, state = ("127.0.0.1", 80), ("127.0.0.1", 5000), {"some": "state"}
    assert {**head((b"host", b"x")).scope(server, client, state)} == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": server,
        "client": client,
        "scheme": "http",
        "method": "POST",
        "root_path": "",
        "path": "/a b",
        "raw_path": b"/a%20b",
        "query_string": b"q=1",
        "headers": [(b"host", b"x")],
        "state": state,
    }


def test_an_absolute_target_names_the_host() -> None:
    scope = head((b"host", b"other"), (b"x-host", b"other"), url=b"http://host/").scope(None, None, {})
    assert scope["headers"] == [(b"host", b"host"), (b"x-host", b"other")]


@pytest.mark.parametrize(
    ("value", "version", "expects"),
    [
        (b"100-continue", "1.1", True),
        (b"100-Continue", "1.1", True),
        (b"100-continue", "1.0", False),
        (b"200-ok", "1.1", False),
    ],
)
def test_who_waits_for_leave(value: bytes, version: str, expects: bool) -> None:
    assert head((b"host", b"x"), (b"expect", value), version=version).expects_continue is expects
    assert not head((b"x-expect", value), version=version).expects_continue
