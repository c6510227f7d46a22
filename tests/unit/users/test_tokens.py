"""Users' tokens: what proves a user, and every way that is known to pretend one."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt as pyjwt
import pytest
from joserfc import jwe, jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from service.bounds import BOUNDS
from service.settings import SettingsError, read
from service.users import TokenRefusedError, UserTokens, Visitors, user_tokens
from service.users.keys import FixedKey, VerifyingKey, public_key, secret_key

# The library that signs here warns of EdDSA, whose new name tokens do not have yet.
pytestmark = pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")

SECRET = "a secret of thirty-two bytes or more"
RSA, EC, ED = RSAKey.generate_key(2048), ECKey.generate_key("P-256"), OKPKey.generate_key("Ed25519")
KEYS: dict[str, Any] = {"HS256": OctKey.import_key(SECRET), "RS256": RSA, "ES256": EC, "EdDSA": ED}
NOW = int(time.time())


@pytest.fixture(autouse=True)
def _standing_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests are about times before and after NOW, however long it is since they were collected."""
    monkeypatch.setattr(time, "time", lambda: NOW)


CLAIMS = {"sub": "ada", "exp": NOW + 3600}


def pem(key: Any) -> str:
    text: str = key.as_pem(private=False).decode()
    return text


def known(alg: str) -> VerifyingKey:
    return secret_key(SECRET) if alg == "HS256" else public_key(pem(KEYS[alg]))


def signed(claims: dict[str, Any], alg: str = "HS256", key: Any = None, **header: Any) -> str:
    return jwt.encode({"alg": alg, **header}, claims, key or KEYS[alg], algorithms=[alg])


