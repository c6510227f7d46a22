"""Lone surrogates in JSON, which JavaScript writes where it has cut an emoji in two. UTF-8 cannot hold them."""

import re

_FIRST, _SECOND = "[dD][89abAB][0-9a-fA-F]{2}", "[dD][c-fC-F][0-9a-fA-F]{2}"
_LONE_HALF = re.compile(rf"\\u(?:{_FIRST}(?!\\u{_SECOND})|(?<!\\u{_FIRST}\\u){_SECOND})")
# Stands in for two backslashes, which begin no escape. JSON cannot hold it raw.
_MARK = "\0"


def without_halves(document: str) -> str:
    r"""Replaces each escape of a lone surrogate, such as `\ud83d`, by U+FFFD. Invalid JSON stays invalid."""
    if _MARK in document:
        return document
    return _LONE_HALF.sub(r"\\ufffd", document.replace(r"\\", _MARK)).replace(_MARK, r"\\")
