"""Speed, gated by counting (docs/adr/0007): the same figures on every machine.

A figure that has fallen may be lowered here; one that rises is a regression to be explained. The
ceilings on calls leave room for the versions of Python, a tenth or so.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
READS = [
    "one event per read",
    "ten events per read",
    "one event per read, HTTP/2",
    "ten events per read, HTTP/2",
]
QUEUED = {"test": (500, 5_000)}
"""Otherwise a hundred times more at the most than at the least."""
QUEUED_LONG = (1_000, 10_000, 100_000)


@pytest.fixture(scope="module")
def counted(tier: str) -> dict[str, dict[str, float]]:
    """Counted in a process of its own, where nothing else allocates or profiles."""
    queued = QUEUED.get(tier, QUEUED_LONG)
    command = [sys.executable, "-m", "benchmarks.steps", "--json", "--queued", *map(str, queued)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    figures: dict[str, dict[str, float]] = json.loads(done.stdout)
    return figures


@pytest.mark.parametrize("load", READS)
def test_a_read_takes_two_task_steps_and_one_of_them_is_the_consumers(
    counted: dict[str, dict[str, float]], load: str
) -> None:
    updates = 0.1 if "HTTP/2" in load else 0  # the writer's, for windows that are given back
    assert counted[load]["steps_per_read"] <= 2 + updates
    assert counted[load]["consumer_steps_per_read"] <= 1


@pytest.mark.parametrize("load", READS)
def test_no_task_belongs_to_an_event_and_timers_move_once_a_second(
    counted: dict[str, dict[str, float]], load: str
) -> None:
    assert counted[load]["tasks_per_event"] == 0
    # Reads come every 5 ms here.
    assert counted[load]["timers_per_event"] <= 0.005


@pytest.mark.parametrize("load", [*READS, "short streams"])
def test_cost_grows_with_the_work_and_not_faster(
    counted: dict[str, dict[str, float]], load: str
) -> None:
    assert counted[load]["calls_at_2n_to_n"] <= 2.2


@pytest.mark.parametrize("load", READS)
def test_an_event_is_its_struct_and_its_text_and_leaves_nothing_behind(
    counted: dict[str, dict[str, float]], load: str
) -> None:
    assert counted[load]["blocks_per_event_kept"] <= 2.2
    assert counted[load]["blocks_per_event_left_behind"] <= 0.1


@pytest.mark.parametrize(
    ("load", "ceiling"),
    [
        ("one event per read", 156),
        ("ten events per read", 20),
        ("one event per read, HTTP/2", 213),
        ("ten events per read, HTTP/2", 29),
    ],
)
def test_an_event_costs_no_more_calls_than_it_did(
    counted: dict[str, dict[str, float]], load: str, ceiling: float
) -> None:
    assert counted[load]["calls_per_event"] <= ceiling


def test_a_short_stream_costs_no_more_than_it_did(counted: dict[str, dict[str, float]]) -> None:
    assert counted["short streams"]["tasks_per_stream"] <= 1
    assert counted["short streams"]["timers_per_stream"] <= 1
    assert counted["short streams"]["steps_per_stream"] <= 10
    assert counted["short streams"]["calls_per_stream"] <= 1580


def test_a_stream_that_is_over_leaves_no_circle_for_the_collector(
    counted: dict[str, dict[str, float]],
) -> None:
    # Half of an object is what the first and the last stream of a run have that others have not.
    assert max(counted["objects of a stream left to the collector"].values()) <= 0.5


def test_a_grant_costs_the_same_however_many_wait(counted: dict[str, dict[str, float]]) -> None:
    costs = counted["calls per grant"].values()
    assert max(costs) <= 1.1 * min(costs)
    assert max(costs) <= 489


def test_one_wake_up_of_the_pump_reads_all_streams_that_are_ready(
    counted: dict[str, dict[str, float]],
) -> None:
    many = counted["fifty streams at once"]
    # One step of each consumer, and the pump's shared by fifty.
    assert many["steps_per_read"] <= 1.1
    assert many["tasks_per_event"] == 0
    assert many["timers_per_event"] <= 0.005
    assert many["calls_per_event"] <= 113


MOST_CALLS = {
    "openai-responses": 3.3,
    "anthropic-messages": 2.0,
    "gemini": 2.0,
    "gemini-interactions": 3.5,
    "bedrock-converse": 3.1,
    "ollama": 2.2,
}
"""Of the chat API's, for each token. Calls into C, which are most of them, count like others: in
time every language stays below 2.0 (python -m benchmarks.dialects)."""


def test_a_token_in_another_language_takes_few_calls_beside_the_chat_api() -> None:
    command = [sys.executable, "-m", "benchmarks.dialects", "--calls"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    calls = json.loads(ran.stdout)
    assert calls.keys() == {"openai-chat", *MOST_CALLS}
    for dialect, most in MOST_CALLS.items():
        assert calls[dialect] <= most * calls["openai-chat"], calls