def segment(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def by_hand(header: object, payload: object, secret: bytes = SECRET.encode()) -> str:
    """A token with these texts or values, signed with HMAC whatever the header says."""
    content = f"{segment(header)}.{segment(payload)}"
    return f"{content}.{segment(hmac.digest(secret, content.encode(), hashlib.sha256))}"


def user(token: str, alg: str = "HS256", **checks: Any) -> str:
    given: dict[str, Any] = {"claim": "sub", "issuer": None, "audience": None, **checks}
    return asyncio.run(UserTokens(FixedKey(known(alg)), **given).user_id(token))


def refusal(token: str, alg: str = "HS256", **checks: Any) -> str:
    with pytest.raises(TokenRefusedError) as caught:
        user(token, alg, **checks)
    return str(caught.value)


@pytest.mark.parametrize("alg", KEYS)
def test_a_good_token_proves_its_user(alg: str) -> None:
    assert user(signed(CLAIMS, alg), alg) == "ada"
    assert user(by_hand({"alg": "HS256"}, CLAIMS)) == "ada"
    assert user(signed(CLAIMS, alg, kid="any", x5c=["A" * 3000], typ="at+jwt"), alg) == "ada"
    # Some logins add what is no standard's.
    assert user(by_hand({"alg": "HS256", "nonce": "a"}, CLAIMS)) == "ada"


@pytest.mark.parametrize("alg", KEYS)
def test_a_token_by_pyjwt(alg: str) -> None:
    key = SECRET if alg == "HS256" else KEYS[alg].as_pem(private=True).decode()
    claims = {"sub": "ada", "exp": datetime.now(UTC) + timedelta(hours=1), "iss": "https://a", "aud": ["shop"]}
    token = pyjwt.encode(claims, key, algorithm=alg, headers={"kid": "a"})
    assert user(token, alg, issuer="https://a", audience="shop") == "ada"


@pytest.mark.parametrize("alg", ["none", "None", "nOnE", "NONE", "", None, 0, ["HS256"], {"HS256": 1}, "hs256"])
@pytest.mark.parametrize("key", ["HS256", "RS256"])
def test_no_word_for_none_is_an_algorithm(alg: object, key: str) -> None:
    content = f"{segment({'alg': alg})}.{segment(CLAIMS)}"
    for signature in ("", "AAAA", by_hand({"alg": alg}, CLAIMS).rpartition(".")[2]):
        refusal(f"{content}.{signature}", key)
    refusal(f"{segment({'typ': 'JWT'})}.{segment(CLAIMS)}.AAAA", key)


@pytest.mark.parametrize("alg", ["RS256", "ES256", "EdDSA"])
def test_a_public_key_is_nobodys_secret(alg: str) -> None:
    key = KEYS[alg]
    texts = [
        pem(key).encode(),
        pem(key).strip().encode(),
        key.as_der(private=False),
        json.dumps(key.as_dict()).encode(),
    ]
    for text in texts:
        for claimed in ("HS256", "HS384", "HS512", alg):
            refusal(by_hand({"alg": claimed, "typ": "JWT"}, CLAIMS, text), alg)


def test_a_key_does_what_it_is_for_and_nothing_else() -> None:
    for alg in ("RS384", "RS512", "PS256"):
        refusal(signed(CLAIMS, alg, RSA), "RS256")
    for alg in ("HS384", "HS512"):
        refusal(signed(CLAIMS, alg, KEYS["HS256"]), "HS256")
    for mine in KEYS:
        for other in KEYS.keys() - {mine}:
            refusal(signed(CLAIMS, other), mine)
    refusal(signed(CLAIMS, "RS256", RSAKey.generate_key(2048)), "RS256")
    refusal(signed(CLAIMS, "HS256", OctKey.import_key("x" * 32)), "HS256")


def test_a_key_that_the_token_brings_along_is_not_believed() -> None:
    theirs = RSAKey.generate_key(2048)
    for header in ({"jwk": theirs.as_dict(private=False)}, {"jku": "http://127.0.0.1:9/"}, {"x5u": "http://a/"}):
        refusal(signed(CLAIMS, "RS256", theirs, **header), "RS256")


@pytest.mark.parametrize("seconds", [3600, 3600.5, 10**30, -30])
def test_until_when(seconds: float) -> None:
    assert user(signed({"sub": "ada", "exp": NOW + seconds})) == "ada"


@pytest.mark.parametrize("seconds", [-90, -3600.5, -(10**30)])
def test_an_end_that_is_past(seconds: float) -> None:
    assert "exp" in refusal(signed({"sub": "ada", "exp": NOW + seconds}))


@pytest.mark.parametrize("exp", ["9999999999", "", None, True, [9999999999], {"a": 1}, float("nan"), float("inf")])
def test_an_end_that_is_none(exp: object) -> None:
    refusal(by_hand({"alg": "HS256"}, {"sub": "ada", "exp": exp}))


@pytest.mark.parametrize("exp", ["1e999", "1" + "0" * 5000, "-1e999", "0x7fffffff"])
def test_an_end_that_is_no_number_of_this_world(exp: str) -> None:
    refusal(by_hand({"alg": "HS256"}, b'{"sub":"ada","exp":%s}' % exp.encode()))


def test_a_token_without_an_end_is_none() -> None:
    assert "exp" in refusal(signed({"sub": "ada"}))


def test_from_when() -> None:
    assert user(signed({**CLAIMS, "nbf": NOW + 30, "iat": NOW + 30})) == "ada"
    for claim in ("nbf", "iat"):
        assert claim in refusal(signed({**CLAIMS, claim: NOW + 120}))
        values: list[object] = ["0", True, [], float("nan")]
        for value in values:
            refusal(by_hand({"alg": "HS256"}, {**CLAIMS, claim: value}))


@pytest.mark.parametrize("claim", ["iss", "aud"])
def test_issuer_and_audience(claim: str) -> None:
    checks = {"issuer" if claim == "iss" else "audience": "https://shop.example"}
    good = {**CLAIMS, claim: "https://shop.example"}
    assert user(signed(good), **checks) == "ada"
    for value in ("https://shop.example/", "HTTPS://SHOP.EXAMPLE", "", None, 1, {"https://shop.example": 1}):
        assert claim in refusal(signed({**CLAIMS, claim: value}), **checks)
    assert claim in refusal(signed(CLAIMS), **checks)
    # Without the setting any is good.
    assert user(signed(good)) == "ada"


def test_a_token_may_have_several_audiences_but_one_issuer() -> None:
    both = ["other", "shop"]
    assert user(signed({**CLAIMS, "aud": both}), audience="shop") == "ada"
    for audience in ([], ["other"], ["shop", 1], [["shop"]]):
        refusal(signed({**CLAIMS, "aud": audience}), audience="shop")
    refusal(signed({**CLAIMS, "iss": both}), issuer="shop")


@pytest.mark.parametrize("user_id", ["a", "x" * 255, "名字@例子", "auth0|5f7c", "👩‍👩‍👧", " "])
def test_ids_that_people_have(user_id: str) -> None:
    assert user(signed({**CLAIMS, "sub": user_id})) == user_id


@pytest.mark.parametrize(
    "user_id", ["", "x" * 256, "x" * 257, None, True, False, 1.5, ["ada"], {"id": "ada"}, "\ud83d", "a\udc00"]
)
@pytest.mark.parametrize("claim", ["sub", "uid"])
def test_what_is_no_id(user_id: object, claim: str) -> None:
    refusal(by_hand({"alg": "HS256"}, {**CLAIMS, "sub": "ada", claim: user_id}), claim=claim)


def test_another_claim_may_name_the_user_also_by_number() -> None:
    assert user(signed({"exp": NOW + 60, "uid": 42}), claim="uid") == "42"
    assert user(signed({"exp": NOW + 60, "https://shop.example/id": "a"}), claim="https://shop.example/id") == "a"
    refusal(signed({"exp": NOW + 60, "uid": 10**300}), claim="uid")
    refusal(signed(CLAIMS), claim="uid")
    # The standard makes `sub` a text (RFC 7519, section 4.1.2).
    refusal(by_hand({"alg": "HS256"}, {**CLAIMS, "sub": 42}))


@pytest.mark.parametrize(
    "header",
    [{"crit": ["exp"], "exp": 1}, {"crit": []}, {"crit": None}, {"crit": ["b64"], "b64": False}, {"crit": "x"}],
)
def test_what_must_be_understood_is_refused(header: dict[str, Any]) -> None:
    refusal(by_hand({"alg": "HS256", **header}, CLAIMS))


def test_a_payload_that_is_not_encoded_is_refused() -> None:
    content = f"{segment({'alg': 'HS256', 'b64': False})}.{json.dumps(CLAIMS)}"
    refusal(f"{content}.{segment(hmac.digest(SECRET.encode(), content.encode(), hashlib.sha256))}")


def odd_forms() -> dict[str, str]:
    good = signed(CLAIMS)
    header, payload, signature = good.split(".")
    return {
        "empty": "",
        "a word": "token",
        "two segments": f"{header}.{payload}",
        "no signature": f"{header}.{payload}.",
        "no payload": f"{header}..{signature}",
        "four segments": f"{good}.{signature}",
        "five segments": f"{good}.{signature}.{signature}",
        "padding": f"{good}=",
        "a line end": f"{good}\n",
        "a blank": f" {good}",
        "a blank within": f"{header} .{payload}.{signature}",
        "the other alphabet": by_hand({"alg": "HS256"}, {**CLAIMS, "x": "?~?~?~"}).replace("_", "/").replace("-", "+"),
        "not ASCII": f"{header}.{payload}.{signature}é",
        "wide digits": f"{header}.{payload}.１{signature}",
        "100 kB": by_hand({"alg": "HS256"}, {**CLAIMS, "x": "x" * 75_000}),
        "a header of 100 kB": by_hand({"alg": "HS256", "x": "x" * 75_000}, CLAIMS),
        "100 kB of dots": "." * 100_000,
        "nesting in the header": by_hand(b'{"alg":"HS256","x":' + b"[" * 3000 + b"]" * 3000 + b"}", CLAIMS),
        "a broken header": by_hand(b'{"alg":"HS256"', CLAIMS),
        "a header of one letter": "A." + signed(CLAIMS).partition(".")[2],
        "nesting in the payload": by_hand({"alg": "HS256"}, b'{"exp":9999999999,"x":' + b"[" * 5000 + b"]" * 5000),
        "a list as header": by_hand(["HS256"], CLAIMS),
        "a list as payload": by_hand({"alg": "HS256"}, [CLAIMS]),
        "a text as payload": by_hand({"alg": "HS256"}, "ada"),
        "broken JSON": by_hand({"alg": "HS256"}, b'{"sub":"ada"'),
        "no UTF-8": by_hand({"alg": "HS256"}, b'{"sub":"\xff","exp":9999999999}'),
        "a name twice": by_hand({"alg": "HS256"}, b'{"sub":"ada","exp":9999999999,"sub":"bob"}'),
        "a name twice within": by_hand({"alg": "HS256"}, b'{"sub":"ada","exp":9999999999,"x":{"a":1,"a":2}}'),
        "NaN": by_hand({"alg": "HS256"}, b'{"sub":"ada","exp":NaN}'),
        "JSON serialization": json.dumps({"payload": payload, "signatures": [{"protected": header}]}),
    }


@pytest.mark.parametrize("form", odd_forms())
def test_a_form_that_is_none(form: str) -> None:
    token = odd_forms()[form]
    said = refusal(token)
    assert said.startswith(("it ", "no key ", "its "))
    assert not Visitors(SECRET.encode(), 60).are_named_by(token)


def test_how_long_a_token_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    token = signed(CLAIMS)
    monkeypatch.setattr(BOUNDS, "user_token_characters", len(token))
    assert user(token) == "ada"
    monkeypatch.setattr(BOUNDS, "user_token_characters", len(token) - 1)
    assert refusal(token) == "it is too long"


def test_an_encrypted_token_is_none() -> None:
    key = OctKey.generate_key(256)
    token = jwe.encrypt_compact({"alg": "dir", "enc": "A256GCM"}, json.dumps(CLAIMS), key)
    refusal(token)


def test_a_changed_token_is_none() -> None:
    header, payload, signature = signed(CLAIMS).split(".")
    others = segment({**CLAIMS, "sub": "bob"})
    refusal(f"{header}.{others}.{signature}")
    refusal(f"{segment({'alg': 'HS256', 'kid': 'x'})}.{payload}.{signature}")


def test_a_refusal_says_why() -> None:
    assert refusal("token") == "it is no JSON Web Token"
    assert refusal(signed(CLAIMS, key=OctKey.import_key("x" * 32))) == "no key has signed it"
    assert refusal(signed({**CLAIMS, "exp": NOW - 3600})) == "its claim exp does not hold"
    assert refusal(signed({**CLAIMS, "sub": ""})) == "it names no user"


class RenewedKeys:
    """A source whose newer keys have the one that is asked for. Notes for which key ids it is asked."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []

    async def keys(self, kid: str | None) -> list[VerifyingKey]:
        self.asked.append(kid)
        return [secret_key("an older secret of thirty-two bytes")]

    async def newer_keys(self, kid: str | None) -> list[VerifyingKey]:
        self.asked.append(kid)
        return [secret_key(SECRET)]


@pytest.mark.parametrize(
    ("header", "kid"), [({"kid": "a"}, "a"), ({}, None), ({"kid": None}, None), ({"kid": 1}, None)]
)
def test_newer_keys_are_asked_for_where_no_known_one_fits(header: dict[str, Any], kid: str | None) -> None:
    source = RenewedKeys()
    tokens = UserTokens(source, claim="sub", issuer=None, audience=None)
    with contextlib.suppress(TokenRefusedError):  # a key id is a text, says the standard
        assert asyncio.run(tokens.user_id(by_hand({"alg": "HS256", **header}, CLAIMS))) == "ada"
    assert source.asked == [kid, kid]


def test_a_refusal_quotes_nothing() -> None:
    for claims in ({"sub": "secret"}, {"sub": "secret", "exp": "secret"}, {"iss": "secret", **CLAIMS}):
        assert "secret" not in refusal(by_hand({"alg": "HS256", "kid": "secret"}, claims), issuer="a")


def test_a_visitor_is_the_same_for_as_long_as_the_token_is_valid() -> None:
    visitors = Visitors(b"s" * 32, 100)
    first, second = visitors.welcome(), visitors.welcome()
    assert first.user_id != second.user_id
    assert re.fullmatch("visitor_[0-9a-f]{32}", first.user_id)
    claims = pyjwt.decode(first.token, options={"verify_signature": False})
    assert claims == {"iss": "coze-service-visitors", "sub": first.user_id, "iat": NOW, "exp": first.expires}
    assert visitors.are_named_by(first.token)
    assert visitors.user_id(first.token) == first.user_id
    assert NOW + 100 <= first.expires <= NOW + 200


def test_nobody_else_signs_visitors() -> None:
    visitors = Visitors(b"s" * 32, 100)
    named = {"kid": "coze-service-visitors"}
    claims = {**CLAIMS, "iss": "coze-service-visitors"}
    assert visitors.user_id(by_hand({"alg": "HS256", **named}, claims, b"s" * 32)) == "ada"
    for token in (
        Visitors(b"o" * 32, 100).welcome().token,
        Visitors(b"s" * 32, -100).welcome().token,
        by_hand({"alg": "none", **named}, claims, b"s" * 32),
        by_hand({"alg": "HS256", **named}, claims, b""),
        by_hand({"alg": "HS256", **named}, CLAIMS, b"s" * 32),
        by_hand({"alg": "HS256", **named}, {**claims, "exp": None}, b"s" * 32),
        by_hand({"alg": "HS256", **named}, {"iss": "coze-service-visitors", "exp": NOW + 60}, b"s" * 32),
    ):
        assert visitors.are_named_by(token)
        with pytest.raises(TokenRefusedError):
            visitors.user_id(token)
    # Nor is a visitor a user of the login, whatever the login's secret.
    assert not visitors.are_named_by(signed(CLAIMS))
    refusal(visitors.welcome().token)


GOOD_PEMS = {
    "RSA": pem(RSA),
    "P-256": pem(EC),
    "P-384": pem(ECKey.generate_key("P-384")),
    "P-521": pem(ECKey.generate_key("P-521")),
    "Ed25519": pem(ED),
}


@pytest.mark.parametrize("kind", GOOD_PEMS)
def test_a_public_key_of_each_kind_is_taken(kind: str) -> None:
    for text in (GOOD_PEMS[kind], GOOD_PEMS[kind].replace("\n", "\\n")):
        chosen = read({"COZE_API_TOKEN": "pat_1", "USER_TOKEN_PUBLIC_KEY": text})
        assert isinstance(user_tokens(chosen), UserTokens)
    assert user_tokens(read({"COZE_API_TOKEN": "pat_1"})) is None


# 1024 bits, which today's libraries warn of.
SHORT = """-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDEl1uZUZNlrFUREP1c7qKzPNdo
jsZbvzRvlzWMrBod/57DWA8mT9iUdAYYTVfmzzybuHYxOLQdX0RQqRkOVmBYdpmp
u0fy086bQ0OGiNQAi0zpTGhVIOsBR3AhfMkBdOT4dIzNKRsmvnyxGoC7eDKwQPy+
FkHVu+rw09PY4jyO9QIDAQAB
-----END PUBLIC KEY-----"""
BAD_PEMS = {
    "a private key": RSA.as_pem(private=True).decode(),
    "a short key": SHORT,
    "a key for agreement": pem(OKPKey.generate_key("X25519")),
    "a curve of no algorithm": pem(ECKey.generate_key("secp256k1")),
    "cut": pem(RSA)[:-80],
    "a certificate": pem(RSA).replace("PUBLIC KEY", "CERTIFICATE"),
    "a secret": "PUBLIC KEY " + "s3cr3t" * 10,
    "a JWK": json.dumps(RSA.as_dict(private=False)),
}


@pytest.mark.parametrize("kind", BAD_PEMS)
def test_a_bad_key_is_named_and_not_shown(kind: str) -> None:
    with pytest.raises(SettingsError, match=r"^USER_TOKEN_PUBLIC_KEY takes a public key in PEM: .*[^\n]$") as caught:
        user_tokens(read({"COZE_API_TOKEN": "pat_1", "USER_TOKEN_PUBLIC_KEY": BAD_PEMS[kind]}))
    assert not any(line in str(caught.value) for line in BAD_PEMS[kind].splitlines() if len(line) > 30)


def test_a_short_secret_is_refused() -> None:
    for secret, good in (("s" * 31, False), ("s" * 32, True), ("秘" * 10, False), ("秘" * 11, True)):
        chosen = read({"COZE_API_TOKEN": "pat_1", "USER_TOKEN_SECRET": secret})
        if good:
            assert user_tokens(chosen) is not None
        else:
            with pytest.raises(SettingsError, match=r"^USER_TOKEN_SECRET takes at least 32 bytes, ") as caught:
                user_tokens(chosen)
            assert secret not in str(caught.value)
