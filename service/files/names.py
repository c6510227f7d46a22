"""Names of uploaded files, in each encoding that clients use.

Browsers write it in UTF-8, with %22 for a quote (https://html.spec.whatwg.org/#multipart-form-data). Others put a
backslash before a quote (RFC 9110, section 5.6.4), write in the encoding of their console, in encoded words of e-mail
(RFC 2047: .NET, Java), or in a parameter `filename*` (RFC 8187: .NET, urllib3).
"""

import re
from email.errors import HeaderParseError
from email.header import decode_header
from urllib.parse import unquote_to_bytes

from service.errors import BAD_REQUEST, ServiceError

MAX_CHARACTERS = 255
_ENCODED_WORDS = re.compile(r"(?:=\?[^?\s]+\?[BbQq]\?[^?\s]*\?=\s*)+")
# Encodings that clients name. No other is looked up, as Python caches every unknown name for ever.
_ENCODINGS = frozenset(
    {
        *("utf-8", "utf8", "us-ascii", "iso-8859-1", "windows-1252", "gb2312", "gbk", "gb18030", "big5"),
        *("shift_jis", "iso-2022-jp", "euc-jp", "euc-kr"),
    }
)
# The encoding of a Chinese Windows console, if it is not UTF-8.
CONSOLE = "gb18030"
# Control characters, line separators, direction overrides and lone surrogates.
_REFUSED = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def file_name(parameters: dict[str, bytes]) -> str | None:
    """Returns the name in the parameters of Content-Disposition, without folders; None if there is none.

    Raises ServiceError (400) if it is too long or cannot be displayed safely.
    """
    sent = _extended(parameters.get("filename*", b"")) or _plain(parameters.get("filename", b""))
    if not sent:
        return None
    name = sent.replace("\\", "/").rpartition("/")[2].strip(" ")
    if not name.strip().strip(".") or len(name) > MAX_CHARACTERS or _REFUSED.search(name):
        raise ServiceError(
            BAD_REQUEST,
            f"The file needs a name of at most {MAX_CHARACTERS} characters, without controls, line separators and "
            "direction overrides.",
        )
    return name


def decoded(raw: bytes, *encodings: str) -> str:
    """Decodes text with the first of `encodings` that fits. Raises ValueError if none does."""
    for encoding in encodings:
        if encoding.lower() in _ENCODINGS:
            try:
                return raw.decode(encoding)
            except UnicodeDecodeError:
                pass
    raise ValueError("text in none of these encodings")


def _extended(value: bytes) -> str | None:
    """Decodes an extended value of RFC 8187, such as `utf-8'en'%C2%A3`; None if it is not one."""
    encoding, _, rest = value.partition(b"'")
    try:
        return decoded(unquote_to_bytes(rest.partition(b"'")[2]), encoding.decode("latin-1"))
    except ValueError:
        return None


def _plain(value: bytes) -> str:
    name = decoded(value, "utf-8", CONSOLE, "windows-1252", "iso-8859-1")
    if '\\"' in name:
        name = re.sub(r'\\(["\\])', r"\1", name)
    else:
        # Browsers escape nothing else: a file may be called 100%25.txt.
        name = name.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")
    return _of_words(name) or name


def _of_words(name: str) -> str | None:
    """Decodes encoded words (RFC 2047), such as `=?utf-8?B?wqM=?=`; None if the name is none."""
    if not _ENCODED_WORDS.fullmatch(name):
        return None
    try:
        return "".join(decoded(word, str(encoding)) for word, encoding in decode_header(name))
    except (HeaderParseError, ValueError):
        return None
