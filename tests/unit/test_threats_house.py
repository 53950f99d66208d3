"""T24, supply chain: what is installed is pinned, and importing the engine touches nothing."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))
PINNED = re.compile(
    r"^(?P<name>[a-z0-9][a-z0-9._-]*)(\[[a-z0-9,]+\])?==[^\s;]+"
    r"( ; [^\\]+?)?( +--hash=sha256:[0-9a-f]{64})+$"
)

WATCHED_IMPORT = """
import sys
touched = []
sys.addaudithook(lambda event, args: touched.append(event) if event.startswith("socket.") else None)
from streamnursery import *
print(sorted(set(touched)), sorted({"brotli", "brotlicffi", "zstandard"} & sys.modules.keys()))
"""


def requirements(lock: Path) -> list[str]:
    """Logical lines: continuations joined, comments and blank lines left out."""
    joined = lock.read_text().replace("\\\n", " ")
    lines = (re.sub(r" +", " ", line).strip() for line in joined.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_there_is_a_lock_file() -> None:
    assert "dev.lock" in [lock.name for lock in LOCKS]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_t24_every_line_of_a_lock_is_pinned_with_a_hash(lock: Path) -> None:
    lines = requirements(lock)
    assert len(lines) > 5
    assert [line for line in lines if not PINNED.match(line)] == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_t24_a_lock_names_no_server(lock: Path) -> None:
    assert re.findall(r"\S*://\S*|--(?:extra-)?index-url|--find-links", lock.read_text()) == []


PLUGINS = {"inspect", "llm"}
"""Extras of programs that have the engine as a plugin."""


def test_t24_every_declared_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    # What these import is the program that imports them: tests/contract/setup pins it.
    groups = [project["dependencies"], *(extras[name] for name in extras.keys() - PLUGINS)]
    declared = {canonical(re.split(r"[\[<>=!~ ;]", item)[0]) for group in groups for item in group}
    locked = {line.split("==")[0] for line in requirements(ROOT / "requirements" / "dev.lock")}
    assert declared - {"streamnursery"} <= locked


def test_t24_no_decompressor_is_locked() -> None:
    locked = {line.split("==")[0] for lock in LOCKS for line in requirements(lock)}
    assert locked.isdisjoint({"brotli", "brotlicffi", "zstandard"})


def test_t24_importing_the_engine_opens_no_socket_and_loads_no_decompressor() -> None:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", WATCHED_IMPORT],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert run.stderr == ""
    assert run.stdout == "[] []\n"
