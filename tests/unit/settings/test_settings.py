"""Settings: defaults, sources, and one clear line for whatever is missing or bad."""

import os
import re
from pathlib import Path

import pytest
from conftest import ROOT
from joserfc.jwk import ECKey, RSAKey

from service import settings
from service.settings import SETTINGS, Setting, SettingsError


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for setting in SETTINGS:
        monkeypatch.delenv(setting.name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_documented_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COZE_API_TOKEN", "pat_1")
    chosen = settings.read()
    assert chosen.coze_api_base == "https://api.coze.cn"
    assert chosen.coze_bot_id is None
    assert (chosen.host, chosen.port) == ("0.0.0.0", 2026)
    assert (chosen.enable_rate_limit, chosen.rate_limit_requests, chosen.rate_limit_window) == (True, 100, 60)
    assert (chosen.environment, chosen.log_level, chosen.coze_user_id) == ("production", "INFO", None)
    assert chosen.shutdown_grace == 30
    assert chosen.heartbeat_interval == 15
    assert (chosen.store, chosen.conversation_lifetime, chosen.visitor_token_lifetime) == (".data", 15552000, 15552000)
    assert (chosen.user_token_claim, chosen.has_user_tokens, chosen.rate_limit_storage) == ("sub", False, "memory://")


def test_the_environment_comes_before_dotenv_and_both_before_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text('COZE_API_TOKEN="pat_file"\nCOZE_BOT_ID=1\n# PORT=1\nPORT=3000\nENVIRONMENT=$HOME\n')
    monkeypatch.setenv("COZE_API_TOKEN", "pat_environment")
    monkeypatch.setenv("PORT", "")
    chosen = settings.read()
    assert chosen.coze_api_token == "pat_environment"
    assert chosen.coze_bot_id == "1"
    assert chosen.port == 3000  # set but empty counts as not set
    assert chosen.environment == "$HOME"
    assert "COZE_BOT_ID" not in os.environ


def test_a_missing_token_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"^COZE_API_TOKEN is required"):
        settings.read()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("PORT", "٣"),
        ("COZE_API_BASE", "api.coze.cn"),
        ("COZE_API_BASE", "https://user:secret@api.coze.cn"),
        ("COZE_API_BASE", "https://api.coze.cn/?a=b"),
        ("COZE_API_BASE", "https://[::1"),
        ("COZE_API_BASE", "ftp://api.coze.cn"),
        ("COZE_API_BASE", "http://a..b"),
        ("COZE_API_BASE", "http://" + "a" * 64 + ".cn"),
        ("COZE_BOT_ID", "a b"),
        ("HOST", "a b"),
        ("ENABLE_RATE_LIMIT", "maybe"),
        ("RATE_LIMIT_REQUESTS", "0"),
        ("RATE_LIMIT_WINDOW", "1.5"),
        ("LOG_LEVEL", "LOUD"),
        ("FORWARDED_ALLOW_IPS", "10.0.0.0/99"),
        ("RATE_LIMIT_STORAGE", "memory"),
        ("RATE_LIMIT_STORAGE", "redis://"),
        ("RATE_LIMIT_STORAGE", "http://127.0.0.1"),
        ("RATE_LIMIT_STORAGE", "redis://127.0.0.1:0"),
        ("RATE_LIMIT_STORAGE", "redis://127.0.0.1:port"),
        ("RATE_LIMIT_STORAGE", "redis://[::1"),
        ("RATE_LIMIT_STORAGE", "valkey://127.0.0.1/first"),
        ("RATE_LIMIT_STORAGE", "valkey://127.0.0.1?db=1"),
        ("API_KEYS", ","),
        ("API_KEYS", "key"),
        ("API_KEYS", "shop:" + "0" * 63),
        ("API_KEYS", "my shop:" + "0" * 64),
        ("API_KEYS", f"a:{'0' * 64},b:{'0' * 64}"),
        ("API_KEYS", "a:" + "0" * 64 + ","),
        ("CORS_ALLOW_ORIGINS", "shop.example"),
        ("CORS_ALLOW_ORIGINS", "https://shop.example/"),
        ("CORS_ALLOW_ORIGINS", "https://*.example"),
        ("CORS_ALLOW_ORIGINS", ","),
        ("CORS_ALLOW_ORIGINS", "http://localhost:*"),
        ("CORS_ALLOW_ORIGINS", "http://localhost:65536"),
        ("CORS_ALLOW_ORIGINS", "capacitor://localhost/"),
        ("CORS_ALLOW_ORIGINS", "https://"),
        ("CORS_ALLOW_ORIGINS", "https://me@shop.example"),
        ("SHUTDOWN_GRACE", "-1"),
        ("SHUTDOWN_GRACE", "nan"),
        ("COZE_CONNECT_TIMEOUT", "inf"),
        ("MAX_CONCURRENT_CHATS", "0"),
        ("FILE_STORE", "s3://"),
        ("FILE_STORE", "s3://Bucket"),
        ("FILE_STORE", "s3://bucket/../x"),
        ("FILE_STORE", "gs://bucket"),
        ("FILE_STORE", "a\nb"),
        ("FILE_STORE_MAX_BYTES", "1000"),
        ("FILE_LIFETIME", "0"),
        ("PUBLIC_BASE_URL", "api.example.com"),
        ("STORE", "memory://"),
        ("STORE", "sqlite:///data"),
        ("STORE", "redis://"),
        ("STORE", "valkey://127.0.0.1/first"),
        ("STORE", "a\nb"),
        ("CONVERSATION_LIFETIME", "0"),
        ("CONVERSATION_LIFETIME", "180d"),
        ("VISITOR_TOKEN_LIFETIME", "1"),
        ("VISITORS", "maybe"),
        ("USER_TOKEN_JWKS_URL", "login.example/jwks"),
        ("USER_TOKEN_JWKS_URL", "file:///etc/passwd"),
        ("USER_TOKEN_JWKS_URL", "https://user:secret@login.example/jwks"),
        ("USER_TOKEN_JWKS_URL", "https://login.example/jwks#a"),
        ("USER_TOKEN_JWKS_URL", "https://login.example/jwks?a=b#c"),
        ("USER_TOKEN_PUBLIC_KEY_FILE", "missing.pem"),
        ("USER_TOKEN_CLAIM", "a\nb"),
        ("BOTS", ","),
        ("BOTS", "7537334510896185359"),
        ("BOTS", "shop:"),
        ("BOTS", ":1"),
        ("BOTS", "my shop:1"),
        ("BOTS", "商店:1"),
        ("BOTS", "shop:1,"),
        ("BOTS", "shop:1,shop:2"),
        ("BOTS", "shop:a b"),
        ("BOTS", "shop:1;help:2"),
        ("BOTS", "shop:1:2"),
        ("BOTS", f"{'a' * 65}:1"),
        ("BOTS", f"a:{'1' * 129}"),
        ("BOTS", "a:1,1:2"),
    ],
)
def test_a_bad_value_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv("COZE_API_TOKEN", "pat_1")
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"^{name} takes .+") as caught:
        settings.read()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RATE_LIMIT_STORAGE", "redis://:secret@127.0.0.1:x"),
        ("API_KEYS", "shop:secret"),
        ("API_KEYS", "secret"),
        ("STORE", "redis://:secret@127.0.0.1:x"),
        ("USER_TOKEN_JWKS_URL", "https://user:secret@login.example/jwks"),
        ("USER_TOKEN_SECRET", "secret\tsecret"),
        ("USER_TOKEN_PUBLIC_KEY_FILE", "secret"),
    ],
)
def test_a_bad_value_that_may_hold_a_secret_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv("COZE_API_TOKEN", "pat_1")
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"^{name} takes") as caught:
        settings.read()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "token", ["pat_secret\nvalue", "pat_secret value", "pat_秘密", "Bearer pat_secret", "<pat_secret>", "pat_secret,"]
)
def test_a_bad_token_is_not_shown(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setenv("COZE_API_TOKEN", token)
    with pytest.raises(SettingsError, match=r"^COZE_API_TOKEN takes") as caught:
        settings.read()
    assert "secret" not in str(caught.value)
    assert "秘密" not in str(caught.value)


@pytest.fixture(scope="module")
def private_key() -> str:
    return RSAKey.generate_key(2048).as_pem(private=True).decode()


JWT = "COZE_JWT_OAUTH_"
IDS = {f"{JWT}CLIENT_ID": "1", f"{JWT}PUBLIC_KEY_ID": "2"}


def test_a_private_key_comes_in_a_variable_or_a_file(monkeypatch: pytest.MonkeyPatch, private_key: str) -> None:
    for name, value in IDS.items():
        monkeypatch.setenv(name, value)
    for text in (private_key, private_key.replace("\n", "\\n")):
        monkeypatch.setenv(f"{JWT}PRIVATE_KEY", text)
        assert settings.read().coze_jwt_oauth_private_key == private_key.strip()
    Path(".env").write_text(f'{JWT}PRIVATE_KEY="{private_key}"\n')
    monkeypatch.delenv(f"{JWT}PRIVATE_KEY")
    assert settings.read().coze_jwt_oauth_private_key == private_key.strip()
    Path(".env").unlink()
    Path("key.pem").write_text(private_key)
    monkeypatch.setenv(f"{JWT}PRIVATE_KEY_FILE", "key.pem")
    assert settings.read().coze_jwt_oauth_private_key_file == private_key.strip()


@pytest.mark.parametrize("kind", ["garbage", "cut", "public", "elliptic"])
@pytest.mark.parametrize("name", ["PRIVATE_KEY", "PRIVATE_KEY_FILE"])
def test_a_bad_private_key_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, private_key: str, kind: str, name: str
) -> None:
    keys = {
        "garbage": "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n",
        "cut": private_key[:-100],
        "public": RSAKey.import_key(private_key).as_pem(private=False).decode(),
        "elliptic": ECKey.generate_key().as_pem(private=True).decode(),
    }
    Path("key.pem").write_text(keys[kind])
    for variable, value in {**IDS, f"{JWT}{name}": "key.pem" if name.endswith("FILE") else keys[kind]}.items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=rf"^{JWT}{name} takes .*RSA private key") as caught:
        settings.read()
    assert "\n" not in str(caught.value)
    assert not any(line in str(caught.value) for line in keys[kind].splitlines())


