"""The route to Coze, fixed at the start: its address, the proxy, and the trusted certificates.

The proxy variables are those of curl: https://everything.curl.dev/usingcurl/proxies/env.html.
"""

import base64
import contextlib
import ipaddress
import os
import re
import ssl
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import certifi

from service.settings import Settings, SettingsError

_PORTS = {False: 80, True: 443}  # of http and of https


class Address(NamedTuple):
    """The address of a server. As text it has the port; `name` leaves out the default port of the scheme."""

    host: str
    port: int
    tls: bool

    def __str__(self) -> str:
        return f"{self._host}:{self.port}"

    @property
    def name(self) -> str:
        return self._host if self.port == _PORTS[self.tls] else str(self)

    @property
    def _host(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy. `authorization` is the value of Proxy-Authorization, if it has a user."""

    address: Address
    authorization: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Route:
    """The route to Coze. `tls` is None if it needs no TLS. `certifi` is set if the machine has no certificates."""

    coze: Address
    proxy: Proxy | None = None
    tls: ssl.SSLContext | None = None
    certifi: bool = False

    @property
    def first(self) -> Address:
        """The server to connect to: the proxy if there is one."""
        return self.proxy.address if self.proxy is not None else self.coze


def route_to_coze(settings: Settings) -> Route:
    """Makes the route from the settings. Raises SettingsError for a proxy or certificate file that cannot be used."""
    return route_to(settings.coze_api_base, settings)


def route_to(url: str, settings: Settings) -> Route:
    """The same to another server, by the same proxies and certificates."""
    coze = _address(url)
    proxy = _proxy(coze, settings)
    if not coze.tls and (proxy is None or not proxy.address.tls):
        return Route(coze, proxy)
    tls, own = _trust(settings)
    return Route(coze, proxy, tls, certifi=own)


def _address(url: str) -> Address:
    """Raises ValueError."""
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme not in ("http", "https") or not host or parts.port == 0:
        raise ValueError
    host.encode("idna")
    return Address(host, parts.port or _PORTS[tls], tls)


def _proxy(coze: Address, settings: Settings) -> Proxy | None:
    name, url = ("HTTPS_PROXY", settings.https_proxy) if coze.tls else ("HTTP_PROXY", settings.http_proxy)
    if not url:
        name, url = "ALL_PROXY", settings.all_proxy
    if not url or _is_direct(coze, settings.no_proxy):
        return None
    if "://" not in url:
        url = f"http://{url}"
    # Quote no part of the value, which may hold a password.
    if socks := re.match("(?i)socks[0-9a-z]*(?=://)", url):
        raise SettingsError(f"{name} names a {socks[0].lower()} proxy, but only http:// and https:// can be used.")
    try:
        return _proxy_at(url)
    except ValueError:
        takes = "the address of a proxy such as http://user:password@proxy.example:3128"
        raise SettingsError(f"{name} takes {takes}, and its value is not that.") from None


def _proxy_at(url: str) -> Proxy:
    """Raises ValueError."""
    parts = urlsplit(url)
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError
    authorization = None
    if parts.username is not None:
        credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = "Basic " + base64.b64encode(credentials.encode()).decode()
    return Proxy(_address(url), authorization)


def _is_direct(coze: Address, no_proxy: str | None) -> bool:
    """Whether NO_PROXY matches Coze: by `*`, a host and its subdomains, an address or a network; a port is optional."""
    for entry in re.split(r"[\s,]+", (no_proxy or "").lower()):
        name = entry.rpartition("://")[2]
        if with_port := re.fullmatch(r"(\[[^]]*\]|[^:]*):([0-9]{1,5})", name):
            name = with_port[1] if int(with_port[2]) == coze.port else ""
        if name == "*" or _is_within(coze.host, name.strip("[]")):
            return True
    return False


def _is_within(host: str, name: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        domain = name.removeprefix("*").strip(".")
        return bool(domain) and f".{host}".endswith(f".{domain}")
    with contextlib.suppress(ValueError):
        return address in ipaddress.ip_network(name, strict=False)
    return False


def _trust(settings: Settings) -> tuple[ssl.SSLContext, bool]:
    """Returns a context with the system's certificates and False or, if there are none, with certifi's and True."""
    paths = ssl.get_default_verify_paths()
    folders = settings.ssl_cert_dir or paths.openssl_capath
    context = ssl.create_default_context(capath=folders)
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_verify_locations(settings.ssl_cert_file or paths.openssl_cafile)
    except OSError:
        if file := settings.ssl_cert_file:
            raise SettingsError(f"SSL_CERT_FILE takes a file of certificates in PEM, and {file!r} is none.") from None
    if context.cert_store_stats()["x509"] or any(map(_holds_certificates, folders.split(os.pathsep))):
        return context, False
    if settings.ssl_cert_dir:
        raise SettingsError(f"SSL_CERT_DIR takes a folder of hashed certificates, and {folders!r} holds none.")
    context.load_verify_locations(certifi.where())
    return context, True


def _holds_certificates(folder: str) -> bool:
    """Whether a folder has certificates named by hash. OpenSSL reads them on demand, so the context cannot tell."""
    with contextlib.suppress(OSError), os.scandir(folder) as files:
        return any(re.fullmatch(r"[0-9a-f]{8}\.[0-9]+", file.name) for file in files)
    return False
