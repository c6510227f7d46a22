"""Slips of the pen in variables' names: which setting a name that is none's may be meant for."""

import difflib
import functools
import re
import unicodedata
from collections.abc import Collection

# Where so many variables begin so, one that does not is easily given the prefix as well.
_PREFIX = "COZE_"
# OpenTelemetry has many more variables than are settings here.
_FOREIGN = "OTEL_"
# How much of two names must be alike, from 0 to 1. Of API_KEY and API_KEYS 0.93 are; of VITE_COZE_API_BASE, which is a
# frontend's own, and COZE_API_BASE 0.84.
_ALIKE = 0.85


def same_letters(name: str, settings: Collection[str]) -> str | None:
    """The setting from whose name `name` differs at most in case, width, punctuation and what cannot be seen."""
    return next((setting for setting in settings if _letters(setting) == _letters(name)), None)


def nearly(name: str, settings: Collection[str]) -> str | None:
    """The setting whose name is most like `name`, if one is much like it."""
    if name.startswith(_FOREIGN):
        return None
    for tried in {name.upper(), name.upper().removeprefix(_PREFIX)}:
        if found := difflib.get_close_matches(tried, settings, 1, _ALIKE):
            return found[0]
    return None


@functools.cache
def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", unicodedata.normalize("NFKC", name).lower())