@pytest.mark.parametrize(
    "content",
    [None, b"", b"secret secret", b"secret\nsecret", "secret秘密".encode(), b"secret" * 9999, b'"secret"', b"=secret"],
)
def test_a_bad_token_file_is_named_and_not_shown(monkeypatch: pytest.MonkeyPatch, content: bytes | None) -> None:
    if content is not None:
        Path("token").write_bytes(content)
    monkeypatch.setenv("COZE_API_TOKEN_FILE", "token")
    with pytest.raises(SettingsError, match=r"^COZE_API_TOKEN_FILE takes") as caught:
        settings.read()
    assert "secret" not in str(caught.value)
    assert ("No such file" in str(caught.value)) == (content is None)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["TOKEN", "TOKEN_FILE"], "^COZE_API_TOKEN and COZE_API_TOKEN_FILE are set"),
        (["TOKEN", "CLIENT_ID"], f"^COZE_API_TOKEN and {JWT}CLIENT_ID are set"),
        (["TOKEN_FILE", "KEY"], f"^COZE_API_TOKEN_FILE and {JWT}PRIVATE_KEY are set"),
        (["CLIENT_ID"], f"^{JWT}CLIENT_ID is set, which also takes {JWT}PUBLIC_KEY_ID and {JWT}PRIVATE_KEY or "),
        (["KEY"], f"^{JWT}PRIVATE_KEY is set, which also takes {JWT}CLIENT_ID and {JWT}PUBLIC_KEY_ID"),
        (["CLIENT_ID", "PUBLIC_KEY_ID", "KEY", "KEY_FILE"], f"^{JWT}PRIVATE_KEY and {JWT}PRIVATE_KEY_FILE are set"),
    ],
)
def test_one_way_to_a_token_is_set_and_whole(
    monkeypatch: pytest.MonkeyPatch, private_key: str, given: list[str], says: str
) -> None:
    Path("token").write_text("pat_1\n")
    Path("key.pem").write_text(private_key)
    values = {
        "TOKEN": ("COZE_API_TOKEN", "pat_1"),
        "TOKEN_FILE": ("COZE_API_TOKEN_FILE", "token"),
        "CLIENT_ID": (f"{JWT}CLIENT_ID", "1"),
        "PUBLIC_KEY_ID": (f"{JWT}PUBLIC_KEY_ID", "2"),
        "KEY": (f"{JWT}PRIVATE_KEY", private_key),
        "KEY_FILE": (f"{JWT}PRIVATE_KEY_FILE", "key.pem"),
    }
    for name in given:
        monkeypatch.setenv(*values[name])
    with pytest.raises(SettingsError, match=says):
        settings.read()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"SECRET": "s" * 32, "JWKS_URL": "https://a.example/jwks"}, "SECRET and USER_TOKEN_JWKS_URL are set, but "),
        ({"PUBLIC_KEY": "x", "PUBLIC_KEY_FILE": "key.pem"}, "PUBLIC_KEY and USER_TOKEN_PUBLIC_KEY_FILE are set, but "),
        ({"ISSUER": "https://login.example"}, "ISSUER is set, which also takes one of USER_TOKEN_SECRET, "),
        ({"AUDIENCE": "shop"}, "AUDIENCE is set, which also takes one of USER_TOKEN_SECRET, "),
    ],
)
def test_users_tokens_have_one_key_and_nothing_without_one(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], says: str
) -> None:
    Path("key.pem").write_text("key")
    monkeypatch.setenv("COZE_API_TOKEN", "pat_1")
    for name, value in given.items():
        monkeypatch.setenv(f"USER_TOKEN_{name}", value)
    with pytest.raises(SettingsError, match=f"^USER_TOKEN_{says}"):
        settings.read()


