"""The way to Coze as the variables for proxies and certificates say it, each form of them."""

import base64
import ssl
from collections.abc import Mapping
from pathlib import Path

import certifi
import pytest

from service import settings
from service.coze import Route, route_to_coze
from service.settings import SettingsError

CLOUD = "https://api.coze.cn"
PROXY = "http://proxy.example:3128"


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (*settings.PROXY_SETTINGS, "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.chdir(tmp_path)


def route(variables: Mapping[str, str], base: str = CLOUD) -> Route:
    return route_to_coze(settings.read({"COZE_API_TOKEN": "pat_1", "COZE_API_BASE": base, **variables}))


def proxy(variables: Mapping[str, str], base: str = CLOUD) -> str | None:
    found = route(variables, base).proxy
    return str(found.address) if found else None


def test_without_a_proxy() -> None:
    found = route({})
    assert (found.proxy, found.first, str(found.first)) == (None, found.coze, "api.coze.cn:443")


@pytest.mark.parametrize(
    ("base", "variables", "expected"),
    [
        (CLOUD, {"HTTPS_PROXY": PROXY}, "proxy.example:3128"),
        (CLOUD, {"HTTP_PROXY": PROXY}, None),
        (CLOUD, {"ALL_PROXY": PROXY}, "proxy.example:3128"),
        (CLOUD, {"ALL_PROXY": PROXY, "HTTPS_PROXY": "http://other:1"}, "other:1"),
        ("http://studio:8888", {"HTTP_PROXY": PROXY}, "proxy.example:3128"),
        ("http://studio:8888", {"HTTPS_PROXY": PROXY}, None),
        ("http://studio:8888", {"ALL_PROXY": PROXY}, "proxy.example:3128"),
        ("http://127.0.0.1:8888", {"HTTP_PROXY": PROXY}, "proxy.example:3128"),
    ],
)
def test_which_proxy(base: str, variables: dict[str, str], expected: str | None) -> None:
    assert proxy(variables, base) == expected


def test_what_needs_no_certificates() -> None:
    plain = "http://studio:8888"
    for variables in ({}, {"HTTP_PROXY": PROXY}):
        found = route(variables, plain)
        assert (str(found.coze), found.tls) == ("studio:8888", None)
    assert route({"HTTP_PROXY": "https://proxy.example"}, plain).tls is not None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("proxy.example:3128", "proxy.example:3128"),
        ("http://proxy.example", "proxy.example:80"),
        ("https://proxy.example", "proxy.example:443"),
        ("HTTP://Proxy.Example:8080/", "proxy.example:8080"),
        ("http://[fd00::1]:3128", "[fd00::1]:3128"),
        ("http://user:pass@10.0.0.1:3128", "10.0.0.1:3128"),
    ],
)
def test_how_a_proxy_is_named(value: str, expected: str) -> None:
    assert proxy({"HTTPS_PROXY": value}) == expected


@pytest.mark.parametrize(
    ("userinfo", "credentials"),
    [("user:secret", "user:secret"), ("user", "user:"), ("us%40er:se%3Acret%25", "us@er:se:cret%"), ("u:密", "u:密")],
)
def test_its_credentials(userinfo: str, credentials: str) -> None:
    found = route({"HTTPS_PROXY": f"http://{userinfo}@proxy.example:1"}).proxy
    assert found is not None
    assert found.authorization == "Basic " + base64.b64encode(credentials.encode()).decode()
    assert found.authorization not in repr(found)


