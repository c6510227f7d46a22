"""All settings, each declared once: its field, its default, how it is parsed, and its help for docs/settings.md."""

from dataclasses import dataclass, fields
from pathlib import Path

from service.settings import values as parse
from service.settings.declaration import Setting, setting


# fmt: off
@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The values of all settings. Each variable is called as its field in upper case."""

    coze_api_token: str | None = setting(
        None, parse.token, "The Coze access token (personal `pat_…` or service `sat_…`).", secret=True)
    # A path is no secret, but a token may have been put here by mistake.
    coze_api_token_file: Path | None = setting(
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
    pid_file: Path | None = setting(
        None, parse.file,
        "A file for the process id, locked while the service runs; a second service with the same file does not start.")
    ready_file: Path | None = setting(
        None, parse.file,
        "A file of two lines: the address, while connections are accepted, and the most seconds that a stop takes.")
    enable_rate_limit: bool = setting(
        "true", parse.flag, "Limit the calls of each user with a token, else of each API key or client address.")
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

JWT_SETTINGS = tuple(setting.name for setting in SETTINGS if setting.name.startswith("COZE_JWT_OAUTH_"))
# All variables that configure a token, in three ways that exclude each other.
TOKEN_SETTINGS = ("COZE_API_TOKEN", "COZE_API_TOKEN_FILE", *JWT_SETTINGS)
# All variables that configure the keys of users' tokens, in ways that exclude each other.
USER_TOKEN_SETTINGS = "USER_TOKEN_SECRET", "USER_TOKEN_PUBLIC_KEY", "USER_TOKEN_PUBLIC_KEY_FILE", "USER_TOKEN_JWKS_URL"
PROXY_SETTINGS = tuple(setting.name for setting in SETTINGS if setting.name.endswith("_PROXY"))
