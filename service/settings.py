"""Every setting, read once at start-up; nothing else in the service reads the environment.

`SETTINGS` is the one list of variables. The README's table is checked against it by a test.
"""

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from dotenv.parser import parse_stream
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

# The value of RATE_LIMIT_STORAGE that means this process alone.
MEMORY = "memory://"
# How the holder of an API key may be called.
CALLER_NAME = "[A-Za-z0-9._-]{1,64}"


class SettingsError(Exception):
    """A variable is missing or bad. The text is one line for the operator and never holds a secret's value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings' values. Every time is in seconds. Field names are the variables' names in lower case."""

    coze_api_token: str | None
    coze_api_token_file: Path | None
    coze_jwt_oauth_client_id: str | None
    coze_jwt_oauth_public_key_id: str | None
    # Both are the key itself; the second's variable names the file that it was read from.
    coze_jwt_oauth_private_key: str | None
    coze_jwt_oauth_private_key_file: str | None
    coze_api_base: str
    coze_bot_id: str | None
    coze_user_id: str | None
    host: str
    port: int
    enable_rate_limit: bool
    rate_limit_requests: int
    rate_limit_window: int
    rate_limit_storage: str
    forwarded_allow_ips: tuple[str, ...]
    api_keys: tuple[tuple[str, bytes], ...]
    cors_allow_origins: tuple[str, ...]
    environment: str
    playground: bool
    log_level: str
    log_format: str
    no_color: bool
    metrics: bool
    metrics_port: int | None
    otel_exporter_otlp_endpoint: str | None
    otel_exporter_otlp_traces_endpoint: str | None
    otel_exporter_otlp_protocol: str
    otel_traces_exporter: str
    otel_sdk_disabled: bool
    coze_connect_timeout: float
    coze_first_event_timeout: float
    coze_event_timeout: float
    coze_chat_timeout: float
    coze_request_timeout: float
    coze_upload_timeout: float
    heartbeat_interval: float
    health_interval: float
    request_body_timeout: float
    shutdown_grace: float
    file_store: str | None
    file_store_max_bytes: int
    file_lifetime: int
    public_base_url: str | None
    aws_access_key_id: str | None
    aws_secret_access_key: str | None
    aws_session_token: str | None
    aws_region: str | None
    aws_endpoint_url: str | None
    max_concurrent_chats: int
    workers: int
    sandbox: bool = False

    @property
    def tracing(self) -> bool:
        wanted = self.otel_exporter_otlp_endpoint or self.otel_exporter_otlp_traces_endpoint
        return bool(wanted) and self.otel_traces_exporter == "otlp" and not self.otel_sdk_disabled

    @property
    def aws(self) -> dict[str, str]:
        """Those of AWS that are set, by their names."""
        names = (setting.name.lower() for setting in SETTINGS if setting.name.startswith("AWS_"))
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def __repr__(self) -> str:
        return f"<Settings for {self.coze_api_base}>"


class Setting(NamedTuple):
    """One variable: `default` is None if it has none; `parse` raises ValueError saying what the variable takes."""

    name: str
    default: str | None
    parse: Callable[[str], Any]
    help: str
    secret: bool = False


def _text(value: str) -> str:
    if not value.isprintable():
        raise ValueError("printable text on one line")
    return value


def token_of(value: str) -> str:
    """A token that is one. Raises ValueError, without the value, for anything else."""
    # A line break in a token would end up, token and all, in the text of the HTTP client's error.
    if not re.fullmatch(r"[!-~]{1,8192}", value):
        raise ValueError("a token of printable ASCII characters without spaces")
    return value


def token_of_file(path: Path) -> str:
    """The token that a file holds. Raises ValueError, without what is in it, if it holds none or cannot be read."""
    takes = "the path of a file that holds a token of printable ASCII characters"
    try:
        return token_of(_content(path).strip())
    except OSError as error:
        raise ValueError(f"{takes} ({error.strerror})") from None
    except ValueError:
        raise ValueError(takes) from None


def _token_file(value: str) -> Path:
    token_of_file(Path(value))
    return Path(value)


def _private_key(value: str) -> str:
    pem = value.replace("\\n", "\n").strip()
    try:
        good = "PRIVATE KEY" in pem and RSAKey.import_key(pem).is_private
    except (JoseError, ValueError, TypeError):
        good = False
    if not good:
        raise ValueError("an RSA private key in PEM, without a password")
    return pem


def _private_key_file(value: str) -> str:
    takes = "the path of a file that holds an RSA private key in PEM, without a password"
    try:
        return _private_key(_content(Path(value)))
    except OSError as error:
        raise ValueError(f"{takes} ({error.strerror})") from None
    except ValueError:
        raise ValueError(takes) from None


