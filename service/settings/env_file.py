"""The parser of `.env`: one NAME=value a line, as shells, Docker and python-dotenv read it, and nothing else.

Allowed are `export` before a name, blanks around `=`, and comments after ` #` or on a line of their own. A value may be
in single or double quotes, with `\\n` for a line break in double ones; only a quoted PEM may span lines. Any other line
is an error, as it may be the one that keeps strangers out. Nothing is expanded: `$HOME` is five characters.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_BINDING = re.compile(r"(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=(.*)")
_COMMENT = re.compile(r"[ \t]#.*")
# A quoted value, and the escapes within.
_DOUBLE = re.compile(r'[ \t]*"((?:\\.|[^\\"])*)"[ \t]*(?:#.*)?', re.DOTALL), re.compile(r"\\([nrt'\"\\])")
_SINGLE = re.compile(r"[ \t]*'((?:\\.|[^\\'])*)'[ \t]*(?:#.*)?", re.DOTALL), re.compile(r"\\(['\\])")
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}
_PEM_BEGINS = re.compile(r"""[ \t]*(["'])-----BEGIN [A-Z ]+-----[^"']*""")
_PEM = re.compile(r"-----BEGIN [A-Z ]+-----\n.*-----END [A-Z ]+-----\s*", re.DOTALL)


class Binding(NamedTuple):
    """A variable, its value, and the number of the line that sets it."""

    name: str
    value: str
    line: int


def read_bindings(path: Path) -> list[Binding]:
    """Returns the bindings in the file at `path`, none if there is no file.

    Raises ValueError for a line that is no binding, with its number and nothing of its text.
    """
    try:
        lines = enumerate(path.read_text("utf-8-sig").splitlines(), 1)
    except FileNotFoundError:
        if path.is_symlink():
            raise ValueError(f"{path.name} is a link that leads nowhere.") from None
        return []
    except (OSError, UnicodeError):
        raise ValueError(f"{path.name} cannot be read as text in UTF-8.") from None
    found = []
    for number, line in lines:
        text = line.strip(" \t")
        if not text or text.startswith("#"):
            continue
        if not (match := _BINDING.fullmatch(text)):
            raise ValueError(f"{path.name} has no NAME=value in line {number}.")
        name, rest = match.groups()
        try:
            found.append(Binding(name, _value(rest, lines), number))
        except ValueError as error:
            raise ValueError(f"{path.name} has {error} in line {number}.") from None
    return found


def _value(rest: str, lines: Iterator[tuple[int, str]]) -> str:
    """Parses the value in `rest`, the text behind `=`; further lines of a PEM are taken from `lines`."""
    if begun := _PEM_BEGINS.fullmatch(rest):
        for _, line in lines:
            rest += f"\n{line}"
            if begun[1] in line:
                break
    for quoted, escape in (_DOUBLE, _SINGLE):
        if match := quoted.fullmatch(rest):
            text = match[1]
            value = escape.sub(lambda found: _ESCAPED.get(found[1], found[1]), text)
            break
    else:
        text = value = _COMMENT.sub("", rest).strip(" \t")
        if text.startswith(("'", '"')):
            raise ValueError("a quotation mark out of place")
    if "\n" in text:
        if not _PEM.fullmatch(text):
            raise ValueError("a quotation mark out of place")
    elif not text.replace("\t", " ").isprintable():
        raise ValueError("a character that cannot be seen")
    return value
