"""The settings, read once at start-up; nothing else in the service reads the environment.

`table` declares them. A test checks docs/settings.md against it.
"""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from service.settings import values as parse
from service.settings.declaration import Setting
from service.settings.env_file import Binding, read_bindings
from service.settings.names import nearly, same_letters
from service.settings.table import (
    JWT_SETTINGS,
    PROXY_SETTINGS,
    SETTINGS,
    TOKEN_SETTINGS,
    USER_TOKEN_SETTINGS,
    Settings,
)

__all__ = [
    "PROXY_SETTINGS",
    "SETTINGS",
    "TOKEN_SETTINGS",
    "WORKER_PLACE",
    "Setting",
    "Settings",
    "SettingsError",
    "environment_with",
    "misnamed",
    "read",
    "read_address",
    "share_dotenv",
    "worker_place",
]

# Internal: by this variable a worker's parent tells it its place.
WORKER_PLACE = "COZE_SERVICE_WORKER_PLACE"

_NAMES = [setting.name for setting in SETTINGS]
# Names that resemble variables of other programs, such as FTP_PROXY.
_COMMON = {*PROXY_SETTINGS, "SSL_CERT_FILE", "SSL_CERT_DIR"}


class SettingsError(Exception):
    """A missing or bad variable. The text is one line for the operator and never holds a secret's value."""


def _check_ways_to_a_token(given: set[str]) -> None:
    """Raises SettingsError unless the variables in `given` configure exactly one way to a token, completely."""
    client_id, public_key_id, key, key_file = JWT_SETTINGS
    others = f"COZE_API_TOKEN_FILE, or {client_id} with {public_key_id} and {key} (or {key_file})"
    jwt = [name for name in JWT_SETTINGS if name in given]
    ways = [name for name in TOKEN_SETTINGS[:2] if name in given] + jwt[:1]
    if not ways:
        raise SettingsError(
            f"COZE_API_TOKEN is required, or {others}. Without a Coze account, --sandbox runs a simulator."
        )
    if len(ways) > 1:
        raise SettingsError(f"{' and '.join(ways)} are set, but a token can come in one way only.")
    if jwt:
        missing = [name for name in (client_id, public_key_id) if name not in given]
        missing += [] if given & {key, key_file} else [f"{key} or {key_file}"]
        if missing:
            raise SettingsError(f"{jwt[0]} is set, which also takes {' and '.join(missing)}.")
        if given >= {key, key_file}:
            raise SettingsError(f"{key} and {key_file} are set, but only one of them can be.")


def _check_user_tokens(given: set[str]) -> None:
    """Raises SettingsError if the variables in `given` configure more than one key, or what tokens need without one."""
    ways = [name for name in USER_TOKEN_SETTINGS if name in given]
    if len(ways) > 1:
        raise SettingsError(f"{' and '.join(ways)} are set, but users' tokens can be checked in one way only.")
    # Else nothing would be asked of anybody.
    if not ways and (lost := [name for name in ("USER_TOKEN_ISSUER", "USER_TOKEN_AUDIENCE") if name in given]):
        raise SettingsError(f"{lost[0]} is set, which also takes one of {', '.join(USER_TOKEN_SETTINGS)}.")


def _check_bots(bots: tuple[tuple[str, str], ...], default: str | None) -> None:
    """Raises SettingsError if the id of the default bot is the name of another one."""
    if dict(bots).get(default or "", default) != default:
        raise SettingsError("BOTS gives a bot the name that is another one's COZE_BOT_ID.")


