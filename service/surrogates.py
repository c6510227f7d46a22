"""Halves of surrogate pairs in JSON: what JavaScript writes where it has cut an emoji in two. No text can hold one."""

import re

_FIRST, _SECOND = "[dD][89abAB][0-9a-fA-F]{2}", "[dD][c-fC-F][0-9a-fA-F]{2}"
_LONE_HALF = re.compile(rf"\\u(?:{_FIRST}(?!\\u{_SECOND})|(?<!\\u{_FIRST}\\u){_SECOND})")
# No JSON holds it raw. It stands for two backslashes, which begin no escape.
_MARK = "\0"


def without_halves(document: str) -> str:
    r"""JSON with U+FFFD for each escape that is a half alone, such as `\ud83d`. What is no JSON stays none."""
    if _MARK in document:
        return document
    return _LONE_HALF.sub(r"\\ufffd", document.replace(r"\\", _MARK)).replace(_MARK, r"\\")
