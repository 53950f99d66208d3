"""What it costs to wait, however many wait: counted (docs/adr/0007), not timed."""

import json
import subprocess
import sys
from math import log
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WAITING = {"test": (300, 3000), "proof": (1000, 10_000), "soak": (1000, 100_000)}


@pytest.fixture(scope="module")
def counted(tier: str) -> tuple[dict[str, float], dict[str, float], float]:
    """With few waiting and with many, in a process of its own; and bytes for each."""
    few, many = map(str, WAITING[tier])
    command = [sys.executable, "-m", "benchmarks.admission", "--json", "--waiting", few, many]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    figures = json.loads(done.stdout)
    memory = figures["memory"]["bytes_per_waiter"]
    return figures[f"{few} waiting"], figures[f"{many} waiting"], memory


@pytest.mark.parametrize("what", ["arrival", "departure", "grant"])
def test_task_steps_do_not_grow_with_those_who_wait(
    what: str, counted: tuple[dict[str, float], dict[str, float], float]
) -> None:
    few, many, _ = counted
    # A waiter that is granted before it sleeps saves a step: with few of them that shows.
    assert many[f"steps_per_{what}"] <= 2
    assert few[f"steps_per_{what}"] <= 2
    assert many[f"calls_per_{what}"] <= 1.1 * few[f"calls_per_{what}"]


@pytest.mark.parametrize("what", ["arrival", "departure", "grant"])
def test_comparisons_grow_no_faster_than_a_logarithm(
    what: str, counted: tuple[dict[str, float], dict[str, float], float], tier: str
) -> None:
    few, many, _ = counted
    logarithm = log(WAITING[tier][1]) / log(WAITING[tier][0])
    name = f"comparisons_per_{what}"
    assert many[name] <= 1.5 * logarithm * max(1.0, few[name])


def test_one_that_waits_holds_a_kilobyte(
    counted: tuple[dict[str, float], dict[str, float], float],
) -> None:
    assert counted[2] <= 1200
