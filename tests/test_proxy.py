"""Coze through a proxy alone: tunnels, plain requests, the token endpoint, and every way in which a proxy fails."""

import asyncio
import base64
import contextlib
import math
import re
import ssl
import subprocess
import threading
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import uvloop
from conftest import BOT, Service, Start, Upstream, wait_until
from joserfc.jwk import RSAKey

from generated.models import ChatMessage, ChatRequest
from service import settings
from service.coze import Coze
from service.coze.errors import PROXY_AWAY, PROXY_FAILED, PROXY_REFUSES, TIMED_OUT, UNREACHABLE, UNTRUSTED
from service.errors import Failure, ServiceError
from service.lifecycle import Lifecycle
from service.observe.coze_observer import CozeObserver

CREDENTIALS = base64.b64encode(b"user:p@ss/w:rd").decode()
USERINFO = "user:p%40ss%2Fw:rd"
# A name that only the proxy knows.
NAME = "coze.invalid"


class Relay:
    """A server in a thread of its own. `to` names where connections lead; with `tls` it is spoken to over TLS."""

    def __init__(self, to: str | None = None, tls: ssl.SSLContext | None = None) -> None:
        self._to = to
        self._tls = tls
        self._writers: set[asyncio.StreamWriter] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    async def _main(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        # Connections that are cut off are no news here.
        self._loop.set_exception_handler(lambda *_: None)
        server = await asyncio.start_server(self._client, "127.0.0.1", 0, ssl=self._tls)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._over.wait()
        server.close()

    def cut(self) -> None:
        """Ends all connections of now."""
        for writer in tuple(self._writers):
            self._loop.call_soon_threadsafe(writer.close)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.closing(writer):
            await self.serve(reader, writer)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._to is not None
        await self.join(reader, writer, self._to, b"")

    async def join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to: str, first: bytes) -> None:
        """Hands on what comes from either side, `first` before the rest."""
        host, port = to.split(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        far_writer.write(first)

        async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError), contextlib.closing(target):
                while data := await source.read(65536):
                    self.passed(data)
                    target.write(data)
                    await target.drain()

        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

    def passed(self, data: bytes) -> None:
        pass


