"""Parsers of the settings' values. Each takes text and raises ValueError, saying what the variable takes.

No error quotes the text, which may be a secret.
"""

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

# The value of RATE_LIMIT_STORAGE that means this process alone, and the one that follows STORE.
MEMORY = "memory://"
AUTO = "auto"
# The name of the holder of an API key, or of a bot.
CALLER_NAME = "[A-Za-z0-9._-]{1,64}"
# Quotation marks of keyboards and word processors.
_QUOTES = tuple(
    "\"'`\u00b4\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u2039\u203a\u00ab\u00bb\u300c\u300d\u300e\u300f\uff02\uff07"
)


def unquoted(value: str) -> str:
    """Refuses a value in quotation marks: Docker passes on those of an env file, which other readers remove."""
    if value.startswith(_QUOTES) or value.endswith(_QUOTES):
        raise ValueError("a value without quotation marks around it")
    return value


def text(value: str) -> str:
    if not value.isprintable():
        raise ValueError("printable text on one line")
    return value


def file(value: str) -> Path:
    return Path(text(value))


def token(value: str) -> str:
    # RFC 6750, section 2.1. Any other character, such as a line break, would make every call fail.
    if not re.fullmatch(r"[A-Za-z0-9._~+/-]{1,8192}=*", value):
        raise ValueError("a token of letters, digits and . _ ~ + / -")
    return value


def token_of_file(path: Path) -> str:
    """Reads a token from a file. Raises ValueError, which quotes nothing of it, if it holds none or is unreadable."""
    takes = "the path of a file that holds a token of letters, digits and . _ ~ + / -"
    try:
        return token(_content(path).strip())
    except OSError as error:
        raise ValueError(f"{takes} ({error.strerror})") from None
    except ValueError:
        raise ValueError(takes) from None


def token_file(value: str) -> Path:
    token_of_file(Path(value))
    return Path(value)


def private_key(value: str) -> str:
    # Imported only here: it costs a tenth of a second, which a health check can do without.
    from joserfc.errors import JoseError
    from joserfc.jwk import RSAKey

    pem = value.replace("\\n", "\n").strip()
    try:
        good = "PRIVATE KEY" in pem and RSAKey.import_key(pem).is_private
    except (JoseError, ValueError, TypeError):
        good = False
    if not good:
        raise ValueError("an RSA private key in PEM, without a password")
    return pem


def public_key(value: str) -> str:
    return value.replace("\\n", "\n").strip()


def public_key_file(value: str) -> str:
    takes = "the path of a file that holds a public key in PEM"
    try:
        return public_key(_content(Path(value)))
    except OSError as error:
        raise ValueError(f"{takes} ({error.strerror})") from None
    except ValueError:
        raise ValueError(takes) from None


def private_key_file(value: str) -> str:
    takes = "the path of a file that holds an RSA private key in PEM, without a password"
    try:
        return private_key(_content(Path(value)))
    except OSError as error:
        raise ValueError(f"{takes} ({error.strerror})") from None
    except ValueError:
        raise ValueError(takes) from None


def _content(path: Path) -> str:
    """Reads a file, up to more than any token or key has. Raises OSError or ValueError."""
    with path.open("rb") as content:
        return content.read(65_536).decode("ascii")


def word(value: str) -> str:
    if not re.fullmatch(r"[!-~]{1,8192}", value):
        raise ValueError("printable ASCII characters without spaces")
    return value


def coze_id(value: str) -> str:
    if not re.fullmatch(r"[!-~]{1,128}", value):
        raise ValueError("an id of at most 128 printable ASCII characters without spaces")
    return value


def url(value: str) -> str:
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


def jwks_url(value: str) -> str:
    """An address that may have a query, in which some logins name the tenant."""
    address, mark, query = value.partition("?")
    try:
        url(address)
    except ValueError:
        takes = "an http:// or https:// address without credentials or fragment"
        raise ValueError(f"{takes}, such as https://login.example/.well-known/jwks.json") from None
    if not re.fullmatch(r"[!-~]*", query) or "#" in query:
        raise ValueError("an address whose query has only printable ASCII characters and no fragment")
    return address + mark + query


def file_store(value: str) -> str | None:
    """Returns None for `off`."""
    if value.lower() == "off":
        return None
    bucket = r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*/?"
    if ("://" in value and not re.fullmatch(bucket, value)) or not value.isprintable():
        raise ValueError("a folder, s3://bucket, s3://bucket/prefix, or off")
    return value


def store(value: str) -> str | None:
    """Returns None for `off`."""
    if value.lower() == "off":
        return None
    if ("://" in value and not _is_server(value)) or not value.isprintable():
        raise ValueError("a folder, off, or an address such as valkey://user:password@host:6379/0")
    return value