def test_lower_case_and_dotenv(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("https_proxy=http://dotenv:1\nHTTPS_PROXY=http://DOTENV:2\n")
    assert proxy({}) == "dotenv:1"
    monkeypatch.setenv("HTTPS_PROXY", "http://upper:1")
    assert proxy({}) == "upper:1"
    monkeypatch.setenv("https_proxy", "http://lower:1")
    assert proxy({}) == "lower:1"
    monkeypatch.setenv("no_proxy", "coze.cn")
    assert proxy({}) is None


def test_lower_case_alone_is_no_slip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", PROXY)
    monkeypatch.setenv("FTP_PROXY", PROXY)
    assert proxy({}) == "proxy.example:3128"
    assert not [name for name, _ in settings.misnamed() if "proxy" in name.lower()]


@pytest.mark.parametrize(
    ("host", "no_proxy"),
    [
        ("api.coze.cn", "*"),
        ("api.coze.cn", "api.coze.cn"),
        ("api.coze.cn", "API.Coze.CN"),
        ("api.coze.cn", "coze.cn"),
        ("api.coze.cn", ".coze.cn"),
        ("api.coze.cn", "*.coze.cn"),
        ("api.coze.cn", "coze.cn."),
        ("api.coze.cn.", "coze.cn"),
        ("api.coze.cn", "localhost, 10.0.0.0/8 , coze.cn"),
        ("api.coze.cn", "localhost coze.cn"),
        ("api.coze.cn", "coze.cn:443"),
        ("api.coze.cn", "https://api.coze.cn"),
        ("10.1.2.3", "10.1.2.3"),
        ("10.1.2.3", "10.0.0.0/8"),
        ("10.1.2.3", "10.1.2.3/8"),
        ("10.1.2.3:8443", "10.1.2.3:8443"),
        ("[fd00::1]", "fd00::1"),
        ("[fd00::1]", "fd00:0::1"),
        ("[fd00::1]", "[fd00::1]"),
        ("[fd00::1]", "fd00::/8"),
        ("[fd00::1]:8443", "[fd00::1]:8443"),
        ("localhost", "localhost"),
    ],
)
def test_no_proxy(host: str, no_proxy: str) -> None:
    assert proxy({"HTTPS_PROXY": PROXY, "NO_PROXY": no_proxy}, f"https://{host}") is None


@pytest.mark.parametrize(
    ("host", "no_proxy"),
    [
        ("api.coze.cn", "cn.example"),
        ("api.coze.cn", "oze.cn"),
        ("api.coze.cn", "other.api.coze.cn"),
        ("api.coze.cn", "coze.cn:80"),
        ("api.coze.cn", "10.0.0.0/8"),
        ("api.coze.cn", ", ,"),
        ("10.1.2.3", "1.2.3"),
        ("10.1.2.3", "11.0.0.0/8"),
        ("10.1.2.3", "fd00::/8"),
        ("[fd00::1]", "fd01::/16"),
        ("[fd00::1]:8443", "[fd00::1]:443"),
    ],
)
def test_no_proxy_that_names_others(host: str, no_proxy: str) -> None:
    assert proxy({"HTTPS_PROXY": PROXY, "NO_PROXY": no_proxy}, f"https://{host}") == "proxy.example:3128"


@pytest.mark.parametrize("kind", ["socks4", "socks4a", "socks5", "socks5h", "SOCKS5"])
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"])
def test_a_kind_of_proxy_that_cannot_be_used_is_said(kind: str, name: str) -> None:
    base = "http://studio:8888" if name == "HTTP_PROXY" else CLOUD
    with pytest.raises(SettingsError, match=f"^{name} names a {kind.lower()} proxy, but only") as caught:
        route({name: f"{kind}://user:secret@proxy.example:1080"}, base)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        "ftp://user:secret@proxy.example",
        "http://user:secret@",
        "http://user:secret@proxy.example:http",
        "http://user:secret@proxy.example:0",
        "http://user:secret@proxy.example:70000",
        "http://user:secret@a..b:3128",
        "http://user:secret@[fd00::1:3128",
        "http://user:secret@proxy.example:3128/path",
        "http://user:secret@proxy.example:3128?query",
        "http://user:secret@proxy.example:3128#fragment",
        "http://user:sec?ret@proxy.example:3128",
        "http://user:secret\udcff@proxy.example:3128",
        "http:/secret",
        "http://user:secret@proxy.example:3128:1",
    ],
)
def test_a_bad_proxy_is_named_and_not_shown(value: str) -> None:
    with pytest.raises(SettingsError, match=r"^HTTPS_PROXY takes the address of a proxy") as caught:
        route({"HTTPS_PROXY": value})
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bad_proxy_for_others_is_nobody_s_business() -> None:
    assert proxy({"HTTP_PROXY": "socks5://127.0.0.1:1"}) is None
    assert proxy({"ALL_PROXY": "socks5://127.0.0.1:1", "HTTPS_PROXY": PROXY}) == "proxy.example:3128"
    assert proxy({"ALL_PROXY": "socks5://127.0.0.1:1", "NO_PROXY": "coze.cn"}) is None


def certificate(folder: Path) -> Path:
    """One of certifi's."""
    first, end, _ = Path(certifi.where()).read_text(encoding="utf-8").partition("-----END CERTIFICATE-----")
    (folder / "cert.pem").write_text(f"{first}{end}\n", encoding="utf-8")
    return folder / "cert.pem"


def test_whom_to_trust(tmp_path: Path) -> None:
    trusted = certificate(tmp_path)
    tls = route({"SSL_CERT_FILE": str(trusted), "SSL_CERT_DIR": str(tmp_path / "nowhere")}).tls
    assert tls is not None
    assert tls.cert_store_stats()["x509"] == 1


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One without certificates where OpenSSL looks for them, which was decided when OpenSSL was built."""
    paths = ssl.get_default_verify_paths()._replace(
        openssl_cafile=str(tmp_path / "nowhere.pem"), openssl_capath=str(tmp_path / "nowhere")
    )
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)


@pytest.mark.usefixtures("bare_machine")
def test_a_machine_without_certificates_trusts_certifi_s() -> None:
    found = route({})
    assert found.certifi
    assert found.tls is not None
    assert found.tls.cert_store_stats()["x509_ca"] > 100


@pytest.mark.usefixtures("bare_machine")
def test_a_folder_of_hashed_certificates(tmp_path: Path) -> None:
    hashed = tmp_path / "hashed"
    hashed.mkdir()
    (hashed / "0123abcd.0").symlink_to(certificate(tmp_path))
    found = route({"SSL_CERT_DIR": f"{tmp_path / 'nowhere'}:{hashed}"})
    assert found.tls is not None
    assert not found.certifi


@pytest.mark.usefixtures("bare_machine")
def test_nothing_to_trust_where_it_was_named_is_said(tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"^SSL_CERT_DIR takes a folder of hashed certificates, and '.*' holds none"
    ):
        route({"SSL_CERT_DIR": str(tmp_path)})
    assert route({"SSL_CERT_DIR": str(tmp_path), "SSL_CERT_FILE": str(certificate(tmp_path))}).tls is not None


@pytest.mark.parametrize("file", ["nowhere", "empty.pem", "."])
def test_a_file_without_certificates_is_said(tmp_path: Path, file: str) -> None:
    (tmp_path / "empty.pem").touch()
    with pytest.raises(SettingsError, match=r"^SSL_CERT_FILE takes a file of certificates in PEM, and '"):
        route({"SSL_CERT_FILE": str(tmp_path / file)})
    assert route({"SSL_CERT_FILE": str(tmp_path / file)}, "http://studio:8888").tls is None
