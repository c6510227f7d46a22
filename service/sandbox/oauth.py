"""How a service app gets its tokens: it proves with a signed JWT, good for once, that it has the app's private key."""

from __future__ import annotations

import asyncio
import json
import secrets
import time

from aiohttp import web
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from .history import Json
from .wire import LOGID, BindError, dump, json_object
from .world import WORLD

PATH = "/api/permission/oauth2/token"
GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
MOST_SECONDS = 86_399


class Denied(Exception):
    """Ends a request with the endpoint's own error body: `error` is its word, `message` says more."""

    def __init__(self, error: str, message: str = "", status: int = 400) -> None:
        super().__init__(error)
        self.error = error
        self.message = message
        self.status = status


async def token(request: web.Request) -> web.Response:
    """POST /api/permission/oauth2/token; `expires_in` of the answer is a point in time, in Unix seconds."""
    dials = request.app[WORLD].dials
    await asyncio.sleep(dials.oauth_delay_seconds)
    try:
        seconds = await _asked_seconds(request)
        _check(request)
    except Denied as denied:
        error = {"error": "", "error_code": denied.error, "error_message": denied.message}
        return _answer(request, error, denied.status)
    given = f"czs_{secrets.token_urlsafe(48)}"
    ends = int(time.time() + min(seconds, dials.oauth_most_seconds))
    request.app[WORLD].tokens.put(given, ends)
    expires_in = ends if dials.oauth_expires_in == "right" else dials.oauth_expires_in
    return _answer(request, {"access_token": given, "expires_in": expires_in, "token_type": "Bearer"})


def is_good(request: web.Request, token: str) -> bool:
    """Whether a token was given here, still lives, and has not been revoked."""
    ends = request.app[WORLD].tokens.get(token)
    return ends is not None and time.time() < ends


async def revoke(request: web.Request) -> web.Response:
    """POST /sandbox/revoke: no token given so far is good any more."""
    request.app[WORLD].tokens.clear()
    return web.Response(body=dump({}), content_type="application/json")


def _answer(request: web.Request, body: Json, status: int = 200) -> web.Response:
    body["detail"] = {"logid": request[LOGID]}
    return web.Response(body=dump(body), status=status, content_type="application/json")


async def _asked_seconds(request: web.Request) -> float:
    try:
        body = await json_object(request)
    except BindError as error:
        raise Denied("invalid_request", error.msg) from None
    if body.get("grant_type") != GRANT_TYPE:
        raise Denied("unsupported_grant_type", f"not supported grant type: {body.get('grant_type')}")
    seconds = body.get("duration_seconds") or 900
    if not isinstance(seconds, int) or not 0 < seconds <= MOST_SECONDS:
        raise Denied("invalid_request", "invalid request: duration_seconds")
    return seconds


def _check(request: web.Request) -> None:
    """Raises Denied unless the request carries a JWT as Coze wants it. Of its signature only where a key is known."""
    world = request.app[WORLD]
    scheme, _, proof = request.headers.get("Authorization", "").partition(" ")
    try:
        if scheme != "Bearer":
            raise ValueError
        if world.dials.oauth_public_key:
            signed = jwt.decode(proof, RSAKey.import_key(world.dials.oauth_public_key), algorithms=["RS256"])
            header, claims = signed.header, signed.claims
        else:
            unsigned = jws.extract_compact(proof.encode())
            header, claims = unsigned.headers(), json.loads(unsigned.payload)
            if not isinstance(claims, dict):
                raise ValueError
    except (JoseError, ValueError):
        raise Denied("invalid_client", "the JWT is not valid", 401) from None
    now = time.time()
    iat, exp, jti = claims.get("iat"), claims.get("exp"), claims.get("jti")
    wrong = {
        "alg": header.get("alg") != "RS256",
        "typ": header.get("typ") != "JWT",
        "kid": not _is_text(header.get("kid")),
        "iss": not _is_text(claims.get("iss")),
        "aud": claims.get("aud") != request.host,
        # A clock may be a minute wrong.
        "iat": not isinstance(iat, int) or iat > now + 60,
        "exp": not isinstance(exp, int) or not isinstance(iat, int) or exp <= max(iat, now),
        "jti": not _is_text(jti) or world.jtis.get(str(jti)) is not None,
    }
    for name, is_wrong in wrong.items():
        if is_wrong:
            raise Denied("invalid_client", f"the JWT's {name} is not valid", 401)
    world.jtis.put(str(jti), True)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def key_is_good(pem: object) -> bool:
    """Whether a dial's value is an RSA key in PEM, or empty for none."""
    try:
        return isinstance(pem, str) and (pem == "" or bool(RSAKey.import_key(pem)))
    except (JoseError, ValueError):
        return False
