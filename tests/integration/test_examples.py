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
    "whole_tour.py": r"""events: 4 deltas, 1 end
own: a stream of one's own
pool: 99 of 100, limits kept: True
own calls: 76024, each 0\.001 USD
session: network_error after [1-9]\d*, then 4 words, delivered, 1 reconnects
router: sim/fast, 0\.\d+ USD
router: large, 0\.\d+ USD
report: 0\.\d+ USD spent, the next at most 0\.\d+ USD
stall=2,9: timeout_error after [1-9]\d*, 1 attempts
status=401: authentication_error after 0, 1 attempts
garbage=html: parse_error after 0, 2 attempts
safe: whole, 3 attempts
benchmark: [1-9]\d* tokens/s, Quantiles\(count=25, mean=[^$]*
left: 0 active, 0 streams
model  [^$]*
sim/gpt-4\.1 +25   25 [^$]*
total +111  105 """,
}

ELSEWHERE = {"ray_data.py"}
"""Needs what the tests do not have; `tests/contract` runs it."""


def test_every_example_is_run() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == SAYS.keys() | ELSEWHERE


@pytest.mark.parametrize("name", sorted(SAYS))
def test_an_example_says_what_it_promises(name: str, tmp_path: Path) -> None:
    ran = run_python(tmp_path, EXAMPLES / name)
    assert ran.code == 0, ran.err
    assert re.search(SAYS[name], ran.out), ran.out


def test_the_whole_tour_is_short_enough_to_read() -> None:
    assert len((EXAMPLES / "whole_tour.py").read_text().splitlines()) <= 120


@pytest.mark.parametrize("name", sorted(SAYS))
def test_an_example_tells_how_to_run_it(name: str) -> None:
    assert f"python examples/{name}" in (EXAMPLES / name).read_text().split('"""')[1]
