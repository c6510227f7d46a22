"""Settings: defaults, sources, and one clear line for whatever is missing or bad."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

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
        ("SHUTDOWN_GRACE", "-1"),
        ("SHUTDOWN_GRACE", "nan"),
        ("COZE_CONNECT_TIMEOUT", "inf"),
        ("MAX_CONCURRENT_CHATS", "0"),
    ],
)
def test_a_bad_value_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv("COZE_API_TOKEN", "pat_1")
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"^{name} takes .+") as caught:
        settings.read()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("token", ["pat_secret\nvalue", "pat_secret value", "pat_秘密"])
def test_a_bad_token_is_not_shown(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setenv("COZE_API_TOKEN", token)
    with pytest.raises(SettingsError, match=r"^COZE_API_TOKEN takes") as caught:
        settings.read()
    assert "secret" not in str(caught.value)
    assert "秘密" not in str(caught.value)


def test_no_setting_shows_in_a_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COZE_API_TOKEN", "pat_secret")
    assert "secret" not in repr(settings.read())


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"COZE_API_TOKEN": "pat_1", "PORT": "x"},
        {"COZE_API_TOKEN": "pat_1", "HOST": "203.0.113.7"},
        {"COZE_API_TOKEN": "pat_1", "HOST": "a..b"},
    ],
)
def test_a_start_that_cannot_be_ends_with_one_line(tmp_path: Path, env: dict[str, str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "service"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert len((ended.stdout + ended.stderr).splitlines()) == 1
    assert re.search(r"COZE_API_TOKEN|PORT|HOST", ended.stderr)


def test_the_readme_lists_every_variable_as_it_is() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.*?) \| (.*?) \|$", (ROOT / "README.md").read_text(), re.MULTILINE)

    def shown(setting: Setting) -> str:
        return "required" if setting.required else f"`{setting.default}`" if setting.default else ""

    assert rows == [(setting.name, shown(setting), setting.help) for setting in SETTINGS]