def flag(value: str) -> bool:
    match value.lower():
        case "true" | "1" | "yes" | "on":
            return True
        case "false" | "0" | "no" | "off":
            return False
    raise ValueError("true or false")


def flag_or_auto(value: str) -> bool | None:
    """Returns None for `auto`."""
    if value.lower() == AUTO:
        return None
    try:
        return flag(value)
    except ValueError:
        raise ValueError("auto, true or false") from None


def whole(low: int, high: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,15}", value) or not low <= int(value) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(value)

    return parse


def number(low: float, high: float) -> Callable[[str], float]:
    def parse(value: str) -> float:
        if not re.fullmatch(r"[0-9]{1,7}(\.[0-9]{1,6})?", value) or not low <= float(value) <= high:
            raise ValueError(f"a number from {low:g} to {high:g}")
        return float(value)

    return parse


def log_level(value: str) -> str:
    if value.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"):
        raise ValueError("DEBUG, INFO, WARNING, ERROR or CRITICAL")
    return value.upper()


def one_of(*values: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value.lower() not in values:
            raise ValueError(" or ".join(values))
        return value.lower()

    return parse


def host(value: str) -> str:
    if not re.fullmatch(r"[0-9A-Za-z.:%_-]+", value):
        raise ValueError("a host name or an IP address, such as 0.0.0.0 or 127.0.0.1")
    return value


def networks(value: str) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in value.split(",") if part.strip())
    for part in parts:
        try:
            part == "*" or ipaddress.ip_network(part)
        except ValueError:
            raise ValueError("IP addresses or networks separated by commas, or *") from None
    return parts


def limit_storage(value: str) -> str:
    if value not in (AUTO, MEMORY) and not _is_server(value):
        address = "an address such as valkey://user:password@host:6379/0 of scheme redis, rediss, valkey or valkeys"
        raise ValueError(f"auto, memory://, or {address}")
    return value


def _is_server(value: str) -> bool:
    """Whether it is the address of a Valkey or Redis server."""
    try:
        parts = urlsplit(value)
        good = bool(parts.scheme in ("redis", "rediss", "valkey", "valkeys") and parts.hostname and parts.port != 0)
    except ValueError:
        return False
    plain = re.fullmatch(r"[!-~]+", value) and re.fullmatch(r"(/[0-9]{0,4})?", parts.path)
    return bool(good and plain and not parts.query and not parts.fragment)


def api_keys(value: str) -> tuple[tuple[str, bytes], ...]:
    # Only an empty value means that no key is needed: a typing error must not open the service.
    if not value:
        return ()
    keys: dict[bytes, str] = {}
    for number, part in enumerate((part.strip() for part in value.split(",")), 1):
        match = re.fullmatch(rf"(?:({CALLER_NAME}):)?([0-9A-Fa-f]{{64}})", part)
        if not match or bytes.fromhex(match[2]) in keys:
            raise ValueError("entries `name:hash` separated by commas, each hash the SHA-256 of another key in hex")
        # Two keys may have one name, so that a key can be rotated without a break.
        keys[bytes.fromhex(match[2])] = match[1] or f"key-{number}"
    return tuple((name, digest) for digest, name in keys.items())


def bots(value: str) -> tuple[tuple[str, str], ...]:
    """Returns pairs of a name and an id."""
    # Only an empty value means that any bot may be asked: a typing error must not open the others.
    if not value:
        return ()
    found: dict[str, str] = {}
    for part in value.split(","):
        name, _, bot_id = (text.strip() for text in part.partition(":"))
        # No id has a colon or a semicolon: that would be another entry, separated in a wrong way.
        if not re.fullmatch(CALLER_NAME, name) or not re.fullmatch(r"[!-9<-~]{1,128}", bot_id) or name in found:
            raise ValueError("entries `name:bot_id` separated by commas, each with another name of A-Z a-z 0-9 . _ -")
        found[name] = bot_id
    if any(name in found.values() and found[name] != name for name in found):
        raise ValueError("names of which none is the id of another bot")
    return tuple(found.items())


def origins(value: str) -> tuple[str, ...]:
    return tuple(_origin(part.strip().lower()) for part in value.split(","))


def _origin(text: str) -> str:
    """Normalises an origin of any scheme as browsers send it: without the default port."""
    if text in ("*", "null"):
        return text
    match = re.fullmatch(r"([a-z][a-z0-9+.-]*)://([a-z0-9._~-]*|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?", text)
    web = {"http": "80", "https": "443"}
    if not match or int(match[3] or 0) > 65535 or (match[1] in web and not match[2]):
        raise ValueError(
            "origins such as https://shop.example or capacitor://localhost separated by commas, without a path, or *"
        )
    return f"{match[1]}://{match[2]}" + (f":{match[3]}" if match[3] not in (None, web.get(match[1])) else "")
