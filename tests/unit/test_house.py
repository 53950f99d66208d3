"""The shape of the package: no import circles, one name for one thing, and the order of rooms."""

import ast
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Any

import grimp
import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "engine" / "streamnursery"
FACADE = "facade"

LEFT_TO_THE_REQUEST_PATH = {"Admission", "Money", "Source"}
"""Names of supervisor, pipeline and scheduler/run, which are redrawn together."""


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    """Each module with those that it imports, also for types alone."""
    graph = grimp.build_graph("streamnursery", cache_dir=None)
    return {m: set(graph.find_modules_directly_imported_by(m)) for m in graph.modules}


def circles(imports: dict[str, set[str]]) -> list[list[str]]:
    """Modules that can reach themselves; by removing what imports nothing that is left."""
    left = {module: set(found) for module, found in imports.items()}
    while leaves := [module for module, found in left.items() if not found & set(left)]:
        for module in leaves:
            del left[module]
    return [[module, *sorted(found & set(left))] for module, found in sorted(left.items())]


def test_no_module_imports_itself_in_a_circle(imports: dict[str, set[str]]) -> None:
    assert circles(imports) == []


def test_a_circle_is_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) != []


def classes() -> dict[str, set[str]]:
    """Class names, without a leading underscore, with the rooms they stand in."""
    found = defaultdict(set)
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0]
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                found[node.name.lstrip("_")].add(room)
    return found


def test_no_two_rooms_have_a_class_of_one_name() -> None:
    twice = {name for name, rooms in classes().items() if len(rooms) > 1}
    assert twice == LEFT_TO_THE_REQUEST_PATH


def contract(name: str) -> dict[str, Any]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    found: dict[str, Any] = next(c for c in contracts["contracts"] if name in c["name"])
    return found


def layers() -> list[list[str]]:
    """The rooms from top to bottom; those in parentheses may not exist yet."""
    rows = contract("imports point down")["layers"]
    return [[room.strip(" ()") for room in row.replace(":", "|").split("|")] for row in rows]


def test_every_room_above_the_facade_is_forbidden_to_the_core() -> None:
    rows = layers()
    facade = rows.index([FACADE])
    above = {room for row in rows[:facade] for room in row}
    faces = {"__main__", "_public", "errors", "events", "plugins", "records", "settings"}
    rooms = {room for room in above - faces if (PACKAGE / room).exists()}
    core = contract("The core imports no room above")
    forbidden = {name.removeprefix("streamnursery.") for name in core["forbidden_modules"]}
    assert forbidden == rooms | {"simulator"}
    below = {room for row in rows[facade:] for room in row} - {"simulator", "serving", "_version"}
    sources = {name.removeprefix("streamnursery.") for name in core["source_modules"]}
    assert sources == {room for room in below if (PACKAGE / room).is_dir()}
