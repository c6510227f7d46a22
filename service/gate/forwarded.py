"""The client's address, scheme and host, as reported by the proxies named in FORWARDED_ALLOW_IPS.

Read from `Forwarded` (RFC 7239) and its predecessors `X-Forwarded-For`, `-Proto` and `-Host`. Each proxy appends the
address that called it. So the client is the rightmost address that is no proxy's; anything left of it may be the
client's own invention.
"""

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

# An address with or without a port. IPv6 addresses have brackets if there is a port, and always in `Forwarded`.
_NODE = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::([0-9]{1,5}))?|([0-9A-Fa-f:.]+)")
# The longest one: an IPv6 address with an IPv4 one in it, in brackets, and a port.
_NODE_CHARACTERS = len("[0000:0000:0000:0000:0000:ffff:255.255.255.255]:65535")
_PAIR = re.compile(r'\s*([A-Za-z]+)=(?:"([^"]*)"|([^\s";]+))\s*')
# The same few proxies call, or the same clients again.
_address = lru_cache(1024)(ipaddress.ip_address)
_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?")


class _Node(NamedTuple):
    """A normalised address, IPv4-mapped IPv6 as IPv4, and its port or 0."""

    address: str
    port: int


class _Hop(NamedTuple):
    """A proxy's report of the request that it received. None is absent or malformed."""

    node: _Node | None
    scheme: str | None = None
    host: str | None = None


class Forwarded:
    """ASGI middleware: puts the client's address, and the scheme and host that it requested, into the scope.

    Addresses are normalised: a dual-stack listener sees IPv4 clients as `::ffff:…`. If both kinds of header come, they
    must agree on the client. Otherwise neither is trusted and the proxy's own address counts, as a client can send the
    kind that its proxy does not set. An address that a proxy hides (`unknown`, `_hidden`, garbage) ends the search: the
    nearest known proxy then counts as the client.
    """

    def __init__(self, app: ASGIApp, proxies: Iterable[str]) -> None:
        self._app = app
        self._all = "*" in proxies
        self._networks = [ipaddress.ip_network(proxy) for proxy in proxies if proxy != "*"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP:
            client = scope.get("client")
            peer = _node(client[0]) if client else None
            if client and peer:
                scope["client"] = (peer.address, client[1])
            if self._all or (peer is not None and self._is_proxy(peer)):
                self._apply(scope, peer)
        await self._app(scope, receive, send)

    def _apply(self, scope: Scope, peer: _Node | None) -> None:
        headers: dict[bytes, str] = {}
        for name, value in scope["headers"]:
            if name == b"forwarded" or name.startswith(b"x-forwarded-"):
                # Several header lines make one list.
                text = value.decode("latin-1")
                headers[name] = f"{headers[name]},{text}" if name in headers else text
        reports: list[_Hop] = []
        if b"x-forwarded-for" in headers:
            reports.append(self._client(peer, (_Hop(_node(text)) for text in _parts(headers[b"x-forwarded-for"]))))
        if b"forwarded" in headers:
            reports.append(self._client(peer, (_hop(text) for text in _parts(headers[b"forwarded"]))))
        if len({hop.node and hop.node.address for hop in reports}) > 1:
            return
        # `-Proto` and `-Host` may be lists as well, whose entries cannot be matched with proxies.
        reports.append(_Hop(None, _scheme(headers.get(b"x-forwarded-proto")), _host(headers.get(b"x-forwarded-host"))))
        if node := reports[0].node:
            scope["client"] = (node.address, node.port)
        if scheme := _agreed(hop.scheme for hop in reports):
            scope["scheme"] = scheme
        if host := _agreed(hop.host for hop in reports):
            others = [(name, value) for name, value in scope["headers"] if name != b"host"]
            scope["headers"] = [*others, (b"host", host.encode())]

    def _client(self, peer: _Node | None, hops: Iterable[_Hop]) -> _Hop:
        """Finds the client in `hops`, the nearest proxy's first, with the scheme and host that it requested."""
        client = _Hop(peer)
        for hop in hops:
            if hop.node is None:
                return client._replace(scheme=hop.scheme, host=hop.host)
            client = hop
            if not self._is_proxy(hop.node):
                break
        return client

    def _is_proxy(self, node: _Node) -> bool:
        return self._all or any(_address(node.address) in network for network in self._networks)


def _parts(text: str) -> Iterable[str]:
    """Yields the parts of a list from right to left.

    Commas within quotes split, too: so a client cannot hide its proxy's entry in a quoted string, and no valid part has
    one.
    """
    return (part for part in map(str.strip, reversed(text.split(","))) if part)


def _hop(text: str) -> _Hop:
    """Parses one element of `Forwarded`. One that is malformed anywhere counts as empty."""
    pairs: dict[str, str] = {}
    for pair in text.split(";"):
        match = _PAIR.fullmatch(pair)
        if match is None or match[1].lower() in pairs:
            return _Hop(None)
        pairs[match[1].lower()] = match[2] or match[3] or ""
    return _Hop(_node(pairs.get("for", "")), _scheme(pairs.get("proto")), _host(pairs.get("host")))


def _node(text: str) -> _Node | None:
    # What is longer must not be remembered: a client may write it.
    return _known_node(text) if len(text) <= _NODE_CHARACTERS else None


@lru_cache(1024)
def _known_node(text: str) -> _Node | None:
    match = _NODE.fullmatch(text)
    if match is None or int(match[3] or 0) > 65535:
        return None
    try:
        address = _address(match[1] or match[2] or match[4])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return _Node(str(mapped or address), int(match[3] or 0))


def _scheme(text: str | None) -> str | None:
    return text.lower() if text and text.lower() in ("http", "https") else None


def _host(text: str | None) -> str | None:
    return text.lower() if text and _HOST.fullmatch(text.lower()) else None


def _agreed(values: Iterable[str | None]) -> str | None:
    """Returns the one value among those that are not None; None if they differ."""
    given = {value for value in values if value is not None}
    return given.pop() if len(given) == 1 else None
