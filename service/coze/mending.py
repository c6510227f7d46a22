"""JSON that is broken in places, read as far as it goes."""

import codecs
import contextlib
import json
import math
import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

# What decoders raise on input that is not what they expect: bad JSON, bad UTF-8, too deep.
UNDECODABLE = (msgspec.MsgspecError, ValueError, RecursionError)
REPLACEMENT = "\ufffd"

T = TypeVar("T", bound=Struct)


def lenient(kind: type[T]) -> Callable[[bytes], T]:
    """A decoder that raises UNDECODABLE only where there is no JSON object.

    A field that is not what it should be counts as absent, a broken character as U+FFFD. A number may be a text.
    """
    decode = msgspec.json.Decoder(kind, strict=False).decode
    decode_fields = [
        (field.encode_name, field.name, msgspec.json.Decoder(field.type, strict=False).decode)
        for field in msgspec.structs.fields(kind)
    ]

    def decode_leniently(data: bytes) -> T:
        try:
            return decode(data)
        except UNDECODABLE:
            found = _decode_object(_mended(data))
        given = {}
        for encoded, name, decode_field in decode_fields:
            if encoded in found:
                with contextlib.suppress(*UNDECODABLE):
                    given[name] = decode_field(found[encoded])
        return kind(**given)

    return decode_leniently


_decode_object = msgspec.json.Decoder(dict[str, Raw]).decode


def _mended(data: bytes) -> bytes:
    """JSON that msgspec takes, of JSON that only Python does."""
    text = json.dumps(parse(data.decode(errors="replace")), ensure_ascii=False)
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def parse(text: str) -> Any:
    """JSON as Python reads it: half a surrogate pair and control characters in texts are taken. NaN and the like are
    null. Raises UNDECODABLE.
    """
    return json.loads(text, strict=False, parse_constant=lambda _: None, parse_float=_finite)


def _finite(number: str) -> float | None:
    value = float(number)
    return value if math.isfinite(value) else None


_Utf8 = codecs.getincrementaldecoder("utf-8")
_HALF = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # of a surrogate pair; what is left out stands for a byte


def whole_characters(text: str) -> tuple[str, str]:
    """`text` with its characters mended, and what is cut off at its end.

    Halves of surrogate pairs, and bytes that stand as surrogate escapes (PEP 383), are joined with their neighbours;
    what stays broken becomes U+FFFD. What is cut off may go on at the beginning of the next text.
    """
    text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    cut = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
    decoder = _Utf8("replace")
    halves_replaced = _HALF.sub(REPLACEMENT, text.removesuffix(cut))
    whole = decoder.decode(halves_replaced.encode(errors="surrogateescape"), bool(cut))
    return whole, cut or decoder.getstate()[0].decode(errors="surrogateescape")