def _content(path: Path) -> str:
    """The text of a file, or so much of it as no token and no key is longer than. Raises OSError or ValueError."""
    with path.open("rb") as file:
        return file.read(65_536).decode("ascii")


def _coze_id(value: str) -> str:
    if not re.fullmatch(r"[!-~]{1,128}", value):
        raise ValueError("an id of at most 128 printable ASCII characters without spaces")
    return value


def _url(value: str) -> str:
    takes = "an http:// or https:// address without credentials, query or fragment, such as https://api.coze.cn"
    try:
        parts = urlsplit(value)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and value.isascii()
        (parts.hostname or "").encode("idna")
    except ValueError:
        raise ValueError(takes) from None
    if not good or parts.query or parts.fragment or parts.username is not None or re.search(r"\s", value):
        raise ValueError(takes)
    return value.rstrip("/")


def _file_store(value: str) -> str | None:
    """None: off."""
    if value.lower() == "off":
        return None
    bucket = r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*/?"
    if ("://" in value and not re.fullmatch(bucket, value)) or not value.isprintable():
        raise ValueError("a folder, s3://bucket, s3://bucket/prefix, or off")
    return value


def _flag(value: str) -> bool:
    match value.lower():
        case "true" | "1" | "yes" | "on":
            return True
        case "false" | "0" | "no" | "off":
            return False
    raise ValueError("true or false")


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,15}", value) or not low <= int(value) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(value)

    return parse


def _seconds(low: float, high: float) -> Callable[[str], float]:
    def parse(value: str) -> float:
        if not re.fullmatch(r"[0-9]{1,7}(\.[0-9]{1,6})?", value) or not low <= float(value) <= high:
            raise ValueError(f"a number of seconds from {low:g} to {high:g}")
        return float(value)

    return parse


def _log_level(value: str) -> str:
    if value.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"):
        raise ValueError("DEBUG, INFO, WARNING, ERROR or CRITICAL")
    return value.upper()


def _one_of(*values: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value.lower() not in values:
            raise ValueError(" or ".join(values))
        return value.lower()

    return parse


def _host(value: str) -> str:
    if not re.fullmatch(r"[0-9A-Za-z.:%_-]+", value):
        raise ValueError("a host name or an IP address, such as 0.0.0.0 or 127.0.0.1")
    return value


def _networks(value: str) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in value.split(",") if part.strip())
    for part in parts:
        try:
            part == "*" or ipaddress.ip_network(part)
        except ValueError:
            raise ValueError("IP addresses or networks separated by commas, or *") from None
    return parts


def _limit_storage(value: str) -> str:
    takes = (
        "memory://, or an address such as valkey://user:password@host:6379/0 of scheme redis, rediss, valkey or valkeys"
    )
    if value == MEMORY:
        return value
    try:
        parts = urlsplit(value)
        good = bool(parts.scheme in ("redis", "rediss", "valkey", "valkeys") and parts.hostname and parts.port != 0)
    except ValueError:
        raise ValueError(takes) from None
    plain = re.fullmatch(r"[!-~]+", value) and re.fullmatch(r"(/[0-9]{0,4})?", parts.path)
    if not good or not plain or parts.query or parts.fragment:
        raise ValueError(takes)
    return value


def _api_keys(value: str) -> tuple[tuple[str, bytes], ...]:
    # Only nothing at all means that nobody needs a key: a slip of the pen must not open the service.
    if not value:
        return ()
    keys: dict[bytes, str] = {}
    for number, part in enumerate((part.strip() for part in value.split(",")), 1):
        match = re.fullmatch(rf"(?:({CALLER_NAME}):)?([0-9A-Fa-f]{{64}})", part)
        if not match or bytes.fromhex(match[2]) in keys:
            raise ValueError("entries `name:hash` separated by commas, each hash the SHA-256 of another key in hex")
        # Two keys of one name are one caller: so a key is changed without a break.
        keys[bytes.fromhex(match[2])] = match[1] or f"key-{number}"
    return tuple((name, digest) for digest, name in keys.items())


def _origins(value: str) -> tuple[str, ...]:
    parts = tuple(part.strip().lower() for part in value.split(","))
    for part in parts:
        if part != "*" and not re.fullmatch(r"https?://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?", part):
            raise ValueError("origins such as https://shop.example separated by commas, without a path, or *")
    return parts


