"""Behind proxies: whose word counts for the client's address, the scheme and the host."""

import asyncio
import tracemalloc
from typing import Any

import pytest

from service.gate.forwarded import Forwarded

PEER = "10.0.0.1"


def scope_of(proxies: tuple[str, ...], *headers: tuple[str, str], peer: str | None = PEER) -> Any:
    """The scope that the application gets for a request that comes from `peer`."""
    scopes: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        assert receive is send is unused
        scopes.append(scope)

    async def unused(*_: Any) -> Any:
        raise AssertionError

    scope: Any = {
        "type": "http",
        "client": (peer, 4711) if peer else None,
        "scheme": "http",
        "headers": [(b"host", b"inside:2026"), *((name.lower().encode(), text.encode()) for name, text in headers)],
    }
    asyncio.run(Forwarded(application, proxies)(scope, unused, unused))
    [got] = scopes
    return got


def seen(proxies: tuple[str, ...], *headers: tuple[str, str], peer: str | None = PEER) -> tuple[Any, str, list[str]]:
    """What the application sees: the client's address, the scheme, its hosts."""
    got = scope_of(proxies, *headers, peer=peer)
    hosts = [value.decode() for name, value in got["headers"] if name == b"host"]
    return got["client"] and got["client"][0], got["scheme"], hosts


def client(value: str, *more: str, header: str = "X-Forwarded-For", proxies: tuple[str, ...] = ("10.0.0.0/8",)) -> str:
    found, _, _ = seen(proxies, *((header, text) for text in (value, *more)))
    assert isinstance(found, str)
    return found


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("203.0.113.1", "203.0.113.1"),
        ("198.51.100.9, 203.0.113.1", "203.0.113.1"),  # what the client itself put in front
        ("203.0.113.1, 10.0.0.2,10.9.9.9", "203.0.113.1"),  # proxies that are named are passed over
        ("198.51.100.9, 203.0.113.1, 10.0.0.2", "203.0.113.1"),
        ("10.0.0.7, 10.0.0.2", "10.0.0.7"),  # a proxy calls for itself
        ("203.0.113.1:4711", "203.0.113.1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("::ffff:203.0.113.1", "203.0.113.1"),
        ("[0000:0000:0000:0000:0000:ffff:203.100.113.100]:12345", "203.100.113.100"),  # none is longer
        ("203.0.113.1, ::ffff:10.0.0.2", "203.0.113.1"),
        (" , 203.0.113.1 ,, ", "203.0.113.1"),
        # Who it was is not told: the nearest proxy that is known counts.
        ("unknown", PEER),
        ("203.0.113.1, unknown", PEER),
        ("203.0.113.1, _hidden, 10.0.0.2", "10.0.0.2"),
        ("", PEER),
        (",", PEER),
        ("203.0.113", PEER),
        ("203.0.113.1:65535", "203.0.113.1"),
        ("203.0.113.1:65536", PEER),
        ("203.0.113.1:99999", PEER),
        ("203.0.113.1:", PEER),
        ("fe80::1%eth0", PEER),
        ("[203.0.113.1", PEER),
        ("203.0.113.1 203.0.113.2", PEER),
        ("٢.0.113.1", PEER),
        ("<script>", PEER),
    ],
)
def test_x_forwarded_for(value: str, address: str) -> None:
    assert client(value) == address


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("for=203.0.113.1", "203.0.113.1"),
        ("For=203.0.113.1;proto=https;by=10.0.0.1", "203.0.113.1"),
        ("for=198.51.100.9, for=203.0.113.1, for=10.0.0.2", "203.0.113.1"),
        ('for="203.0.113.1:4711"', "203.0.113.1"),
        ('for="[2001:db8::1]:4711"', "2001:db8::1"),
        ('for="[2001:db8::1]"', "2001:db8::1"),
        ('by=10.0.0.1 ; for="[::ffff:203.0.113.1]"', "203.0.113.1"),
        # What a client begins and does not end takes nothing of what its proxy adds.
        ('for="198.51.100.9, for=203.0.113.1', "203.0.113.1"),
        ('for="198.51.100.9\\", for=203.0.113.1', "203.0.113.1"),
        ("garbage, for=203.0.113.1", "203.0.113.1"),
        ("for=unknown", PEER),
        ('for="_hidden"', PEER),
        ("for=_SEVKISEK, for=10.0.0.2", "10.0.0.2"),
        ("proto=https", PEER),
        ("for=203.0.113.1;for=203.0.113.2", PEER),
        ("for=203.0.113.1;", PEER),
        ('for="203.0.113.1', PEER),
        ("203.0.113.1", PEER),
        ("", PEER),
    ],
)
def test_forwarded(value: str, address: str) -> None:
    assert client(value, header="Forwarded") == address


def test_the_port_is_the_clients_too() -> None:
    """It is 0 where nobody tells it."""
    for peer in ("203.0.113.9", "::ffff:203.0.113.9"):
        assert scope_of(("10.0.0.0/8",), peer=peer)["client"] == ("203.0.113.9", 4711)
    for value, port in (("203.0.113.1:80", 80), ("203.0.113.1", 0)):
        assert scope_of((PEER,), ("X-Forwarded-For", value))["client"] == ("203.0.113.1", port)