def environment_with(overrides: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment for a child process that reads the same settings as this one with `overrides`."""
    return {**os.environ, **overrides}


def worker_place() -> str | None:
    """Returns the place of this process among the workers; None if it is none."""
    return os.environ.get(WORKER_PLACE)


def share_dotenv(prefix: str) -> None:
    """Exports the variables of `.env` that begin with `prefix`, for a library that reads the environment."""
    for name, value in _values(_dotenv(Path.cwd())).items():
        if name.startswith(prefix) and not os.environ.get(name):
            os.environ[name] = value


def misnamed() -> list[tuple[str, str]]:
    """Returns variables of the environment whose names resemble those of unset settings, with these names.

    They may be other programs'. In `.env`, which is the service's own, `read` refuses them.
    """
    unset = _unset(_dotenv(Path.cwd()))
    own = [name for name in _NAMES if name not in _COMMON]
    found = [(name, nearly(name, own)) for name, value in sorted(os.environ.items()) if value]
    return [(name, meant) for name, meant in found if meant and meant in unset]


def _dotenv(folder: Path) -> list[Binding]:
    try:
        return read_bindings(folder / ".env")
    except ValueError as error:
        raise SettingsError(str(error)) from None


def _values(dotenv: list[Binding]) -> dict[str, str]:
    """Returns the variables with a value. A later empty binding, as in an appended template, unsets nothing."""
    return {name: value for name, value, _ in dotenv if value}


def _unset(dotenv: list[Binding]) -> set[str]:
    """Returns the settings without a value in the environment and in `.env`."""
    given = {name for name, value, _ in dotenv if value} | {name for name, value in os.environ.items() if value}
    return set(_NAMES) - given - {name for name in PROXY_SETTINGS if name.lower() in given}


def _refuse_slips(dotenv: list[Binding]) -> None:
    """Raises SettingsError for a misspelt setting, which may be the one that keeps strangers out.

    If the setting itself is set, a similar name is another variable, as API_KEYS_OLD may be.
    """
    unset = _unset(dotenv)
    for name, value, line in dotenv:
        if value and (meant := same_letters(name, _NAMES) or nearly(name, _NAMES)) in unset:
            raise SettingsError(f".env names no setting in line {line}. Did you mean {meant}?")
        if unset.intersection(re.findall(r"[\s;]([A-Z_]+)=", value)):
            raise SettingsError(f".env sets more than one variable in line {line}.")
    for name, value in os.environ.items():
        if value and (meant := same_letters(name, _NAMES)) in unset:
            raise SettingsError(f"{name!a} in the environment is no setting; {meant} may be meant.")


def read(overrides: Mapping[str, str] | None = None, *, folder: Path | None = None) -> Settings:
    """Reads the settings from `overrides`, the environment, `.env` in `folder` (the working folder), or defaults.

    An empty value counts as unset; an empty one in `overrides` hides the other sources. Raises SettingsError for the
    first that is missing or bad.
    """
    overrides = overrides or {}
    bindings = _dotenv(folder or Path.cwd())
    _refuse_slips(bindings)
    dotenv = _values(bindings)
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        sources = (overrides,) if setting.name in overrides else (os.environ, dotenv)
        values[setting.name.lower()] = _read_one(setting, sources)
    given = {setting.name for setting in SETTINGS if values[setting.name.lower()] is not None}
    _check_ways_to_a_token(given)
    _check_user_tokens(given)
    _check_bots(values["bots"], values["coze_bot_id"])
    if values["rate_limit_storage"] == parse.AUTO:
        store = values["store"] or ""
        values["rate_limit_storage"] = store if "://" in store else parse.MEMORY
    return Settings(**values)


def read_address() -> tuple[str, int]:
    """Reads HOST and PORT alone, for another process. Raises SettingsError if one is bad."""
    sources = os.environ, _values(_dotenv(Path.cwd()))
    host, port = (_read_one(setting, sources) for setting in SETTINGS if setting.name in ("HOST", "PORT"))
    return host, port


# Stripped from values. Other blanks, such as a no-break space, are invisible mistakes and stay.
_BLANKS = " \t\r\n"


def _read_one(setting: Setting, sources: Iterable[Mapping[str, str]]) -> Any:
    """Parses the value of the first source that has one, else the default. Raises SettingsError if it is bad."""
    # As in curl, the lower-case name of a proxy variable comes first.
    names = (setting.name.lower(), setting.name) if setting.name in PROXY_SETTINGS else (setting.name,)
    given = (source.get(name, "").strip(_BLANKS) for source in sources for name in names)
    raw = next((text for text in given if text), setting.default)
    if raw is None:
        return None
    try:
        return setting.parse(parse.unquoted(raw))
    except ValueError as error:
        shown = "its value" if setting.secret else repr(raw if len(raw) <= 60 else raw[:60] + "…")
        unit = f" ({setting.unit})" if setting.unit else ""
        raise SettingsError(f"{setting.name} takes {error}{unit}, and {shown} is not that.") from None
