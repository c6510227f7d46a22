"""Names and links of kept files: a name is a time and 128 random bits, a link is a name and its signature.

A link grants access to the file, so links must not be logged. A name alone opens nothing.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping

FILES_PATH = "/api/v1/files/"
KEY_BYTES = 32
# The expiry in milliseconds since 1970, and the random part. Names sort by age. With the signature the length is a
# multiple of three, so that base64 has one spelling for each link.
_TIME_BYTES = 6
_NAME_BYTES = _TIME_BYTES + 16
_LINK = re.compile(r"[A-Za-z0-9_-]{72}")
_HOST = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,252}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?")
NAME = re.compile(rf"[0-9a-f]{{{2 * _NAME_BYTES}}}")


def new_name(expires: float) -> str:
    """Makes a name for a file that lives until `expires`, in seconds since 1970."""
    return (int(expires * 1000).to_bytes(_TIME_BYTES, "big") + secrets.token_bytes(_NAME_BYTES - _TIME_BYTES)).hex()


def expiry_of(name: str) -> float:
    """Returns when the file expires, in seconds since 1970."""
    return int(name[: 2 * _TIME_BYTES], 16) / 1000


def link_to(name: str, key: bytes) -> str:
    """Makes the link to a name, signed with `key`."""
    raw = bytes.fromhex(name)
    return base64.urlsafe_b64encode(raw + _signature(raw, key)).decode()


def name_in(link: str, key: bytes) -> str | None:
    """Returns the name that `link` was made for; None if it was not signed with `key`. Runs in constant time."""
    if not _LINK.fullmatch(link):
        return None
    raw = base64.urlsafe_b64decode(link)
    name, signature = raw[:_NAME_BYTES], raw[_NAME_BYTES:]
    return name.hex() if hmac.compare_digest(signature, _signature(name, key)) else None


def base_url(scheme: str, headers: Mapping[str, str], public: str | None) -> str | None:
    """Returns the base of links: `public`, else the request's own scheme and host; None if its Host is invalid."""
    host = headers.get("host", "")
    return public or (f"{scheme}://{host}" if _HOST.fullmatch(host) else None)


def _signature(name: bytes, key: bytes) -> bytes:
    return hmac.digest(key, name, hashlib.sha256)
