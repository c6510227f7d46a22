"""Behind proxies: what those named in FORWARDED_ALLOW_IPS say of the client's address, scheme and host counts.

`Forwarded` is RFC 7239; `X-Forwarded-For`, `-Proto` and `-Host` are what came before it and is still usual. Each proxy
adds on the right the address that called it, so the client is the last one that is no proxy's; whatever stands left of
it, the client itself may have written.
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import NamedTuple

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

# An address with or without a port. An IPv6 address has brackets where it has a port, and in `Forwarded` always.
_NODE = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::([0-9]{1,5}))?|([0-9A-Fa-f:.]+)")
_PAIR = re.compile(r'\s*([A-Za-z]+)=(?:"([^"]*)"|([^\s";]+))\s*')
_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?")


class _Node(NamedTuple):
    """An address in its one normal form, an IPv4 address within IPv6 as IPv4, and its port or 0."""

    address: str
    port: int


class _Hop(NamedTuple):
    """What one proxy says of the request that it got. None: nothing, or nothing that can be understood."""

    node: _Node | None
    scheme: str | None = None
    host: str | None = None


class Forwarded:
    """ASGI middleware: puts the client's address, the scheme and the host that it asked for into the scope.

    An address has one form: a listener for all of IPv6 takes IPv4 as well, and sees its addresses as `::ffff:…`.
    Where both kinds of header come they must agree on the client, else neither is believed and the proxy's own address
    counts: a client can send the kind that its proxy does not set. An address that a proxy does not tell (`unknown`,
    `_hidden`, garbage) ends the way back: then the nearest proxy that is known counts as the client.
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
                self._believe(scope, peer)
        await self._app(scope, receive, send)

    def _believe(self, scope: Scope, peer: _Node | None) -> None:
        headers: dict[bytes, str] = {}
        for name, value in scope["headers"]:
            if name == b"forwarded" or name.startswith(b"x-forwarded-"):
                # Several lines are one list.
                text = value.decode("latin-1")
                headers[name] = f"{headers[name]},{text}" if name in headers else text
        said: list[_Hop] = []
        if b"x-forwarded-for" in headers:
            said.append(self._client(peer, (_Hop(_node(text)) for text in _parts(headers[b"x-forwarded-for"]))))
        if b"forwarded" in headers:
            said.append(self._client(peer, (_hop(text) for text in _parts(headers[b"forwarded"]))))
        if len({hop.node and hop.node.address for hop in said}) > 1:
            return
        # A chain of proxies may make lists of these two as well, of which nobody says which part is whose.
        said.append(_Hop(None, _scheme(headers.get(b"x-forwarded-proto")), _host(headers.get(b"x-forwarded-host"))))
        if node := said[0].node:
            scope["client"] = (node.address, node.port)
        if scheme := _agreed(hop.scheme for hop in said):
            scope["scheme"] = scheme
        if host := _agreed(hop.host for hop in said):
            others = [(name, value) for name, value in scope["headers"] if name != b"host"]
            scope["headers"] = [*others, (b"host", host.encode())]

    def _client(self, peer: _Node | None, hops: Iterable[_Hop]) -> _Hop:
        """Who called the outermost proxy, and how; `hops` begin with the nearest."""
        client = _Hop(peer)
        for hop in hops:
            if hop.node is None:
                return client._replace(scheme=hop.scheme, host=hop.host)
            client = hop
            if not self._is_proxy(hop.node):
                break
        return client

    def _is_proxy(self, node: _Node) -> bool:
        if self._all:
            return True
        address = ipaddress.ip_address(node.address)
        return any(address in network for network in self._networks)


def _parts(text: str) -> Iterable[str]:
    """The list's parts from right to left. A comma that a client has put into quotes ends a part as well: so nothing
    that it writes can swallow what its proxy adds, and no part that matters has one."""
    return (part for part in map(str.strip, reversed(text.split(","))) if part)


def _hop(text: str) -> _Hop:
    """One part of `Forwarded`; what is wrong in any place says nothing at all."""
    said: dict[str, str] = {}
    for pair in text.split(";"):
        match = _PAIR.fullmatch(pair)
        if match is None or match[1].lower() in said:
            return _Hop(None)
        said[match[1].lower()] = match[2] or match[3] or ""
    return _Hop(_node(said.get("for", "")), _scheme(said.get("proto")), _host(said.get("host")))


def _node(text: str) -> _Node | None:
    match = _NODE.fullmatch(text)
    if match is None or int(match[3] or 0) > 65535:
        return None
    try:
        address = ipaddress.ip_address(match[1] or match[2] or match[4])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return _Node(str(mapped or address), int(match[3] or 0))


def _scheme(text: str | None) -> str | None:
    return text.lower() if text and text.lower() in ("http", "https") else None


def _host(text: str | None) -> str | None:
    return text.lower() if text and _HOST.fullmatch(text.lower()) else None


def _agreed(values: Iterable[str | None]) -> str | None:
    """What all say who say anything; None if they differ."""
    said = {value for value in values if value is not None}
    return said.pop() if len(said) == 1 else None
