"""Keys of users' tokens that a login publishes, from a real server: late, wrong, gone, changed, or asked too often."""

import asyncio
import base64
import contextlib
import gzip
import json
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from javascript import TESTS, needs_packages, node, run_tool
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from structlog.testing import capture_logs
from test_proxy import CREDENTIALS, NAME, Proxy, Relay, certificate, tls

from service import settings
from service.bounds import BOUNDS
from service.users import KeysUnavailableError, TokenRefusedError, UserTokens, user_tokens

pytestmark = pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")

# The fixtures among the imports.
__all__ = ["certificate", "tls"]

Key = RSAKey | ECKey | OKPKey | OctKey


class Login:
    """A login's server. It publishes `keys`, or answers with `answer`; while `hangs`, it answers nobody."""

    def __init__(self) -> None:
        self.keys: list[Any] = []
        self.answer: tuple[int, dict[str, str], bytes] | None = None
        self.asked: list[dict[str, str]] = []
        self._free = threading.Event()
        self._free.set()
        login = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                login.asked.append({"path": self.path, **{name.lower(): value for name, value in self.headers.items()}})
                login._free.wait(30)
                status, headers, body = login.answer or (200, {}, json.dumps({"keys": login.keys}).encode())
                with contextlib.suppress(OSError):
                    self.send_response(status)
                    for name, value in {"Content-Length": str(len(body)), **headers}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks?p=sign_in"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self._thread.start()

    def hang(self, *, hangs: bool) -> None:
        (self._free.clear if hangs else self._free.set)()

    def go(self) -> None:
        self._free.set()
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


@pytest.fixture
def login() -> Iterator[Login]:
    running = Login()
    yield running
    running.go()


def key(kind: str, kid: str | None) -> Key:
    named: Any = {"kid": kid} if kid is not None else None
    match kind:
        case "RS256":
            return RSAKey.generate_key(2048, named)
        case "ES256":
            return ECKey.generate_key("P-256", named)
        case _:
            return OKPKey.generate_key("Ed25519", named)


def public(one: Key, **more: Any) -> dict[str, Any]:
    return {**one.as_dict(private=False), **more}


def token(one: Key, alg: str = "ES256", user: str = "ada", **header: Any) -> str:
    named = {"kid": one.kid} if one.kid else {}
    claims = {"sub": user, "exp": int(time.time()) + 600}
    return jwt.encode({"alg": alg, **named, **header}, claims, one, algorithms=[alg])


def checking(login: Login, work: Callable[[UserTokens], Awaitable[None]], **env: str) -> None:
    """Runs `work` with the checker that these settings make."""
    tokens = user_tokens(settings.read({"COZE_API_TOKEN": "pat_1", "USER_TOKEN_JWKS_URL": login.url, **env}))
    assert tokens is not None

    async def run() -> None:
        await work(tokens)

    asyncio.run(run())


