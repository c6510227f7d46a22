"""Every setting, declared once and read once at start-up; nothing else in the service reads the environment.

`SETTINGS` lists the variables. A test checks docs/settings.md against it.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, overload

from service.settings import values as parse
from service.settings.env_file import Binding, read_bindings
from service.settings.names import nearly, same_letters

T = TypeVar("T")


class SettingsError(Exception):
    """A missing or bad variable. The text is one line for the operator and never holds a secret's value."""


class Setting(NamedTuple):
    """A variable. `default` is None if it has none; `parse` raises ValueError, saying what the variable takes."""

    name: str
    default: str | None
    parse: Callable[[str], Any]
    help: str
    secret: bool
    unit: str


@overload
def setting(default: str, parse: Callable[[str], T], help_: str, *, secret: bool = False, unit: str = "") -> T: ...
@overload
def setting(
    default: None, parse: Callable[[str], T], help_: str, *, secret: bool = False, unit: str = ""
) -> T | None: ...
def setting(
    default: str | None, parse: Callable[[str], Any], help_: str, *, secret: bool = False, unit: str = ""
) -> Any:
    """Declares a field of Settings together with its variable. `parse` must return the field's type."""
    return field(metadata={"default": default, "parse": parse, "help": help_, "secret": secret, "unit": unit})


