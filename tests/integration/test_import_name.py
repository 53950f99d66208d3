"""The package has a name that no program of a user's is likely to have taken."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli import ROOT, empty_world
from tests.support.guard import GUARD

COMMAND = Path(sys.executable).with_name("streamnursery")


def module(folder: Path) -> None:
    (folder / "engine.py").write_text('raise RuntimeError("this is the user\'s own engine")\n')


def package(folder: Path) -> None:
    (folder / "engine").mkdir()
    (folder / "engine" / "__init__.py").write_text("cli = None\n")


def run(folder: Path, *command: str) -> str:
    """The command's output, run in `folder` with that folder first among the import paths."""
    ran = subprocess.run(
        command,
        cwd=folder,
        env={**empty_world(folder), "PYTHONPATH": "."},
        capture_output=True,
        text=True,
        timeout=GUARD,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.parametrize("own", [module, package], ids=lambda own: own.__name__)
def test_a_program_with_an_engine_of_its_own_works(tmp_path: Path, own: object) -> None:
    assert callable(own)
    own(tmp_path)
    assert "sim/fast" in run(tmp_path, str(COMMAND), "models")
    assert "sim/fast" in run(tmp_path, sys.executable, "-m", "streamnursery", "models")
    program = "import streamnursery as sn; print(sn.open_engine.__module__)"
    assert run(tmp_path, sys.executable, "-c", program).startswith("streamnursery.")


def test_the_old_name_says_the_new_one() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", "import engine"],
        cwd=ROOT,
        env=empty_world(ROOT) | {"PYTHONPATH": "."},
        capture_output=True,
        text=True,
        timeout=GUARD,
        check=False,
    )
    assert ran.returncode == 1
    assert "import streamnursery" in ran.stderr