def test_a_login_may_name_the_tenant_in_the_address_of_its_keys() -> None:
    url = "https://shop.b2clogin.com/shop/discovery/v2.0/keys?p=b2c_1_sign_in"
    assert settings.read({"COZE_API_TOKEN": "pat_1", "USER_TOKEN_JWKS_URL": url}).user_token_jwks_url == url


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, True),
        ({"VISITORS": "AUTO"}, True),
        ({"STORE": "off"}, False),
        ({"API_KEYS": f"shop:{'0' * 64}"}, False),
        ({"USER_TOKEN_SECRET": "s" * 32}, False),
        ({"USER_TOKEN_JWKS_URL": "https://login.example/jwks"}, False),
        ({"USER_TOKEN_PUBLIC_KEY": "key"}, False),
        ({"USER_TOKEN_SECRET": "s" * 32, "VISITORS": "true"}, True),
        ({"API_KEYS": f"shop:{'0' * 64}", "VISITORS": "on"}, True),
        ({"VISITORS": "false"}, False),
    ],
)
def test_visitors_are_welcome_where_nobody_is_asked_for_more(given: dict[str, str], expected: bool) -> None:
    assert settings.read({"COZE_API_TOKEN": "pat_1", **given}).has_visitors is expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "memory://"),
        ({"STORE": "off"}, "memory://"),
        ({"STORE": "valkey://a"}, "valkey://a"),
        ({"STORE": "valkey://a", "RATE_LIMIT_STORAGE": "memory://"}, "memory://"),
        ({"STORE": "valkey://a", "RATE_LIMIT_STORAGE": "redis://b"}, "redis://b"),
        ({"RATE_LIMIT_STORAGE": "auto"}, "memory://"),
    ],
)
def test_calls_are_counted_on_the_server_that_remembers(given: dict[str, str], expected: str) -> None:
    assert settings.read({"COZE_API_TOKEN": "pat_1", **given}).rate_limit_storage == expected