# fmt: off
SETTINGS = (
    Setting("COZE_API_TOKEN", None, token_of, "The Coze access token (personal `pat_…` or service `sat_…`).",
            secret=True),
    # A path is no secret, but where one is expected a token or a key may stand by mistake.
    Setting("COZE_API_TOKEN_FILE", None, _token_file, "Or a file that holds it, read again when it changes.",
            secret=True),
    Setting("COZE_JWT_OAUTH_CLIENT_ID", None, _coze_id,
            "Or no token: the id of an OAuth app of the kind service, for which tokens are fetched and renewed,"),
    Setting("COZE_JWT_OAUTH_PUBLIC_KEY_ID", None, _coze_id, "the fingerprint of its public key,"),
    Setting("COZE_JWT_OAUTH_PRIVATE_KEY", None, _private_key,
            "and its private key in PEM; line breaks may be written as `\\n`.", secret=True),
    Setting("COZE_JWT_OAUTH_PRIVATE_KEY_FILE", None, _private_key_file, "Or a file that holds that key.",
            secret=True),
    Setting("COZE_API_BASE", "https://api.coze.cn", _url,
            "Where Coze is: `https://api.coze.cn`, `https://api.coze.com`, or a Coze Studio of your own."),
    Setting("COZE_BOT_ID", None, _coze_id, "The bot of a chat that names none."),
    Setting("COZE_USER_ID", None, _text, "A user id to suggest to frontends; shown in `/api/v1/config`."),
    Setting("HOST", "0.0.0.0", _host, "The address to listen on."),  # noqa: S104 - the documented default
    Setting("PORT", "2026", _whole(0, 65535), "The port to listen on; 0 takes a free one."),
    Setting("ENABLE_RATE_LIMIT", "true", _flag, "Limit the calls of each API key, or else of each client address."),
    Setting("RATE_LIMIT_REQUESTS", "100", _whole(1, 1_000_000), "So many calls are allowed"),
    Setting("RATE_LIMIT_WINDOW", "60", _whole(1, 86_400), "in so many seconds."),
    Setting("RATE_LIMIT_STORAGE", MEMORY, _limit_storage,
            "Where calls are counted: in each process, or for all at `redis://…`, `rediss://…`, `valkey://…`, `valkeys://…`.",
            secret=True),
    Setting("FORWARDED_ALLOW_IPS", "", _networks,
            "The proxies whose `Forwarded` and `X-Forwarded-…` count: addresses or networks, separated by commas; "
            "`*` is all."),
    Setting("API_KEYS", "", _api_keys,
            "Whom to serve: `name:hash` as `python -m service --new-api-key name` makes it, separated by commas.",
            secret=True),
    Setting("CORS_ALLOW_ORIGINS", "*", _origins,
            "The websites that may call: origins such as `https://shop.example`, separated by commas; `*` is all."),
    Setting("ENVIRONMENT", "production", _text, "What you call this installation; shown in `/api/v1/config`."),
    Setting("PLAYGROUND", "true", _flag, "Serve the page to chat on at `/playground`."),
    Setting("LOG_LEVEL", "INFO", _log_level, "`DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`."),
    Setting("LOG_FORMAT", "auto", _one_of("auto", "json", "console"),
            "`json`, `console` to read it yourself, or `auto`: `console` on a terminal, else `json`."),
    Setting("NO_COLOR", "", bool, "Set to anything: no colours on a terminal."),
    Setting("METRICS", "true", _flag, "Serve figures for Prometheus at `/metrics`."),
    Setting("METRICS_PORT", None, _whole(0, 65535), "Serve them on this port instead; 0 takes a free one."),
    Setting("OTEL_EXPORTER_OTLP_ENDPOINT", None, _url,
            "Trace, and send the spans to this OpenTelemetry collector, such as `http://127.0.0.1:4318`."),
    Setting("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", None, _url, "The same as a whole address, `/v1/traces` and all."),
    Setting("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf", _one_of("http/protobuf"), "How to speak to it."),
    Setting("OTEL_TRACES_EXPORTER", "otlp", _one_of("otlp", "none"), "`none`: no traces."),
    Setting("OTEL_SDK_DISABLED", "false", _flag, "`true`: no traces, either."),
    Setting("COZE_CONNECT_TIMEOUT", "5", _seconds(0.01, 3600), "Seconds to connect to Coze."),
    Setting("COZE_FIRST_EVENT_TIMEOUT", "60", _seconds(0.01, 3600), "Seconds until Coze begins to answer a chat."),
    Setting("COZE_EVENT_TIMEOUT", "120", _seconds(0.01, 3600), "Seconds between two things Coze says in a chat."),
    Setting("COZE_CHAT_TIMEOUT", "600", _seconds(0.01, 86_400), "Seconds for a whole chat."),
    Setting("COZE_REQUEST_TIMEOUT", "15", _seconds(0.01, 3600), "Seconds for any other call to Coze."),
    Setting("COZE_UPLOAD_TIMEOUT", "120", _seconds(0.01, 3600), "Seconds to hand an uploaded file on to Coze."),
    Setting("HEARTBEAT_INTERVAL", "15", _seconds(0.01, 3600), "Seconds of silence in a stream before a comment line."),
    Setting("HEALTH_INTERVAL", "5", _seconds(0, 3600), "Seconds for which `/health` repeats what Coze answered."),
    Setting("REQUEST_BODY_TIMEOUT", "30", _seconds(0.01, 3600), "Seconds a client may pause while it sends."),
    Setting("SHUTDOWN_GRACE", "30", _seconds(0, 3600), "Seconds that running chats get to finish at a stop."),
    Setting("FILE_STORE", ".files", _file_store,
            "Where uploads are kept for their `file_url`: a folder, `s3://bucket/prefix`, or `off`."),
    Setting("FILE_STORE_MAX_BYTES", "1073741824", _whole(1024 ** 2, 10 ** 15 - 1),
            "Bytes that they may take there in all; the oldest make room."),
    Setting("FILE_LIFETIME", "604800", _whole(1, 10 ** 9), "Seconds for which a file and the link to it live."),
    Setting("PUBLIC_BASE_URL", None, _url,
            "What links to files begin with, such as `https://api.example.com`; else where the request went."),
    Setting("AWS_ACCESS_KEY_ID", None, token_of, "For S3. What is not set here is looked for as AWS's own tools do.",
            secret=True),
    Setting("AWS_SECRET_ACCESS_KEY", None, token_of, "The key's secret.", secret=True),
    Setting("AWS_SESSION_TOKEN", None, token_of, "The token of temporary credentials.", secret=True),
    Setting("AWS_REGION", None, token_of, "The bucket's region."),
    Setting("AWS_ENDPOINT_URL", None, _url, "Where S3 is, if not at AWS."),
    Setting("MAX_CONCURRENT_CHATS", "1000", _whole(1, 100_000), "Chats at once in each process; one more gets 503."),
    Setting("WORKERS", "1", _whole(1, 64), "Processes that share the port."),
)
# fmt: on


