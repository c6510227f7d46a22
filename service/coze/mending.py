"""Lenient decoding of JSON that is broken in places."""

import codecs
import contextlib
import json
import math
import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

# The exceptions of decoders on bad input: bad JSON, bad UTF-8, too deep.
UNDECODABLE = (msgspec.MsgspecError, ValueError, RecursionError)
REPLACEMENT = "\ufffd"

T = TypeVar("T", bound=Struct)


def lenient(kind: type[T]) -> Callable[[bytes | Raw], T]:
    """Makes a decoder that raises UNDECODABLE only if the input is no JSON object.

    A field of the wrong type counts as absent, a broken character as U+FFFD. Numbers may be strings.
    """
    decode = msgspec.json.Decoder(kind, strict=False).decode
    decode_fields = [
        (field.encode_name, field.name, msgspec.json.Decoder(field.type, strict=False).decode)
        for field in msgspec.structs.fields(kind)
    ]

    def decode_leniently(data: bytes | Raw) -> T:
        try:
            return decode(data)
        except UNDECODABLE:
            found = _decode_object(_mended(bytes(data)))
        given = {}
        for encoded, name, decode_field in decode_fields:
            if encoded in found:
                with contextlib.suppress(*UNDECODABLE):
                    given[name] = decode_field(found[encoded])
        return kind(**given)

    return decode_leniently


_decode_object = msgspec.json.Decoder(dict[str, Raw]).decode


def _mended(data: bytes) -> bytes:
    """Rewrites JSON that only Python accepts into JSON that msgspec accepts."""
    text = json.dumps(parse(data.decode(errors="replace")), ensure_ascii=False)
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def parse(text: str) -> Any:
    """Parses JSON as Python does, with lone surrogates and control characters in strings. NaN and infinities are None.

    Raises UNDECODABLE.
    """
    return json.loads(text, strict=False, parse_constant=lambda _: None, parse_float=_finite)


def _finite(number: str) -> float | None:
    value = float(number)
    return value if math.isfinite(value) else None


_Utf8 = codecs.getincrementaldecoder("utf-8")
_HALF = re.compile(
    "[\ud800-\udc7f\udd00-\udfff]"
)  # lone surrogates; the gap is for surrogate escapes, which stand for bytes


def whole_characters(text: str) -> tuple[str, str]:
    """Returns `text` with its characters repaired, and an incomplete character at its end, to put before the next text.

    Surrogates, and bytes in surrogate escapes (PEP 383), are joined with their neighbours. The rest becomes U+FFFD.
    """
    text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    cut = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
    decoder = _Utf8("replace")
    halves_replaced = _HALF.sub(REPLACEMENT, text.removesuffix(cut))
    whole = decoder.decode(halves_replaced.encode(errors="surrogateescape"), bool(cut))
    return whole, cut or decoder.getstate()[0].decode(errors="surrogateescape")


def repaired(text: str | None) -> str | None:
    """Returns a whole text with its characters repaired; an incomplete one at its end becomes U+FFFD."""
    if not text:
        return text
    whole, cut = whole_characters(text)
    return whole + REPLACEMENT if cut else whole