def test_bots_have_names() -> None:
    given = {"COZE_API_TOKEN": "pat_1", "BOTS": "shop:1, help-2.x : 2,3:3,also_shop:1"}
    expected = (("shop", "1"), ("help-2.x", "2"), ("3", "3"), ("also_shop", "1"))
    assert settings.read(given).bots == expected
    assert settings.read(given | {"COZE_BOT_ID": "3"}).bots == expected
    with pytest.raises(SettingsError, match=r"^BOTS "):
        settings.read(given | {"COZE_BOT_ID": "shop"})
    assert settings.read(given | {"BOTS": ""}).bots == ()


def test_a_line_of_dotenv_that_says_nothing_is_not_passed_over() -> None:
    Path(".env").write_text("COZE_API_TOKEN=pat_1\nAPI_KEYS＝shop:secret\n")
    with pytest.raises(SettingsError, match=r"^\.env has no NAME=value in line 2\.$"):
        settings.read()


def test_an_empty_line_unsets_nothing() -> None:
    """As of a template that was put behind what was there."""
    Path(".env").write_text(f"COZE_API_TOKEN=pat_1\nAPI_KEYS=shop:{'0' * 64}\nCOZE_API_TOKEN=\nAPI_KEYS= # name:hash\n")
    assert settings.read().api_keys == (("shop", bytes(32)),)


