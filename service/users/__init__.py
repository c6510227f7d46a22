"""Who the user is: tokens that prove it, and the keys that check them.

tokens.py   tokens of the frontend's own login, and those of visitors
keys.py     the keys: one from the settings, or those that a server publishes
"""

from service.coze.http import route_to
from service.settings import Settings, SettingsError
from service.users.keys import (
    BadKeyError,
    FixedKey,
    JwksKeys,
    KeySource,
    KeysUnavailableError,
    public_key,
    secret_key,
)
from service.users.tokens import TokenRefusedError, UserTokens, Visitor, Visitors

__all__ = ["KeysUnavailableError", "TokenRefusedError", "UserTokens", "Visitor", "Visitors", "user_tokens"]


def user_tokens(settings: Settings) -> UserTokens | None:
    """The checker of users' tokens, None if the settings ask for none. Raises SettingsError for a bad key."""
    source = _key_source(settings)
    if source is None:
        return None
    return UserTokens(
        source,
        claim=settings.user_token_claim,
        issuer=settings.user_token_issuer,
        audience=settings.user_token_audience,
    )


def _key_source(settings: Settings) -> KeySource | None:
    if url := settings.user_token_jwks_url:
        return JwksKeys(url, route_to(url, settings))
    for name, given, made in (
        ("USER_TOKEN_SECRET", settings.user_token_secret, secret_key),
        ("USER_TOKEN_PUBLIC_KEY", settings.user_token_public_key, public_key),
        ("USER_TOKEN_PUBLIC_KEY_FILE", settings.user_token_public_key_file, public_key),
    ):
        if given is not None:
            try:
                return FixedKey(made(given))
            except BadKeyError as error:
                raise SettingsError(f"{name} takes {error}, and its value is not that.") from None
    return None
