"""The table of targets is made from raw results, and from whatever of them is there."""

from typing import Any

import pytest
import trio

from benchmarks.compare.roster import CLIENTS
from benchmarks.compare.rows import ROWS
from benchmarks.start_cost import coroutine_frames
from benchmarks.targets.plan import PLAN
from benchmarks.targets.table import TARGETS, Target, across, counted, figure, markdown, ratio

LEFT, RIGHT = "engine", "aiohttp + uvloop"


def results(**rows: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    machine = {"cpu": "C", "cores": 2, "system": "S", "load_before": 0.5}
    about = {"date": "2026-01-01", "commit": "c", "machine": machine, "versions": {"python": "3"}}
    turns = {
        row.replace("_", "-"): {
            client: [{"figures": figures} for figures in turns] for client, turns in clients.items()
        }
        for row, clients in rows.items()
    }
    return {**about, "rounds": 2, "rows": turns, "counted": {}}


def cpu(*values: float) -> list[dict[str, float]]:
    return [{"cpu_us": value} for value in values]


def line(text: str, begins: str) -> list[str]:
    found = next(line for line in text.splitlines() if line.startswith(f"| {begins}"))
    return [cell.strip() for cell in found.strip("|").split("|")]


def test_nothing_measured_is_a_table_of_gaps() -> None:
    text = markdown(results())
    assert line(text, "start of a stream")[2] == "-"
    assert line(text, "start of a stream")[-1] == "-"
    assert all(target.measure(results()) is None for target in TARGETS)


def test_a_ratio_is_that_of_the_medians_and_each_round_says_how_far_they_are_apart() -> None:
    found = ratio("start", RIGHT)(
        results(start={LEFT: cpu(400, 440, 900), RIGHT: cpu(100, 200, 90)})
    )
    assert found is not None
    assert (found.value, found.low, found.high) == (4.4, 2.2, 10.0)


def test_a_round_lost_in_noise_or_failed_counts_for_neither() -> None:
    run = results(start={LEFT: cpu(400, 500, 450), RIGHT: cpu(100, -3, 150)})
    del run["rows"]["start"][LEFT][2]["figures"]
    found = ratio("start", RIGHT)(run)
    assert found is not None
    assert (found.low, found.high) == (4.0, 4.0)
    only = results(start={LEFT: cpu(400), RIGHT: cpu(-3)})
    assert ratio("start", RIGHT)(only) is None


def test_two_rows_of_one_client_can_be_compared() -> None:
    run = results(start={LEFT: cpu(800)}, burst_1={LEFT: cpu(400)})
    found = across(("start", LEFT, "cpu_us"), ("burst-1", LEFT, "cpu_us"))(run)
    assert found is not None
    assert found.value == 2.0


def test_what_is_counted_several_times_in_a_round_is_the_median_of_it() -> None:
    run = results() | {"counted": {"start_cost": [{"blocks": [1, 9, 3]}, {"blocks": [5, 5, 5]}]}}
    found = counted("start_cost", "blocks")(run)
    assert found is not None
    assert (found.value, found.low, found.high) == (4, 3, 5)
    assert counted("views", "blocks")(run) is None


@pytest.mark.parametrize(
    ("value", "met"), [(2.6, "1.30 times that"), (2.0, "yes"), (1.0, "moonshot")]
)
def test_a_target_says_whether_it_is_met_or_by_how_much_it_is_missed(
    value: float, met: str
) -> None:
    target = Target("t", figure("start"), "us", must=2.0, moonshot=1.5)
    assert target.row(results(start={LEFT: cpu(value)}), None)[-1] == met


def test_an_older_run_stands_beside_the_new_one() -> None:
    new, old = (results(hold_1000={LEFT: [{"kib_per_stream": kib}]}) for kib in (14.0, 20.0))
    cells = line(markdown(new, old), "held stream")
    assert cells[:4] == ["held stream", "KiB", "20 (20 - 20)", "14 (14 - 14)"]


def test_every_figure_that_was_measured_is_shown_beside_the_targets() -> None:
    run = results(start={LEFT: cpu(400), RIGHT: cpu(100)})
    assert "| start | CPU, us |" in markdown(run)
    assert line(markdown(run), RIGHT)[1] == "100 (100 - 100)"


def test_the_plan_names_rows_and_clients_that_there_are() -> None:
    assert set(PLAN) <= set(ROWS)
    assert {client for clients in PLAN.values() for client in clients} <= set(CLIENTS)
    everything = {"cpu_us": 2.0, "kib_per_stream": 2.0, "cancel_ms": 2.0}
    everything |= {"first_cpu_us": 2.0, "tenth_cpu_us": 2.0}
    rows = {row: {client: [everything] for client in clients} for row, clients in PLAN.items()}
    run = results(**rows)
    gaps = {target.says for target in TARGETS if target.measure(run) is None}
    assert gaps == {
        "functions until the first event",
        "memory blocks alive then",
        "statistics() of 500 models, longest slice",
        "snapshot() of 2,000 streams, longest slice",
    }


async def test_coroutine_frames_are_those_of_every_coroutine_that_waits() -> None:
    async def deep(levels: int) -> None:
        if levels > 1:
            await deep(levels - 1)
        else:
            await trio.sleep_forever()

    async def held(levels: int) -> int:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(deep, levels)
            await trio.testing.wait_all_tasks_blocked()
            found = coroutine_frames()
            nursery.cancel_scope.cancel()
        return found

    assert await held(7) - await held(3) == 4
