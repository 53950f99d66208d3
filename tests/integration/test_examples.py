"""The examples run, each in a process of its own, without a key and without a warning."""

import re
from pathlib import Path

import pytest

from tests.support.cli import ROOT, run_python

EXAMPLES = ROOT / "examples"
SAYS = {
    "chat_backend.py": r"Bob hung up: .*\n[^$]*2 answered, 1 cancelled, 0 active",
    "evaluation.py": r'"index": 59, .*"route": "sim/',
    "fan_out.py": r"199 whole, 1 failed",
    "hostile_provider.py": r"falls silent: IdleTimeoutError, .*\n[^$]*is only odd: whole",
    "own_function.py": r"21 vectors, at most 3 calls at once",
    "tools.py": r"answer: \w.*\nroles: user assistant tool assistant\nsun over \w+",
}


def test_every_example_is_run() -> None:
    assert sorted(path.name for path in EXAMPLES.glob("*.py")) == sorted(SAYS)


@pytest.mark.parametrize("name", sorted(SAYS))
def test_an_example_says_what_it_promises(name: str, tmp_path: Path) -> None:
    ran = run_python(tmp_path, EXAMPLES / name)
    assert ran.code == 0, ran.err
    assert re.search(SAYS[name], ran.out), ran.out


@pytest.mark.parametrize("name", sorted(SAYS))
def test_an_example_tells_how_to_run_it(name: str) -> None:
    assert f"python examples/{name}" in (EXAMPLES / name).read_text().split('"""')[1]