def test_several_lines_are_one_list() -> None:
    assert client("198.51.100.9", "203.0.113.1", "10.0.0.2") == "203.0.113.1"
    assert client("for=198.51.100.9", "for=203.0.113.1", header="Forwarded") == "203.0.113.1"


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded"])
def test_what_is_no_address_is_not_remembered(header: str) -> None:
    """A client writes what its proxy passes on: as many long texts as there is room for would stay for ever."""
    tracemalloc.start()
    try:
        for number in range(100):
            name = "" if header == "X-Forwarded-For" else "for="
            value = f"{name}{number}{header * 3_000}, {name}10.0.0.2"
            assert client(value, header=header, proxies=("*",)) == "10.0.0.2"
        assert tracemalloc.get_traced_memory()[0] < 500_000
    finally:
        tracemalloc.stop()


def test_who_is_believed() -> None:
    told = (
        ("X-Forwarded-For", "198.51.100.9, 203.0.113.1"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "a.example"),
    )
    nothing = (PEER, "http", ["inside:2026"])
    assert seen(("10.0.0.2", "192.168.0.0/16"), *told) == nothing
    assert seen((PEER,), *told) == ("203.0.113.1", "https", ["a.example"])
    assert seen(("*",), *told) == ("198.51.100.9", "https", ["a.example"])
    assert seen(("10.0.0.0/8",), *told, peer="::ffff:10.0.0.1") == ("203.0.113.1", "https", ["a.example"])
    assert seen(("2001:db8::/32",), *told, peer="2001:db8::5") == ("203.0.113.1", "https", ["a.example"])
    # Who is no proxy is not believed; its own address is still written as others are.
    assert seen(("10.0.0.0/8",), *told, peer="::ffff:203.0.113.9") == ("203.0.113.9", "http", ["inside:2026"])
    assert seen(("10.0.0.0/8",), *told, peer="no address") == ("no address", "http", ["inside:2026"])
    # A socket without an address, as of a proxy on the same machine.
    assert seen(("10.0.0.0/8",), *told, peer=None) == (None, "http", ["inside:2026"])
    assert seen(("*",), *told, peer=None) == ("198.51.100.9", "https", ["a.example"])
    assert seen(("*",), peer=None) == (None, "http", ["inside:2026"])


def test_both_kinds_of_header_must_agree() -> None:
    old = ("X-Forwarded-For", "203.0.113.1:80")
    https = ("X-Forwarded-Proto", "https")
    assert seen((PEER,), old, ("Forwarded", "for=203.0.113.1"), https)[:2] == ("203.0.113.1", "https")
    # Who hides its client is the client.
    for one, two in ((PEER, "for=unknown"), ("unknown", f"for={PEER}")):
        assert seen((PEER,), ("X-Forwarded-For", one), ("Forwarded", two), https)[:2] == (PEER, "https")
    for other in ("for=198.51.100.9", "for=unknown", "garbage", ""):
        assert seen((PEER,), old, ("Forwarded", other), https)[:2] == (PEER, "http")
    # The scheme and the host, too: a client may know its own address.
    by_client = ("Forwarded", "for=203.0.113.1;proto=http;host=evil.example")
    assert seen((PEER,), old, by_client, https, ("X-Forwarded-Host", "a.example")) == (
        "203.0.113.1",
        "http",
        ["inside:2026"],
    )


@pytest.mark.parametrize(
    ("header", "value", "scheme", "host"),
    [
        ("X-Forwarded-Proto", "HTTPS", "https", "inside:2026"),
        ("X-Forwarded-Proto", "https, http", "http", "inside:2026"),
        ("X-Forwarded-Proto", "javascript", "http", "inside:2026"),
        ("X-Forwarded-Host", "Shop.Example:8443", "http", "shop.example:8443"),
        ("X-Forwarded-Host", "[2001:db8::1]:8443", "http", "[2001:db8::1]:8443"),
        ("X-Forwarded-Host", "a.example, b.example", "http", "inside:2026"),
        ("X-Forwarded-Host", "user@a.example", "http", "inside:2026"),
        ("X-Forwarded-Host", "a.example/path", "http", "inside:2026"),
        ("X-Forwarded-Host", "a.example:port", "http", "inside:2026"),
        ("X-Forwarded-Host", 'a_b"><script>', "http", "inside:2026"),
        ("X-Forwarded-Host", "a" * 300, "http", "inside:2026"),
        ("X-Forwarded-Host", "", "http", "inside:2026"),
        ("Forwarded", 'for=203.0.113.1;proto=https;host="a.example:8443"', "https", "a.example:8443"),
        # Of a chain, the proxy that the client spoke with knows what it asked for.
        (
            "Forwarded",
            "for=203.0.113.1;proto=https;host=a.example, for=10.0.0.2;proto=http;host=b",
            "https",
            "a.example",
        ),
        ("Forwarded", "for=9.9.9.9;proto=https;host=evil, for=203.0.113.1", "http", "inside:2026"),
        ("Forwarded", "for=_hidden;proto=https", "https", "inside:2026"),
        ("Forwarded", "for=_hidden;host=a.example", "http", "a.example"),
        ("Forwarded", 'for=203.0.113.1;host="";proto=https', "https", "inside:2026"),
    ],
)
def test_scheme_and_host(header: str, value: str, scheme: str, host: str) -> None:
    assert seen(("10.0.0.0/8",), (header, value))[1:] == (scheme, [host])