_JWT = tuple(setting.name for setting in SETTINGS if setting.name.startswith("COZE_JWT_OAUTH_"))
# Every variable of the ways to a token, of which exactly one is to be configured.
TOKEN_SETTINGS = ("COZE_API_TOKEN", "COZE_API_TOKEN_FILE", *_JWT)


def _check_ways_to_a_token(given: set[str]) -> None:
    """Raises SettingsError unless the variables `given` make exactly one whole way."""
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


def environment_with(overrides: Mapping[str, str]) -> dict[str, str]:
    """The environment for a process that is to read the same settings as this one did with `overrides`."""
    return {**os.environ, **overrides}


def share_dotenv(prefix: str) -> None:
    """Gives the variables of `.env` that begin with `prefix` to a library that looks for them in the environment."""
    for name, value in _dotenv(Path.cwd()).items():
        if name.startswith(prefix) and value and not os.environ.get(name):
            os.environ[name] = value


def _dotenv(folder: Path) -> dict[str, str | None]:
    """What `.env` says. Raises SettingsError for a line that says nothing: it may be one that keeps strangers out."""
    try:
        with (folder / ".env").open(encoding="utf-8-sig") as file:
            bindings = list(parse_stream(file))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeError):
        raise SettingsError(".env cannot be read as text in UTF-8.") from None
    for binding in bindings:
        if binding.error:
            raise SettingsError(f".env has no NAME=value in line {binding.original.line}.")
    return {binding.key: binding.value for binding in bindings if binding.key is not None}


def read(overrides: Mapping[str, str] | None = None, *, folder: Path | None = None) -> Settings:
    """The settings from `overrides`, else the environment, else `.env` in `folder` (the working folder), else defaults.

    A variable that is set but empty counts as not set; one that is empty in `overrides` is not looked for elsewhere.
    Raises SettingsError for the first that is missing or bad.
    """
    overrides = overrides or {}
    dotenv = _dotenv(folder or Path.cwd())
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        sources = (overrides,) if setting.name in overrides else (os.environ, dotenv)
        raw = next((text for source in sources if (text := (source.get(setting.name) or "").strip())), setting.default)
        if raw is None:
            values[setting.name.lower()] = None
            continue
        try:
            values[setting.name.lower()] = setting.parse(raw)
        except ValueError as error:
            shown = "its value" if setting.secret else repr(raw if len(raw) <= 60 else raw[:60] + "…")
            raise SettingsError(f"{setting.name} takes {error}, and {shown} is not that.") from None
    _check_ways_to_a_token({name for name in TOKEN_SETTINGS if values[name.lower()] is not None})
    return Settings(**values)
