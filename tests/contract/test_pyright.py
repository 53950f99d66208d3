"""The second type checker in wide use sees real types in what mypy checks of tests/typing.

pyright runs on Node.js; its package fetches the checker itself from the npm registry.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli import ROOT

pytest.importorskip("pyright", reason="installed by `make contract`")

pytestmark = pytest.mark.contract


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "tests/typing").glob("*.py")))
def test_pyright_finds_no_fault_in_programs_that_are_right(name: str) -> None:
    ran = pyright(ROOT / "tests/typing" / name)
    assert ran.returncode == 0, ran.stdout
    assert "0 errors" in ran.stdout


def test_pyright_finds_what_is_wrong(tmp_path: Path) -> None:
    program = ROOT / "tests/typing/worlds.py"
    text = program.read_text().replace("aio.TokenStream = stream", "int = stream", 1)
    wrong = tmp_path / "wrong.py"
    wrong.write_text(text)
    ran = pyright(wrong)
    assert ran.returncode == 1
    assert "AioTokenStream" in ran.stdout


def pyright(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, str(path)]
    environment = {**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
