"""Every Python block of the documents runs as it stands, without a key and without a warning."""

import re
from pathlib import Path

import pytest

from tests.conftest import TIER
from tests.support.cli import ROOT, run_python

DOCS = [
    ROOT / "README.md",
    *(
        ROOT / "docs" / f"{n}.md"
        for n in (
            *("asyncio", "sync", "quickstart", "recipes", "sdk", "sessions"),
            *("observability", "faq"),
        )
    ),
    *sorted((ROOT / "docs" / "start").glob("*.md")),
]


ALL = ("README",)
"""Of the others every sixth block runs in the test tier, and all of them from the next one on."""


def blocks() -> list[tuple[str, str]]:
    found = []
    for path in DOCS:
        text = re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL)
        named = [(f"{path.stem}-{number}", block) for number, block in enumerate(text, 1)]
        found += named[:: 6 if TIER == "test" and path.stem not in ALL else 1]
    return found


@pytest.mark.parametrize(("name", "block"), blocks(), ids=[name for name, _ in blocks()])
def test_a_block_of_python_runs(name: str, block: str, tmp_path: Path) -> None:
    script = tmp_path / f"{name}.py"
    script.write_text(block)
    ran = run_python(tmp_path, script)
    assert (ran.code, ran.err) == (0, "")
