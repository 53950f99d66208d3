"""The test of ten lines in docs/testing.md, run as its reader runs it: a file, and pytest."""

import re
import subprocess
import sys
from pathlib import Path

from tests.support.cli import ROOT

MOST_CPU = 20
"""Seconds; the operating system ends a process that takes more."""


def test_ten_lines_find_that_an_early_end_is_called_complete(tmp_path: Path) -> None:
    page = (ROOT / "docs/testing.md").read_text()
    section = page[page.index("## Prove a client that is not this engine") :]
    client, test, *_ = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert len(client.split("\n\n\n")[1].strip().splitlines()) <= 15
    assert len([line for line in test.splitlines() if line]) <= 10
    (tmp_path / "test_it.py").write_text(f"{client}\n\n{test}")
    bounded = (
        f"ulimit -t {MOST_CPU}; exec {sys.executable} -m pytest -q -p no:cacheprovider test_it.py"
    )
    ran = subprocess.run(
        ("sh", "-c", bounded), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "a part of an answer, said to be the whole" in ran.stdout
    assert "plan: Plan((Rule((Cut(3, 'end'),)),))" in ran.stdout
    assert "1 failed" in ran.stdout
