"""The declaration of a setting: a field of a dataclass, together with its variable."""

from collections.abc import Callable
from dataclasses import field
from typing import Any, NamedTuple, TypeVar, overload

T = TypeVar("T")


class Setting(NamedTuple):
    """A variable. `default` is None if it has none; `parse` raises ValueError, saying what the variable takes."""

    name: str
    default: str | None
    parse: Callable[[str], Any]
    help: str
    secret: bool
    unit: str


@overload
def setting(default: str, parse: Callable[[str], T], help_: str, *, secret: bool = False, unit: str = "") -> T: ...
@overload
def setting(
    default: None, parse: Callable[[str], T], help_: str, *, secret: bool = False, unit: str = ""
) -> T | None: ...
def setting(
    default: str | None, parse: Callable[[str], Any], help_: str, *, secret: bool = False, unit: str = ""
) -> Any:
    """Declares a field of Settings together with its variable. `parse` must return the field's type."""
    return field(metadata={"default": default, "parse": parse, "help": help_, "secret": secret, "unit": unit})