@pytest.mark.parametrize("blank", ["\u3000", "\u00a0", "\u2003", "\u200b"])
def test_a_value_that_only_looks_empty_is_none(monkeypatch: pytest.MonkeyPatch, blank: str) -> None:
    monkeypatch.setenv("COZE_API_TOKEN", "pat_1")
    monkeypatch.setenv("API_KEYS", blank)
    with pytest.raises(SettingsError, match=r"^API_KEYS takes"):
        settings.read()
    monkeypatch.setenv("API_KEYS", " \t\r\n")
    assert settings.read().api_keys == ()


@pytest.mark.parametrize("between", [" ", "; ", " export ", "\t"])
def test_a_setting_behind_another_is_not_passed_over(between: str) -> None:
    Path(".env").write_text(f"COZE_API_TOKEN=pat_1\nENVIRONMENT=production{between}API_KEYS=shop:secret\n")
    with pytest.raises(SettingsError, match=r"^\.env sets more than one variable in line 2\.$"):
        settings.read()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("api_keys", "API_KEYS"),
        ("Api_Keys", "API_KEYS"),
        ("APIKEYS", "API_KEYS"),
        ("API_KEY", "API_KEYS"),
        ("apiKeys", "API_KEYS"),
        ("COZE_API_KEYS", "API_KEYS"),
        ("API__KEYS", "API_KEYS"),
        ("COZE_API_TOKENS", "COZE_API_TOKEN"),
        ("CORS_ALLOWED_ORIGINS", "CORS_ALLOW_ORIGINS"),
        ("LOGLEVEL", "LOG_LEVEL"),
        ("COZE_PORT", "PORT"),
        ("OTEL_TRACES_EXPORTeR", "OTEL_TRACES_EXPORTER"),
    ],
)
def test_a_name_that_is_meant_for_a_setting_is_not_passed_over(
    monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    Path(".env").write_text(f"\n{name}=secret\n")
    with pytest.raises(SettingsError) as caught:
        settings.read()
    assert str(caught.value) == f".env names no setting in line 2. Did you mean {meant}?"
    # Beside what it may be meant for it is another variable, and so it is without a value.
    good = {"API_KEYS": "shop:" + "0" * 64, "LOG_LEVEL": "INFO", "PORT": "1", "OTEL_TRACES_EXPORTER": "none"}
    monkeypatch.setenv("COZE_API_TOKEN", "pat_1")
    monkeypatch.setenv(meant, good.get(meant, "pat_1" if "TOKEN" in meant else "*"))
    settings.read()
    monkeypatch.delenv(meant)
    monkeypatch.setenv("COZE_API_TOKEN", "pat_1")
    Path(".env").write_text(f"{name}=\n")
    settings.read()


@pytest.mark.parametrize(
    "name",
    [
        *("OPENAI_API_KEY", "VITE_COZE_API_BASE", "DB_HOST", "WEB_PORT", "HOSTNAME", "COMPOSE_PROJECT_NAME", "TZ"),
        *("COZE_WORKSPACE_ID", "COZE_WORKFLOW_ID", "AWS_DEFAULT_REGION", "AWS_PROFILE", "OTEL_EXPORTER_OTLP_HEADERS"),
        *("OTEL_METRICS_EXPORTER", "OTEL_SERVICE_NAME", "SANDBOX_DELTA_SECONDS"),
    ],
)
def test_other_variables_may_stand_in_dotenv(name: str) -> None:
    Path(".env").write_text(f"COZE_API_TOKEN=pat_1\n{name}=1\n")
    settings.read()


@pytest.mark.parametrize(
    "name", ['"API_KEYS"', "-API_KEYS", "\ufeffAPI_KEYS", " API_KEYS", "api_keys", "ＡＰＩ_ＫＥＹＳ"]
)
def test_a_setting_that_is_misspelled_in_the_environment_is_not_passed_over(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """As Docker's --env-file hands it on."""
    monkeypatch.setenv("COZE_API_TOKEN", "pat_1")
    monkeypatch.setenv(name, "shop:secret")
    with pytest.raises(SettingsError, match=r"in the environment is no setting; API_KEYS may be meant\.$") as caught:
        settings.read()
    assert "secret" not in str(caught.value)
    monkeypatch.setenv("API_KEYS", "shop:" + "0" * 64)
    settings.read()


def test_what_may_be_another_programs_is_told_of_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COZE_API_TOKEN", "pat_1")
    for name in ("API_KEY", "COZE_API_TOKEN_OLD", "LOG_LEVELS"):
        monkeypatch.setenv(name, "secret")
    settings.read()
    named = [pair for pair in settings.misnamed() if pair[0] in ("API_KEY", "COZE_API_TOKEN_OLD", "LOG_LEVELS")]
    assert named == [("API_KEY", "API_KEYS"), ("LOG_LEVELS", "LOG_LEVEL")]


@pytest.mark.parametrize("marks", ['""', "''", "``", "“”", "‘’", "「」", "＂＂"])
def test_no_value_stands_in_quotation_marks(monkeypatch: pytest.MonkeyPatch, marks: str) -> None:
    """As Docker's --env-file hands them on. An empty pair of them is no empty value."""
    monkeypatch.setenv("COZE_API_TOKEN", "pat_1")
    for setting in SETTINGS:
        for value in ("", setting.default or "pat_abc"):
            for text in (f"{marks[0]}{value}{marks[1]}", f"{value}{marks[1]}"):
                monkeypatch.setenv(setting.name, text)
                with pytest.raises(SettingsError, match=f"^{setting.name} takes .* quotation marks"):
                    settings.read()
        monkeypatch.delenv(setting.name)
        monkeypatch.setenv("COZE_API_TOKEN", "pat_1")


def test_no_setting_shows_in_a_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COZE_API_TOKEN", "pat_secret")
    monkeypatch.setenv("RATE_LIMIT_STORAGE", "redis://:secret@127.0.0.1")
    assert "secret" not in repr(settings.read())


def test_the_page_of_settings_lists_every_variable_as_it_is() -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.*?) \| (.*?) \|$", page, re.MULTILINE)

    def shown(setting: Setting) -> str:
        return f"`{setting.default}` {setting.unit}".strip() if setting.default else ""

    assert rows == [(setting.name, shown(setting), setting.help) for setting in SETTINGS]
