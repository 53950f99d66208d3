"""Tables are made from raw results, and from whatever of them is there."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.publish.comparison import GOALS, NAMES, goals, summary
from benchmarks.publish.documents import BLOCKS, RESULTS, written
from benchmarks.publish.figures import Figures, newest
from benchmarks.publish.parts import parts
from benchmarks.publish.reference import reference


def results(**rows: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    machine = {"cpu": "C", "cores": 2, "system": "S", "load_before": 0.5}
    about = {"date": "2026-01-01", "commit": "c", "machine": machine, "versions": {"python": "3"}}
    return {
        **about,
        "rounds": 1,
        "rows": {name.replace("_", "-"): row for name, row in rows.items()},
    }


def turn(**figures: float) -> dict[str, Any]:
    return {"figures": figures}


def line(text: str, begins: str) -> list[str]:
    found = next(line for line in text.splitlines() if line.startswith(f"| {begins} |"))
    return [cell.strip() for cell in found.strip("|").split("|")]


def test_nothing_measured_is_a_page_of_gaps(tmp_path: Path) -> None:
    for name, make in BLOCKS.items():
        if name != "first":
            assert "-" in make(tmp_path)
    assert newest(tmp_path) == {}


def test_a_client_or_a_row_that_is_missing_is_a_gap() -> None:
    found = Figures(results(start={"litellm": [turn(cpu_us=6000.4)]}))
    assert line(summary(found), "litellm")[6:] == ["6,000", "-", "-"]
    assert line(summary(found), "AsyncOpenAI")[1:] == ["-"] * 8
    assert line(goals(found), "Start, of litellm")[2:] == ["-", "-"]
    assert line(reference(found), "10 streams, DeepSeek-like pace, tokens/s")[2:] == ["-", "-"]


def test_a_turn_that_failed_does_not_count() -> None:
    turns = [turn(cpu_us=200.0), {"failed": "it ended with 1"}, turn(cpu_us=220.0)]
    found = Figures(results(start={"Node, plain": turns, "litellm": [{"failed": "no"}]}))
    assert found.of("start", "Node, plain", "cpu_us") == 210
    assert found.of("start", "litellm", "cpu_us") is None


def test_identical_clients_count_together_and_say_how_far_apart_they_are() -> None:
    row = {"engine": [turn(cpu_us=400.0)], "engine again": [turn(cpu_us=500.0)]}
    found = Figures(results(start=row))
    assert found.of("start", "engine", "cpu_us") == 450
    assert "up to 25 %" in summary(found)


def test_a_goal_says_by_how_much_it_was_missed() -> None:
    row = {"engine": [turn(cpu_us=300.0)], "AsyncOpenAI": [turn(cpu_us=1000.0)]}
    found = Figures(results(start=row))
    assert line(goals(found), "Start of a stream")[1:] == ["0.4 ms", "0.3 ms", "yes"]
    assert line(goals(found), "Start, of AsyncOpenAI")[1:] == ["0.2 x", "0.3 x", "1.50 times that"]


def test_who_cannot_keep_up_is_not_compared_and_bears_a_star() -> None:
    fair, behind = (turn(cpu_us=50.0, events_per_read=n) for n in (1.0, 1.9))
    found = Figures(results(paced_100x50={"engine": [fair], "AsyncOpenAI": [behind]}))
    assert line(summary(found), "AsyncOpenAI")[3] == "50*"
    assert line(summary(found), "this engine")[3] == "50"
    assert line(goals(found), "100 x 50/s, of AsyncOpenAI")[2:] == ["-", "-"]


def test_what_is_lost_in_noise_says_so() -> None:
    found = Figures(results(start={"litellm": [turn(cpu_us=-3.0)]}))
    assert line(summary(found), "litellm")[6] == "lost in noise"


def test_quoted_figures_stand_beside_both_clients() -> None:
    rows = {"throughput": {"engine": [turn(tokens_per_second=849.6)]}}
    found = Figures(results(**rows))
    row = "10 streams, DeepSeek-like pace, tokens/s"
    assert line(reference(found), row)[1:] == ["850", "-", "850"]


def test_parts_of_which_some_were_not_run_are_gaps() -> None:
    found: dict[str, Any] = results()
    del found["rounds"]
    found |= {"micro": {"sse": {"median_us": 44.4, "values_us": [40.0, 51.6]}}}
    found |= {"admission": {"1000 waiting": {"calls_per_grant": 321.4}, "memory": {}}}
    assert line(parts(found), "100 server-sent events of one read")[1:] == ["44", "40 - 52"]
    assert line(parts(found), "one that is granted")[1:] == ["321, -"]
    assert line(parts(found), "1,000 choices among 20 models")[1:] == ["-", "-"]


def test_only_what_stands_between_the_marks_is_written(tmp_path: Path) -> None:
    text = "before\n<!--figures:goals-->\nold\n<!--end-->\nafter\n"
    made = written(text, tmp_path)
    assert made.startswith("before\n<!--figures:goals-->\n| ")
    assert made.endswith("|\n<!--end-->\nafter\n")
    assert written(made, tmp_path) == made
    with pytest.raises(KeyError, match="nonsense"):
        written(text.replace("goals", "nonsense"), tmp_path)


def test_the_newest_run_is_taken(tmp_path: Path) -> None:
    for day in ("2026-01-02", "2026-01-10", "2025-12-31"):
        (tmp_path / f"{day}-2-core.json").write_text(json.dumps({"date": day}))
    assert newest(tmp_path)["date"] == "2026-01-10"


def test_every_client_and_row_of_a_table_is_one_of_the_comparison() -> None:
    from benchmarks.compare.roster import CLIENTS
    from benchmarks.compare.rows import ROWS
    from benchmarks.publish.comparison import COLUMNS

    assert set(NAMES) <= set(CLIENTS)
    assert {row for row, _, _ in COLUMNS} <= set(ROWS)
    full = results(**{
        name: {
            c: [turn(cpu_us=1.0, kib_per_stream=1.0, cancel_ms=1.0, latency_p50_us=1.0)]
            for c in row.clients
        }
        for name, row in ROWS.items()
    })
    assert [g.says for g in GOALS if g.measure(Figures(full)) is None] == []
    assert RESULTS.is_dir()
