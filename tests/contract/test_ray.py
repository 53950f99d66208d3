"""Ray Data with an engine in each actor: every row once, also when an actor is killed."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.cli import ROOT
from tests.support.peers import INSTALLED, needs

PYTHON = "ray/bin/python"
pytestmark = [pytest.mark.contract, needs(PYTHON)]
ROWS = 10_000


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("examples/ray_data.py", f"{ROWS} rows, each once; 0 failed"),
        (
            "tests/contract/programs/ray_one_killed.py",
            f"{ROWS} rows, each once; 0 failed; 3 actors, 1 killed",
        ),
    ],
)
def test_every_row_is_there_once(program: str, told: str, tmp_path: Path) -> None:
    environ = {
        **os.environ,
        "ROWS": str(ROWS),
        "MARK": str(tmp_path),
        "PYTHONPATH": str(ROOT / "engine"),
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    ran = subprocess.run(
        [INSTALLED / PYTHON, ROOT / program],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-5000:]
    assert told in ran.stdout
