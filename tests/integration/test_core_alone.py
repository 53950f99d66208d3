"""The core without the rooms above it: they are deleted from a copy, and what is left works."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli import ROOT
from tests.unit.test_house import FACADE, layers

GUARD = 300
"""Seconds after which a process that hangs fails its test."""
TESTS = ("values", "core", "wire", "transport", "storage")
QUICK = ("values", "storage")
IMPORT_ALL = """
import importlib, pkgutil, streamnursery
for module in pkgutil.walk_packages(streamnursery.__path__, "streamnursery."):
    importlib.import_module(module.name)
    print(module.name)
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree without the rooms above the facade and the faces that gather them."""
    copy = tmp_path_factory.mktemp("core")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "engine", copy / "engine", ignore=ignored)
    shutil.copytree(ROOT / "tests" / "support", copy / "tests" / "support", ignore=ignored)
    for room in TESTS:
        shutil.copytree(ROOT / "tests/unit" / room, copy / "tests/unit" / room, ignore=ignored)
    shutil.copytree(ROOT / "tests" / "data", copy / "tests" / "data")
    for file in ("pyproject.toml", "tests/__init__.py", "tests/conftest.py"):
        shutil.copy(ROOT / file, copy / file)
    rows = layers()
    for room in (room for row in rows[: rows.index([FACADE])] for room in row):
        path = copy / "engine" / "streamnursery" / room
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.with_suffix(".py").unlink(missing_ok=True)
    return copy


def run(copy: Path, *words: str) -> str:
    path = os.pathsep.join((str(copy / "engine"), str(copy)))
    environment = {**os.environ, "PYTHONPATH": path, "STREAMNURSERY_TIER": "test"}
    ran = subprocess.run(
        [sys.executable, *words],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        timeout=GUARD,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-4000:]
    return ran.stdout


def test_every_module_that_is_left_can_be_imported(copy: Path) -> None:
    imported = run(copy, "-W", "error", "-c", IMPORT_ALL).split()
    assert "streamnursery.facade.engine" in imported
    assert not [name for name in imported if name.split(".")[1] in {"cli", "testing", "bench"}]


@pytest.mark.parametrize("room", TESTS)
def test_its_own_tests_pass(copy: Path, room: str, tier: str) -> None:
    if tier == "test" and room not in QUICK:
        pytest.skip("these tests run a second time in proof and soak only")
    words = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", f"tests/unit/{room}")
    assert " passed" in run(copy, *words)