class Proxy(Relay):
    """Keeps the heads of its requests. `answer` is sent in place of doing what they ask; then it hangs up, or waits."""

    def __init__(self, names: dict[str, str], tls: ssl.SSLContext | None = None) -> None:
        self.names = names
        self.heads: list[bytes] = []
        self.answer: bytes | None = None
        self.waits = False
        self.seen = bytearray()
        super().__init__(tls=tls)
        self.url = f"{'https' if tls else 'http'}://{USERINFO}@localhost:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        if self.answer is not None:
            writer.write(self.answer)
            await writer.drain()
            if self.waits:
                await reader.read()
            return
        method, target, _ = head.decode().split(" ", 2)
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 test\r\n\r\n")
            await self.join(reader, writer, self.names[target], b"")
        else:
            await self.join(reader, writer, self.names[target.split("/")[2]], head)

    def passed(self, data: bytes) -> None:
        self.seen += data


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of `coze.invalid` and of the proxy at `localhost`; its key lies beside it."""
    folder = tmp_path_factory.mktemp("certificate")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=test -keyout key.pem -out cert.pem"
    names = f"subjectAltName=DNS:localhost,DNS:{NAME}"
    subprocess.run([*command.split(), "-addext", names], cwd=folder, check=True, capture_output=True)
    return folder / "cert.pem"


@pytest.fixture(scope="module")
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    return context


@pytest.fixture(scope="module")
def secured(upstream: Upstream, tls: ssl.SSLContext) -> Iterator[Relay]:
    """The sandbox behind TLS."""
    relay = Relay(upstream.url.removeprefix("http://"), tls)
    yield relay
    relay.close()


def proxies(upstream: Upstream, secured: Relay, tls: ssl.SSLContext | None) -> Iterator[Proxy]:
    names = {NAME: upstream.url.removeprefix("http://"), f"{NAME}:443": f"127.0.0.1:{secured.port}"}
    proxy = Proxy(names, tls)
    yield proxy
    proxy.close()


@pytest.fixture
def proxy(upstream: Upstream, secured: Relay) -> Iterator[Proxy]:
    yield from proxies(upstream, secured, None)


@pytest.fixture
def tls_proxy(upstream: Upstream, secured: Relay, tls: ssl.SSLContext) -> Iterator[Proxy]:
    yield from proxies(upstream, secured, tls)


def run(work: Callable[[Coze], Coroutine[Any, Any, None]], **variables: str) -> None:
    """`work` with a Coze of these variables, on the loop that the service runs on."""

    async def main() -> None:
        unexpected: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unexpected.append(context))
        chosen = settings.read({"COZE_API_TOKEN": "pat_test", "COZE_BOT_ID": BOT, **variables})
        async with Coze(chosen, CozeObserver(), Lifecycle()) as coze:
            await work(coze)
        await asyncio.sleep(0)
        assert not unexpected

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


async def chat(coze: Coze) -> str:
    """What a chat says."""
    said: list[Any] = []
    one = coze.chat(ChatRequest(user_id="u", messages=[ChatMessage(role="user", content="Hello")]))
    try:
        await one.open()
        one.listen(said.extend)
        assert await one.completed(math.inf)
    finally:
        one.leave()
    return "".join(getattr(event, "content", "") for event in said)


async def chats(coze: Coze) -> None:
    assert await chat(coze)
    assert all(await asyncio.gather(*(chat(coze) for _ in range(5))))


async def chats_over(proxy: Proxy, coze: Coze) -> None:
    """Calls that use one connection, one after the other, and chats that use more of them at once."""
    for _ in range(3):
        assert (await coze.user())[0].user_id
    assert len(proxy.heads) == 1
    await chats(coze)


@pytest.mark.parametrize("kind", ["proxy", "tls_proxy"])
def test_a_tunnel(request: pytest.FixtureRequest, kind: str, certificate: Path) -> None:
    """Over a plain connection to the proxy, and over TLS within TLS. Each is used again and again."""
    proxy: Proxy = request.getfixturevalue(kind)
    work = partial(chats_over, proxy)
    run(work, COZE_API_BASE=f"https://{NAME}", HTTPS_PROXY=proxy.url, SSL_CERT_FILE=str(certificate))
    expected = f"CONNECT {NAME}:443 HTTP/1.1\r\nHost: {NAME}:443\r\nProxy-Authorization: Basic {CREDENTIALS}\r\n\r\n"
    assert set(proxy.heads) == {expected.encode()}
    # Neither the token nor a question went past the proxy in the clear, and its password not to Coze.
    assert b"pat_test" not in proxy.seen
    assert b"/v3/chat" not in proxy.seen


@pytest.mark.parametrize("kind", ["proxy", "tls_proxy"])
def test_plain_requests(request: pytest.FixtureRequest, kind: str, certificate: Path) -> None:
    proxy: Proxy = request.getfixturevalue(kind)
    work = partial(chats_over, proxy)
    run(work, COZE_API_BASE=f"http://{NAME}", HTTP_PROXY=proxy.url, SSL_CERT_FILE=str(certificate))
    asked = re.findall(rb"(?:POST|GET) .*", b"".join(proxy.heads) + proxy.seen)
    assert len(asked) == 9
    for line in asked:
        assert re.fullmatch(rb"(POST http://coze.invalid/v3/chat|GET http://coze.invalid/v1/users/me) HTTP/1.1\r", line)
    for head in proxy.heads:
        assert b"\r\nHost: coze.invalid\r\n" in head
        assert f"\r\nProxy-Authorization: Basic {CREDENTIALS}\r\n".encode() in head


def test_the_token_comes_through_it_too(proxy: Proxy, upstream: Upstream, certificate: Path) -> None:
    key = RSAKey.generate_key(2048)
    upstream.set(oauth_public_key=key.as_pem(private=False).decode())
    jwt = {"COZE_JWT_OAUTH_CLIENT_ID": "1", "COZE_JWT_OAUTH_PUBLIC_KEY_ID": "2", "COZE_API_TOKEN": ""}
    jwt |= {"COZE_JWT_OAUTH_PRIVATE_KEY": key.as_pem(private=True).decode()}
    try:
        run(chats, COZE_API_BASE=f"https://{NAME}", ALL_PROXY=proxy.url, SSL_CERT_FILE=str(certificate), **jwt)
    finally:
        upstream.set(oauth_public_key="")

    async def refused(coze: Coze) -> None:
        proxy.answer = b"HTTP/1.1 407 Who?\r\nContent-Length: 0\r\n\r\n"
        with pytest.raises(ServiceError) as caught:
            await chat(coze)
        assert caught.value.failure is PROXY_REFUSES

    for base in (f"https://{NAME}", f"http://{NAME}"):
        run(refused, COZE_API_BASE=base, ALL_PROXY=proxy.url, SSL_CERT_FILE=str(certificate), **jwt)


# What the proxy answers, and whether it keeps the connection then.
FAILS: dict[str, tuple[bytes, bool, Failure]] = {
    "407": (b"HTTP/1.1 407 Who?\r\nProxy-Authenticate: Basic\r\nContent-Length: 3\r\n\r\nno!", False, PROXY_REFUSES),
    "403": (b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\n\r\n<html>" + b"x" * 100_000, False, PROXY_REFUSES),
    "405": (b"HTTP/1.0 405 Method Not Allowed\r\n\r\n", False, PROXY_REFUSES),
    "a redirect": (b"HTTP/1.1 302 Found\r\nLocation: http://portal.example/\r\n\r\n", False, PROXY_REFUSES),
    "502": (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", False, PROXY_FAILED),
    "503": (b"HTTP/1.1 503 Unavailable\r\nRetry-After: 9\r\n\r\n", False, PROXY_FAILED),
    "429": (b"HTTP/1.1 429 Too Many\r\n\r\n", False, PROXY_FAILED),
    "nothing": (b"", False, PROXY_FAILED),
    "half a head": (b"HTTP/1.1 200 OK\r\n", False, PROXY_FAILED),
    "no HTTP": (b"220 smtp.example.com ESMTP\r\n", True, PROXY_FAILED),
    "a head without end": (b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 40_000, True, PROXY_FAILED),
    "interim answers without end": (b"HTTP/1.1 100 Go\r\n\r\n" * 4_000, True, PROXY_FAILED),
    "more than a head": (b"HTTP/1.1 200 OK\r\n\r\nnonsense", True, PROXY_FAILED),
    "no TLS behind it": (b"HTTP/1.1 200 OK\r\n\r\n", False, UNREACHABLE),
    "silence": (b"HTTP/1.1 100 Go\r\n\r\n", True, TIMED_OUT),
}


@pytest.mark.parametrize("name", FAILS)
def test_a_proxy_that_opens_no_tunnel(proxy: Proxy, certificate: Path, name: str) -> None:
    proxy.answer, proxy.waits, expected = FAILS[name]

    async def refused(coze: Coze) -> None:
        for ask in (coze.user, coze.workspaces, lambda: chat(coze)):
            with pytest.raises(ServiceError) as caught:
                await ask()
            assert caught.value.failure is expected
            if expected.status == 500:
                assert caught.value.retry_after is None
                assert "operator" in caught.value.message

    limit = {"COZE_CONNECT_TIMEOUT": "0.3" if expected is TIMED_OUT else "10"}
    run(refused, COZE_API_BASE=f"https://{NAME}", HTTPS_PROXY=proxy.url, SSL_CERT_FILE=str(certificate), **limit)
    # The proxy may read what it is asked only after it has been given up. What begins a chat is asked once.
    wait_until(lambda: len(proxy.heads) >= 3)
    assert len(proxy.heads) == 3


@pytest.mark.parametrize(("status", "failure"), [(407, PROXY_REFUSES), (502, None)], ids=["407", "502"])
def test_a_proxy_that_passes_nothing_on(proxy: Proxy, status: int, failure: Failure | None) -> None:
    proxy.answer = f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode()

    async def refused(coze: Coze) -> None:
        with pytest.raises(ServiceError) as caught:
            await chat(coze)
        assert caught.value.status == (failure.status if failure else 503)
        assert failure is None or caught.value.failure is failure

    run(refused, COZE_API_BASE=f"http://{NAME}", HTTP_PROXY=proxy.url)


@pytest.mark.parametrize("base", [f"https://{NAME}", f"http://{NAME}"])
@pytest.mark.parametrize("at", ["http://127.0.0.1:1", "http://nowhere.invalid:3128"])
def test_a_proxy_that_is_not_there(base: str, at: str) -> None:
    async def refused(coze: Coze) -> None:
        with pytest.raises(ServiceError) as caught:
            await chat(coze)
        assert caught.value.failure is PROXY_AWAY

    run(refused, COZE_API_BASE=base, ALL_PROXY=at)


def test_a_proxy_or_a_coze_that_is_not_trusted(proxy: Proxy, tls_proxy: Proxy) -> None:
    async def refused(coze: Coze) -> None:
        with pytest.raises(ServiceError) as caught:
            await chat(coze)
        assert caught.value.failure is UNTRUSTED

    for one in (proxy, tls_proxy):
        run(refused, COZE_API_BASE=f"https://{NAME}", HTTPS_PROXY=one.url)
    run(refused, COZE_API_BASE=f"http://{NAME}", HTTP_PROXY=tls_proxy.url)


@pytest.fixture
def behind_a_proxy(start: Start, proxy: Proxy, certificate: Path) -> Service:
    variables = {"https_proxy": proxy.url, "SSL_CERT_FILE": str(certificate), "LOG_LEVEL": "DEBUG"}
    return start(COZE_API_BASE=f"https://{NAME}", HEALTH_INTERVAL="0", **variables)


def test_the_service_behind_a_proxy(behind_a_proxy: Service, proxy: Proxy) -> None:
    service = behind_a_proxy
    assert service.chat().status_code == 200
    assert "chat_completed" in service.chat(stream=True).text
    assert service.http.post("/api/v1/upload", files={"file": ("a.csv", b"1,2")}).status_code == 200
    assert service.http.get("/health").status_code == 200
    (line,) = [line for line in service.lines() if line["event"] == "a proxy leads to Coze"]
    assert line["proxy"] == f"localhost:{proxy.port}"
    proxy.answer = b"HTTP/1.1 407 Who?\r\n\r\n"
    proxy.cut()
    wait_until(lambda: service.chat().status_code == 500)
    answers = [service.chat(), service.chat(stream=True), service.http.get("/health")]
    for answer in answers:
        assert "proxy" in answer.json()["message"]
        assert "retry-after" not in answer.headers
    said = service.output() + "".join(answer.text for answer in answers) + service.http.get("/api/v1/config").text
    for secret in (CREDENTIALS, USERINFO, "p@ss/w:rd", "p%40ss"):
        assert secret not in said