async def is_refused(tokens: UserTokens, one: str) -> bool:
    with pytest.raises(TokenRefusedError):
        await tokens.user_id(one)
    return True


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server may be asked again at once."""
    monkeypatch.setattr(BOUNDS, "published_keys_retry_seconds", 0.0)
    monkeypatch.setattr(BOUNDS, "published_keys_first_seconds", 0.0)


def test_keys_of_every_kind_are_fetched_once(login: Login) -> None:
    kinds = {"RS256": key("RS256", "r"), "ES256": key("ES256", "e"), "EdDSA": key("EdDSA", "o")}
    login.keys = [public(one) for one in kinds.values()]

    async def work(tokens: UserTokens) -> None:
        assert not login.asked
        for _ in range(2):
            for alg, one in kinds.items():
                assert await tokens.user_id(token(one, alg)) == "ada"

    checking(login, work)
    assert [call["path"] for call in login.asked] == ["/jwks?p=sign_in"]


def test_many_tokens_at_once_fetch_once(login: Login) -> None:
    one = key("ES256", "a")
    login.keys = [public(one)]

    async def work(tokens: UserTokens) -> None:
        users = await asyncio.gather(*(tokens.user_id(token(one, user=str(n))) for n in range(50)))
        assert users == [str(n) for n in range(50)]

    checking(login, work)
    assert len(login.asked) == 1


def test_a_flood_of_unknown_ids_fetches_once(login: Login) -> None:
    one, other = key("ES256", "a"), key("ES256", None)
    login.keys = [public(one)]

    async def work(tokens: UserTokens) -> None:
        await tokens.user_id(token(one))
        flood = [is_refused(tokens, token(other, kid=f"unknown{n}")) for n in range(1000)]
        assert all(await asyncio.gather(*flood))
        assert await tokens.user_id(token(one)) == "ada"

    checking(login, work)
    assert len(login.asked) == 1


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("ids", [("a", "b"), ("a", "a"), (None, None)])
def test_keys_change(login: Login, ids: tuple[str | None, str | None]) -> None:
    """Also where the new one has the id of the old one, or keys have none."""
    old, new = (key("ES256", kid) for kid in ids)
    login.keys = [public(old)]

    async def work(tokens: UserTokens) -> None:
        assert await tokens.user_id(token(old)) == "ada"
        assert await is_refused(tokens, token(new))
        login.keys = [public(new)]
        assert await tokens.user_id(token(old)) == "ada"
        assert await tokens.user_id(token(new)) == "ada"
        assert await is_refused(tokens, token(old))

    checking(login, work)


def test_keys_are_fetched_anew_though_nobody_asks(login: Login, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = key("ES256", "a"), key("ES256", "b")
    login.keys = [public(old), public(new)]

    async def work(tokens: UserTokens) -> None:
        assert await tokens.user_id(token(old)) == "ada"
        login.keys = [public(new)]
        monkeypatch.setattr(BOUNDS, "published_keys_retry_seconds", 0.0)
        monkeypatch.setattr(BOUNDS, "published_keys_fresh_seconds", 0.0)
        while True:
            # The withdrawn key serves until the new ones are there.
            try:
                await tokens.user_id(token(old))
            except TokenRefusedError:
                break
            await asyncio.sleep(0.01)
        assert await tokens.user_id(token(new)) == "ada"

    checking(login, work)


@pytest.mark.usefixtures("soon")
def test_who_has_a_known_key_does_not_wait_for_a_server_that_hangs(
    login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = key("ES256", "a"), key("ES256", "b")
    login.keys = [public(one)]

    async def work(tokens: UserTokens) -> None:
        assert await tokens.user_id(token(one)) == "ada"
        login.hang(hangs=True)
        # A forged one, a stranger's, and keys that are due.
        waiting = [asyncio.create_task(is_refused(tokens, token(other, kid=kid))) for kid in ("a", "b", "c")]
        monkeypatch.setattr(BOUNDS, "published_keys_fresh_seconds", 0.0)
        await asyncio.sleep(0)
        assert await tokens.user_id(token(one)) == "ada"
        assert not any(task.done() for task in waiting)
        waiting[0].cancel()
        login.hang(hangs=False)
        assert all(await asyncio.gather(*waiting[1:]))

    checking(login, work)


@pytest.mark.usefixtures("soon")
def test_a_server_that_hangs_is_given_up(login: Login, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BOUNDS, "published_keys_seconds", 0.2)
    one = key("ES256", "a")
    login.keys = [public(one)]
    login.hang(hangs=True)

    async def work(tokens: UserTokens) -> None:
        with capture_logs() as logs, pytest.raises(KeysUnavailableError):
            await tokens.user_id(token(one))
        assert [line["event"] for line in logs] == ["the keys of users' tokens cannot be fetched"]
        login.hang(hangs=False)
        monkeypatch.setattr(BOUNDS, "published_keys_seconds", 60.0)
        assert await tokens.user_id(token(one)) == "ada"

    checking(login, work)


BAD: dict[str, tuple[int, dict[str, str], bytes]] = {
    "500": (500, {}, b"{}"),
    "HTML": (200, {"Content-Type": "text/html"}, b"<!doctype html><p>Sign in"),
    "nothing": (200, {}, b""),
    "no list": (200, {}, b'{"keys":{"a":1}}'),
    "no keys": (200, {}, b'{"keys":[]}'),
    "a list": (200, {}, b"[]"),
    "no UTF-8": (200, {}, b'{"keys":["\xff"]}'),
    "nesting": (200, {}, b"[" * 100_000),
    "huge": (200, {}, b'{"keys":[' + b" " * 300_000 + b"]}"),
    "cut": (200, {"Content-Length": "1000"}, b'{"keys":['),
    "compressed": (200, {"Content-Encoding": "gzip"}, gzip.compress(b" " * 50_000_000)),
    "secrets": (
        200,
        {},
        json.dumps({"keys": [{"kty": "oct", "kid": "a", "k": base64.b64encode(b"k" * 33).decode()}]}).encode(),
    ),
}


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("kind", [*BAD, "a redirect", "gone"])
def test_old_keys_serve_on(login: Login, kind: str) -> None:
    one, other = key("ES256", "a"), key("ES256", "b")
    login.keys = [public(one)]
    good = Login()
    good.keys = [public(other)]

    async def work(tokens: UserTokens) -> None:
        assert await tokens.user_id(token(one)) == "ada"
        if kind == "gone":
            login.go()
        else:
            login.answer = BAD.get(kind, (302, {"Location": good.url}, b""))
        with capture_logs() as logs:
            assert await is_refused(tokens, token(other))
        assert [line["event"] for line in logs] == ["the keys of users' tokens cannot be fetched"]
        assert "127.0.0.1" not in str(logs)
        assert await tokens.user_id(token(one)) == "ada"
        # A published secret signs nothing.
        assert await is_refused(tokens, token(OctKey.import_key(b"k" * 33), "HS256", kid="a"))

    async def none_yet(tokens: UserTokens) -> None:
        with pytest.raises(KeysUnavailableError):
            await tokens.user_id(token(one))

    checking(login, work)
    checking(login, none_yet)
    assert not good.asked
    good.go()


def test_so_much_is_taken_of_what_is_published(login: Login, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = key("ES256", "a"), key("ES256", "b")
    login.keys = [public(one), public(other)]

    async def some(tokens: UserTokens) -> None:
        assert await tokens.user_id(token(one)) == "ada"
        assert await is_refused(tokens, token(other))

    async def none(tokens: UserTokens) -> None:
        with pytest.raises(KeysUnavailableError):
            await tokens.user_id(token(one))

    monkeypatch.setattr(BOUNDS, "published_keys", 1)
    checking(login, some)
    monkeypatch.setattr(BOUNDS, "published_keys_bytes", 100)
    checking(login, none)


def test_good_keys_beside_garbage(login: Login) -> None:
    one = key("RS256", "a")
    row = public(one)
    login.keys = [
        *(None, 1, "key", [], {}, {"kty": "RSA"}, {"kty": ["RSA"]}, {"kty": "XYZ", "kid": "a"}),
        {**row, "n": "!!!"},
        {**row, "n": "AQAB"},
        {**row, "e": ""},
        {**row, "use": "enc"},
        {**row, "alg": "RSA-OAEP"},
        {**row, "alg": 5},
        {"kty": "EC", "crv": "P-999", "x": "AA", "y": "AA", "kid": "a"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "a"},
        {"kty": "OKP", "crv": "X25519", "x": "A" * 43, "kid": "a"},
        {"kty": "oct", "k": base64.urlsafe_b64encode(b"k" * 33).decode(), "kid": "a"},
        {**row, "kid": ["a"], "alg": "RS256"},
        row,
    ]

    async def work(tokens: UserTokens) -> None:
        assert await tokens.user_id(token(one, "RS256")) == "ada"
        assert await tokens.user_id(token(one, "PS256")) == "ada"
        assert await is_refused(tokens, token(OctKey.import_key(b"k" * 33), "HS256", kid="a"))

    checking(login, work)


def test_alg_of_a_key_narrows_what_it_does(login: Login) -> None:
    one = key("RS256", "a")
    login.keys = [public(one, alg="RS256", use="sig")]

    async def work(tokens: UserTokens) -> None:
        assert await tokens.user_id(token(one, "RS256")) == "ada"
        assert await is_refused(tokens, token(one, "RS512"))

    checking(login, work)


JOSE = """
import { SignJWT, exportJWK, generateKeyPair } from "jose";
const rows = [], tokens = {};
for (const alg of ["RS256", "ES256", "EdDSA"]) {
  const { publicKey, privateKey } = await generateKeyPair(alg);
  rows.push({ ...(await exportJWK(publicKey)), kid: alg, use: "sig" });
  const jwt = new SignJWT({ email: "ada@shop.example" }).setProtectedHeader({ alg, kid: alg, typ: "JWT" });
  tokens[alg] = await jwt.setSubject("ada").setIssuer("https://a").setAudience("shop").setIssuedAt()
    .setExpirationTime("1h").sign(privateKey);
}
console.log(JSON.stringify({ rows, tokens }));
"""


@pytest.mark.npm
def test_tokens_by_jose(login: Login) -> None:
    needs_packages("jose")
    made = json.loads(run_tool(TESTS, node(), "--input-type=module", "--eval", JOSE))
    login.keys = made["rows"]

    async def work(tokens: UserTokens) -> None:
        for one in made["tokens"].values():
            assert await tokens.user_id(one) == "ada"

    checking(login, work, USER_TOKEN_ISSUER="https://a", USER_TOKEN_AUDIENCE="shop")


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("over_tls", [False, True])
def test_the_server_is_asked_through_the_proxy_of_the_settings(
    login: Login, tls: ssl.SSLContext, certificate: Path, scheme: str, over_tls: bool
) -> None:
    one = key("ES256", "a")
    login.keys = [public(one)]
    behind = f"127.0.0.1:{login.server.server_port}"
    secured = Relay(behind, tls)
    proxy = Proxy({NAME: behind, f"{NAME}:443": f"127.0.0.1:{secured.port}"}, tls if over_tls else None)

    async def work(tokens: UserTokens) -> None:
        assert await tokens.user_id(token(one)) == "ada"

    way = {f"{scheme.upper()}_PROXY": proxy.url, "SSL_CERT_FILE": str(certificate)}
    checking(login, work, USER_TOKEN_JWKS_URL=f"{scheme}://{NAME}/jwks", **way)
    assert len(login.asked) == len(proxy.heads) == 1
    assert CREDENTIALS in proxy.heads[0].decode()
    assert ("proxy-authorization" in login.asked[0]) is (scheme == "http")
    for server in (proxy, secured):
        server.close()


def test_a_server_of_another_name_is_not_trusted(login: Login, tls: ssl.SSLContext, certificate: Path) -> None:
    one = key("ES256", "a")
    login.keys = [public(one)]
    secured = Relay(f"127.0.0.1:{login.server.server_port}", tls)

    async def work(tokens: UserTokens) -> None:
        assert await tokens.user_id(token(one)) == "ada"

    trust = {"SSL_CERT_FILE": str(certificate)}
    checking(login, work, USER_TOKEN_JWKS_URL=f"https://localhost:{secured.port}/", **trust)
    for host, env in (("127.0.0.1", trust), ("localhost", {})):
        with pytest.raises(KeysUnavailableError):
            checking(login, work, USER_TOKEN_JWKS_URL=f"https://{host}:{secured.port}/", **env)
    secured.close()
    assert len(login.asked) == 1
