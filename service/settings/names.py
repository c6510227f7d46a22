"""Misspelt names of variables: the setting that an unknown name may be meant for."""

import difflib
import functools
import re
import unicodedata
from collections.abc import Collection

# A prefix that is easily put before names that do not have it.
_PREFIX = "COZE_"
# OpenTelemetry has many more variables than the settings here.
_FOREIGN = "OTEL_"
# The similarity, from 0 to 1, that makes a name suspicious. API_KEY and API_KEYS have 0.93; COZE_API_BASE and a
# frontend's own VITE_COZE_API_BASE have 0.84.
_ALIKE = 0.85


def same_letters(name: str, settings: Collection[str]) -> str | None:
    """Returns the setting whose name differs from `name` only in case, width, punctuation and invisible characters."""
    return next((setting for setting in settings if _letters(setting) == _letters(name)), None)


def nearly(name: str, settings: Collection[str]) -> str | None:
    """Returns the setting whose name is most similar to `name`; None if none is similar enough."""
    if name.startswith(_FOREIGN):
        return None
    for tried in {name.upper(), name.upper().removeprefix(_PREFIX)}:
        if found := difflib.get_close_matches(tried, settings, 1, _ALIKE):
            return found[0]
    return None


@functools.cache
def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", unicodedata.normalize("NFKC", name).lower())
