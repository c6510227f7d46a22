"""The rooms of service/ and what each may import, as ARCHITECTURE.md says. Imports for type checkers count."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from conftest import ROOT

Table = dict[str, list[str]]


def modules() -> dict[str, Path]:
    """The file of each module of the service by its name, such as `coze/http/pool`; a package has its folder's."""
    service = ROOT / "service"
    found = {}
    for file in service.rglob("*.py"):
        name = file.relative_to(service).with_suffix("").as_posix()
        found[re.sub("/?__init__$", "", name)] = file
    del found[""]  # only its docstring
    return found


MODULES = modules()


@cache
def nodes(module: str) -> list[ast.AST]:
    """All of the module's source, as Python reads it."""
    return list(ast.walk(ast.parse(MODULES[module].read_bytes())))


@cache
def imports(module: str) -> set[str]:
    """The full names that a module imports. The service itself has no relative imports."""
    names = set()
    for node in nodes(module):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level or module.startswith("sandbox"), f"{module} has a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@cache
def of_service(module: str) -> set[str]:
    """The modules of the service that a module imports."""
    found = set()
    for name in imports(module):
        package, _, path = name.replace(".", "/").partition("/")
        if package == "service":
            found |= {path if path in MODULES else path.rpartition("/")[0]}
    assert found <= MODULES.keys() | {""}
    return found - {""}


def table(heading: str) -> Table:
    """The names in the first column of the table under `heading`, in order, with the names in its last."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    lines = text[text.index(f"| {heading} |") :].partition("\n\n")[0].splitlines()[2:]
    rows = [[re.findall("`([^`]+)`", cell) for cell in line.split(" | ")] for line in lines]
    return {name: row[-1] if len(row) > 1 else [] for row in rows for name in row[0]}


LAYERS = table("Room")
LIBRARIES = table("Library")


def room_of(module: str, rooms: Table = LAYERS) -> str:
    """The room in the table that a module belongs to: the innermost of those that its name is in."""
    while module not in rooms:
        assert "/" in module, f"{module} is in no room of ARCHITECTURE.md"
        module = module.rpartition("/")[0]
    return module


def test_each_room_of_the_table_is_there() -> None:
    assert LAYERS.keys() == {room_of(module) for module in MODULES}


def test_no_arrow_goes_up() -> None:
    order = list(LAYERS)
    arrows = [(order.index(room), order.index(other)) for room, others in LAYERS.items() for other in others]
    assert not [(order[room], order[other]) for room, other in arrows if other <= room]


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_its_room_may(module: str) -> None:
    room = room_of(module)
    assert {room_of(other) for other in of_service(module)} - {room} <= set(LAYERS[room])
    if room == "sandbox":
        assert not [name for name in imports(module) if name.startswith("generated")]


def test_no_module_imports_itself_by_way_of_others() -> None:
    # A module names its own package to get at its neighbours.
    below = {
        module: {other for other in of_service(module) if not f"{module}/".startswith(f"{other}/")}
        for module in MODULES
    }
    while leaves := {module for module, others in below.items() if not others}:
        below = {module: others - leaves for module, others in below.items() if module not in leaves}
    assert not below


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_is_used_in_its_rooms_alone(library: str) -> None:
    users = {module for module in MODULES if library in {name.partition(".")[0] for name in imports(module)}}
    rooms = {room_of(module) for module in users}
    assert rooms
    # The sandbox has its own choice of libraries.
    assert rooms - {"sandbox"} <= set(LIBRARIES[library])


@pytest.mark.parametrize("module", MODULES)
def test_only_the_settings_read_the_environment(module: str) -> None:
    if module in ("settings", "sandbox/settings"):
        return
    names = {node.attr for node in nodes(module) if isinstance(node, ast.Attribute)}
    names |= {name.rpartition(".")[2] for name in imports(module) if name.startswith("os.")}
    assert not names & {"environ", "environb", "getenv", "getenvb"}
