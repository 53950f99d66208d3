"""The package declares what it imports, and does not rely on the dependencies of others."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "engine" / "streamnursery"
FOREIGN = SOURCES / "testing" / "clients"
"""Programs for interpreters that have those clients."""
EXTRAS = ("cli", "ws", "data", "prices", "otel", "test")
UNIMPORTED = {"pytest-trio", "streamnursery"}
"""pytest-trio runs what the pytest plugin declares; an extra names the package itself."""


def imported(path: Path) -> Iterator[str]:
    """The top-level modules that running `path` may import."""
    tree = ast.parse(path.read_text())
    for_types = {
        id(below)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for below in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def needed() -> dict[str, str]:
    """By distribution, a file that imports it."""
    known = packages_distributions()
    found: dict[str, str] = {}
    for path in sorted(SOURCES.rglob("*.py")):
        if FOREIGN in path.parents:
            continue
        for name in imported(path):
            if name != "streamnursery" and name not in sys.stdlib_module_names:
                # A namespace, as `opentelemetry` is, has several: the first is the API by its name.
                distribution = min(known.get(name, [name]), key=_api_first)
                found[canonical(distribution)] = str(path.relative_to(SOURCES))
    return found


def _api_first(name: str) -> tuple[bool, str]:
    return not name.endswith("-api"), name


def declared(*groups: str) -> set[str]:
    """The distributions that pyproject.toml names, of the core and of these extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    items = [*project["dependencies"], *(item for group in groups for item in extras[group])]
    return {canonical(re.split(r"[\[<>=!~ ;]", item)[0]) for item in items}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_imported_package_is_declared() -> None:
    known = declared(*EXTRAS)
    assert {name: file for name, file in needed().items() if name not in known} == {}


def test_every_declared_package_is_imported() -> None:
    assert declared(*EXTRAS) - needed().keys() - UNIMPORTED == set()