# fmt: off
@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The values of all settings. Each variable is called as its field in upper case."""

    coze_api_token: str | None = setting(
        None, parse.token, "The Coze access token (personal `pat_…` or service `sat_…`).", secret=True)
    # A path is no secret, but a token may have been put here by mistake.
    coze_api_token_file: Path | None = setting(  # noqa: RUF009 - it makes a field
        None, parse.token_file, "Or a file that holds the token; it is read again when it changes.", secret=True)
    coze_jwt_oauth_client_id: str | None = setting(
        None, parse.coze_id,
        "Or, to have tokens fetched and renewed: the id of a Service-type OAuth app,")
    coze_jwt_oauth_public_key_id: str | None = setting(None, parse.coze_id, "the fingerprint of its public key,")
    coze_jwt_oauth_private_key: str | None = setting(
        None, parse.private_key, "and its private key in PEM; line breaks may be written as `\\n`.", secret=True)
    # The key itself, read from the file that the variable names.
    coze_jwt_oauth_private_key_file: str | None = setting(
        None, parse.private_key_file, "Or a file that holds the private key.", secret=True)
    coze_api_base: str = setting(
        "https://api.coze.cn", parse.url,
        "Coze's address: `https://api.coze.cn`, `https://api.coze.com`, or that of a self-hosted Coze Studio.")
    coze_bot_id: str | None = setting(None, parse.coze_id, "The bot of a chat that names none.")
    bots: tuple[tuple[str, str], ...] = setting(
        "", parse.bots,
        "The bots that are served, besides `COZE_BOT_ID`, and their names here: `name:bot_id`, separated by commas. "
        "Without it, any bot is.")
    coze_user_id: str | None = setting(
        None, parse.text, "A user id to suggest to frontends; shown in `/api/v1/config`.")
    host: str = setting("0.0.0.0", parse.host, "The address to listen on.")  # noqa: S104 - the documented default
    port: int = setting("2026", parse.whole(0, 65535), "The port to listen on; 0 takes a free one.")
    pid_file: Path | None = setting(  # noqa: RUF009 - it makes a field
        None, parse.file,
        "A file for the process id, locked while the service runs; a second service with the same file does not start.")
    ready_file: Path | None = setting(  # noqa: RUF009 - it makes a field
        None, parse.file,
        "A file of two lines: the address, while connections are accepted, and the most seconds that a stop takes.")
    enable_rate_limit: bool = setting(
        "true", parse.flag, "Limit the calls of each API key, or else of each client address.")
    rate_limit_requests: int = setting("100", parse.whole(1, 1_000_000), "Calls that are allowed per window.")
    rate_limit_window: int = setting("60", parse.whole(1, 86_400), "Length of the window.", unit="seconds")
    rate_limit_storage: str = setting(
        parse.AUTO, parse.limit_storage,
        "Where calls are counted: in each process (`memory://`), or in a shared store at "
        "`redis://…`, `rediss://…`, `valkey://…`, `valkeys://…`; `auto` is `STORE` if that is such a store, else "
        "`memory://`.",
        secret=True)
    forwarded_allow_ips: tuple[str, ...] = setting(
        "", parse.networks,
        "Proxies whose `Forwarded` and `X-Forwarded-…` are trusted: addresses or networks, separated by commas; "
        "`*` is all.")
    api_keys: tuple[tuple[str, bytes], ...] = setting(
        "", parse.api_keys,
        "API keys that are accepted: `name:hash` as `python -m service --new-api-key name` prints it, "
        "separated by commas.",
        secret=True)
    cors_allow_origins: tuple[str, ...] = setting(
        "*", parse.origins,
        "Websites and apps that may call: origins such as `https://shop.example` or `capacitor://localhost`, "
        "separated by commas; `*` is all.")
    user_token_secret: str | None = setting(
        None, parse.text, "The secret (HS256, 32 bytes or more) that your own login signs users' tokens with.",
        secret=True)
    # No secret, but a private key may have been put here by mistake.
    user_token_public_key: str | None = setting(
        None, parse.public_key,
        "Or its public key in PEM (RS256, ES256 or EdDSA by its kind); line breaks may be written as `\\n`.",
        secret=True)
    # The key itself, read from the file that the variable names.
    user_token_public_key_file: str | None = setting(
        None, parse.public_key_file, "Or a file that holds the public key.", secret=True)
    user_token_jwks_url: str | None = setting(
        None, parse.jwks_url,
        "Or the address of its public keys, such as `https://login.example/.well-known/jwks.json`.", secret=True)
    user_token_issuer: str | None = setting(None, parse.text, "The `iss` that tokens must have.")
    user_token_audience: str | None = setting(None, parse.text, "The `aud` that tokens must have.")
    user_token_claim: str = setting("sub", parse.text, "The claim that holds the user's id.")
    visitors: bool | None = setting(
        "auto", parse.flag_or_auto,
        "Give tokens to visitors without a login; `auto` does unless `API_KEYS`, a key of users' tokens or `STORE=off` "
        "is set.")
    visitor_token_lifetime: int = setting(
        "15552000", parse.whole(60, 10 ** 9), "How long a visitor's token is valid.", unit="seconds")
    environment: str = setting(
        "production", parse.text, "What you call this installation; shown in `/api/v1/config`.")
    playground: bool = setting("true", parse.flag, "Serve the page to chat on at `/playground`.")
    log_level: str = setting("INFO", parse.log_level, "`DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`.")
    log_format: str = setting(
        "auto", parse.one_of("auto", "json", "console"),
        "`json`, `console` to read it yourself, or `auto`: `console` on a terminal, else `json`.")
    no_color: bool = setting("", bool, "Set to anything: no colours on a terminal.")
    metrics: bool = setting("true", parse.flag, "Serve metrics for Prometheus at `/metrics`.")
    metrics_port: int | None = setting(
        None, parse.whole(0, 65535), "Serve them on this port instead; 0 takes a free one.")
    otel_exporter_otlp_endpoint: str | None = setting(
        None, parse.url,
        "The OpenTelemetry collector to send traces to, such as `http://127.0.0.1:4318`.")
    otel_exporter_otlp_traces_endpoint: str | None = setting(
        None, parse.url, "Or the full URL for traces, including `/v1/traces`.")
    otel_exporter_otlp_protocol: str = setting(
        "http/protobuf", parse.one_of("http/protobuf"), "The OTLP protocol.")
    otel_traces_exporter: str = setting("otlp", parse.one_of("otlp", "none"), "`none` disables tracing.")
    otel_sdk_disabled: bool = setting("false", parse.flag, "`true` disables tracing, too.")
    coze_connect_timeout: float = setting(
        "5", parse.number(0.01, 3600), "Time limit to connect to Coze.", unit="seconds")
    coze_first_event_timeout: float = setting(
        "60", parse.number(0.01, 3600), "Time limit until Coze begins to answer a chat.", unit="seconds")
    coze_event_timeout: float = setting(
        "120", parse.number(0.01, 3600), "Longest silence of Coze within a chat.", unit="seconds")
    coze_chat_timeout: float = setting(
        "600", parse.number(0.01, 86_400), "Time limit for a whole chat.", unit="seconds")
    coze_request_timeout: float = setting(
        "15", parse.number(0.01, 3600), "Time limit for any other call to Coze.", unit="seconds")
    coze_upload_timeout: float = setting(
        "120", parse.number(0.01, 3600), "Time limit to pass an uploaded file on to Coze.", unit="seconds")
    heartbeat_interval: float = setting(
        "15", parse.number(0.01, 3600), "Silence in a stream before a comment line is sent.", unit="seconds")
    health_interval: float = setting(
        "5", parse.number(0, 3600), "How long `/health` caches Coze's answer.", unit="seconds")
    request_body_timeout: float = setting(
        "30", parse.number(0.01, 3600),
        "How long a client may pause while it sends, or send less than 500 bytes a second.", unit="seconds")
    answer_idle_seconds: int = setting(
        "120", parse.whole(1, 86400),
        "How long an answer that outlives its connection is kept while nobody follows it: one that still runs is then "
        "stopped, one that is over is forgotten.", unit="seconds")
    shutdown_grace: float = setting(
        "30", parse.number(0, 3600), "How long running chats may go on at a stop.", unit="seconds")
    store: str | None = setting(
        ".data", parse.store,
        "Where users' conversations are remembered: in a folder, for one machine; on a server that several share, and "
        "answers that outlive their connection with them, at `redis://…`, `rediss://…`, `valkey://…`, `valkeys://…`; "
        "or `off`.",
        secret=True)
    conversation_lifetime: int = setting(
        "15552000", parse.whole(60, 10 ** 9),
        "How long a conversation is kept after its last turn. Coze keeps it for 180 days.", unit="seconds")
    file_store: str | None = setting(
        ".files", parse.file_store,
        "Where uploads are kept for their `file_url`: a folder, `s3://bucket/prefix`, or `off`.")
    file_store_max_bytes: int = setting(
        "1073741824", parse.whole(1024 ** 2, 10 ** 15 - 1),
        "The most that they may take in all; the oldest are removed first.", unit="bytes")
    file_lifetime: int = setting(
        "604800", parse.whole(1, 10 ** 9), "How long a file and its link live.", unit="seconds")
    public_base_url: str | None = setting(
        None, parse.url,
        "The base of links to files, such as `https://api.example.com`; "
        "by default the address that the request used.")
    aws_access_key_id: str | None = setting(
        None, parse.word, "For S3. Credentials that are not set here are looked up as by AWS's own tools.", secret=True)
    aws_secret_access_key: str | None = setting(None, parse.word, "The key's secret.", secret=True)
    aws_session_token: str | None = setting(None, parse.word, "The token of temporary credentials.", secret=True)
    aws_region: str | None = setting(None, parse.word, "The bucket's region.")
    aws_endpoint_url: str | None = setting(None, parse.url, "Address of the S3 server, if it is not AWS.")
    max_concurrent_chats: int = setting(
        "1000", parse.whole(1, 100_000), "Chats at once in each process; further ones are answered 503.")
    max_concurrent_uploads: int = setting(
        "64", parse.whole(1, 10_000),
        "Uploads at once in each process; further ones are answered 503. Each takes "
        "up to 11 MiB of the temporary folder.")
    workers: int = setting("1", parse.whole(1, 64), "Processes that share the port.")
    # Judged where they matter for the way to Coze (service/coze/http/route.py): they are for other programs, too.
    https_proxy: str | None = setting(
        None, str,
        "The proxy to an `https://` Coze, such as `http://user:password@proxy.example:3128`. All four also work in "
        "lower case, which comes first.", secret=True)
    http_proxy: str | None = setting(None, str, "The proxy to an `http://` Coze.", secret=True)
    all_proxy: str | None = setting(None, str, "The proxy if the one above is not set.", secret=True)
    no_proxy: str | None = setting(
        None, str,
        "Where no proxy is used: hosts (and those below them), addresses, networks, each with a port or without, "
        "separated by commas; `*` is everywhere.")
    ssl_cert_file: str | None = setting(
        None, str, "Trusted certificates in place of the system's: a file in PEM,")
    ssl_cert_dir: str | None = setting(
        None, str, "and folders of hashed ones. If there are none at all, certifi's are used.")
    # No variable: the command's option.
    sandbox: bool = False

    @property
    def tracing(self) -> bool:
        wanted = self.otel_exporter_otlp_endpoint or self.otel_exporter_otlp_traces_endpoint
        return bool(wanted) and self.otel_traces_exporter == "otlp" and not self.otel_sdk_disabled

    @property
    def has_user_tokens(self) -> bool:
        """Whether a user's own token, or an API key, is asked for."""
        return any(getattr(self, name.lower()) is not None for name in USER_TOKEN_SETTINGS)

    @property
    def has_visitors(self) -> bool:
        """Whether visitors get tokens: if nothing is said, where nobody is asked for anything else."""
        if self.visitors is None:
            return not self.api_keys and not self.has_user_tokens and self.store is not None
        return self.visitors

    @property
    def aws(self) -> dict[str, str]:
        """The AWS settings that are set, by their names."""
        names = (setting.name.lower() for setting in SETTINGS if setting.name.startswith("AWS_"))
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def __repr__(self) -> str:
        return f"<Settings for {self.coze_api_base}>"
