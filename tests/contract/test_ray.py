"""The example for Ray Data: every row once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli import ROOT

pytestmark = pytest.mark.contract
ROWS = 1000


def test_every_row_is_there_once(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    env = {**os.environ, "ROWS": str(ROWS), "PYTHONPATH": str(ROOT / "engine")}
    ran = subprocess.run(
        [sys.executable, ROOT / "examples" / "ray_data.py"],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert f"{ROWS} rows, each once; 0 failed" in ran.stdout
