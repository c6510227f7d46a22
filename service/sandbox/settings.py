"""What the sandbox is told from outside: the only place here that reads the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

Flavour = Literal["cloud", "studio"]


@dataclass(frozen=True, slots=True)
class Settings:
    """How the sandbox starts.

    host: address to listen on. port: 0 takes any free one. delta_seconds: the pause between two words of
    an answer, in seconds, 0 for none. flavour: which Coze to speak, the cloud or the self-hosted Studio.
    """

    host: str = "127.0.0.1"
    port: int = 2027
    delta_seconds: float = 0.05
    flavour: Flavour = "cloud"


class BadSettingError(ValueError):
    """A variable has a value that the sandbox does not take; the text is one line and names it."""


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings from HOST, PORT, SANDBOX_DELTA_SECONDS and SANDBOX_FLAVOUR; an empty value means the default.

    Raises BadSettingError for the first value that is not taken.
    """
    default = Settings()
    flavour = environment.get("SANDBOX_FLAVOUR") or default.flavour
    if flavour not in ("cloud", "studio"):
        raise BadSettingError("SANDBOX_FLAVOUR takes cloud or studio")
    return Settings(
        host=environment.get("HOST") or default.host,
        port=int(_number(environment, "PORT", default.port, 65535, "a whole number from 0 (any free port) to 65535")),
        delta_seconds=_number(
            environment, "SANDBOX_DELTA_SECONDS", default.delta_seconds, 60, "seconds from 0 (no pause) to 60"
        ),
        flavour=cast("Flavour", flavour),
    )


def _number(environment: Mapping[str, str], name: str, default: float, most: float, takes: str) -> float:
    text = environment.get(name)
    if not text:
        return default
    try:
        value = float(text) if isinstance(default, float) else int(text)
    except ValueError:
        value = -1
    if not 0 <= value <= most:  # also refuses nan
        raise BadSettingError(f"{name} takes {takes}")
    return value