# fmt: on


SETTINGS = tuple(Setting(one.name.upper(), **one.metadata) for one in fields(Settings) if one.metadata)

_NAMES = [setting.name for setting in SETTINGS]
_JWT = tuple(setting.name for setting in SETTINGS if setting.name.startswith("COZE_JWT_OAUTH_"))
# All variables that configure a token, in three ways that exclude each other.
TOKEN_SETTINGS = ("COZE_API_TOKEN", "COZE_API_TOKEN_FILE", *_JWT)
# All variables that configure the keys of users' tokens, in ways that exclude each other.
USER_TOKEN_SETTINGS = "USER_TOKEN_SECRET", "USER_TOKEN_PUBLIC_KEY", "USER_TOKEN_PUBLIC_KEY_FILE", "USER_TOKEN_JWKS_URL"
PROXY_SETTINGS = tuple(setting.name for setting in SETTINGS if setting.name.endswith("_PROXY"))
# Names that resemble variables of other programs, such as FTP_PROXY.
_COMMON = {*PROXY_SETTINGS, "SSL_CERT_FILE", "SSL_CERT_DIR"}


def _check_ways_to_a_token(given: set[str]) -> None:
    """Raises SettingsError unless the variables in `given` configure exactly one way to a token, completely."""
    client_id, public_key_id, key, key_file = _JWT
    others = f"COZE_API_TOKEN_FILE, or {client_id} with {public_key_id} and {key} (or {key_file})"
    jwt = [name for name in _JWT if name in given]
    ways = [name for name in TOKEN_SETTINGS[:2] if name in given] + jwt[:1]
    if not ways:
        raise SettingsError(f"COZE_API_TOKEN is required, or {others}.")
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
            raise SettingsError(f".env sets what is no setting in line {line}; {meant} may be meant.")
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
