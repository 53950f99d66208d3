"""A report as a page: what stands in it, and that it needs nothing else."""

import json
import re
from array import array
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnursery.bench.charts import Axis, Series, columns, linear, lines, logarithmic
from streamnursery.bench.page import page
from streamnursery.bench.plan import Options
from streamnursery.bench.remarks import sentences, sequential
from streamnursery.bench.report import as_json, dollars, head, rows
from streamnursery.bench.run_summary import ALL, LoadRun
from streamnursery.bench.samples import FAILED, OK, Sample, Tally
from streamnursery.bench.session import Level, Result, all_doubts
from streamnursery.bench.shapes import Concurrency
from streamnursery.bench.thresholds import parse

HOSTILE = '<script>alert("x")</script>&'
VOID = ("meta", "line", "circle", "rect", "path", "br")


def report(
    targets: list[str], loads: list[int], *, requests: int = 3, cost: float | None = None
) -> dict[str, Any]:
    levels = []
    for target in targets:
        for load in loads:
            tally = Tally()
            for index in range(requests):
                outcome = OK if index else FAILED
                times: dict[str, Any] = {"admitted_at": 1.0, "sent_at": 1.0, "first_at": 1.2}
                tally.add(
                    Sample(
                        index,
                        "m",
                        1.0,
                        1.0,
                        outcome,
                        "timeout_error",
                        **times,
                        last_at=2.0,
                        ended_at=2.0 + index,
                        content_events=3,
                        reads=3,
                        attempts=1,
                        cost_usd=cost if index else None,
                        gaps=array("d", [0.4, 0.4]),
                    )
                )
            load_run = LoadRun({ALL: tally, "m": tally}, 4.0, 3.9, 4.0, 0.2)
            levels.append(Level(target, Concurrency(load), (load_run,)))
    options = Options(count=requests, slo=parse("ttft.p99<1s"))
    result = Result(tuple(levels), options, None, all_doubts(levels, 1))
    made = as_json(result, started="2026-01-01T00:00:00Z", command="streamnursery bench")
    found: dict[str, Any] = json.loads(json.dumps(made))
    return found


class Balance(HTMLParser):
    """Every tag that is opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    handle_startendtag = lambda self, tag, attrs: None  # noqa: E731


def test_a_page_has_its_charts_and_fetches_nothing() -> None:
    text = page(report(["a", "b"], [1, 2, 4]))
    assert text.count("<svg") == 8  # over time: each target, for two charts
    assert re.findall(r"(?:src|href)=|url\(|<script|@import", text) == []
    balance = Balance()
    balance.feed(text)
    assert balance.open == []


def test_names_cannot_break_out_of_it() -> None:
    assert "<script>" not in page(report([HOSTILE], [1, 2]))


def test_a_single_level_needs_no_chart_against_load() -> None:
    assert "against load" not in page(report(["a"], [1]))


def test_a_run_in_which_nothing_worked_is_still_a_page() -> None:
    assert "100 %" in page(report(["a"], [1], requests=1))


def test_doubts_are_told_once_with_their_worst_case() -> None:
    told = [line for line in sentences(report(["a"], [1, 2, 4])) if line.startswith("warning")]
    assert len(told) == 2
    assert "it is the bottleneck" in told[0]
    assert "at 2 more loads" in told[0]


def test_the_table_has_a_row_for_each_level() -> None:
    assert len(rows(report(["a", "b"], [1, 2]))) == 4


@given(points=st.lists(st.tuples(st.floats(1e-6, 1e6), st.floats(0, 1e6)), min_size=1, max_size=20))
def test_every_point_lies_within_its_chart(points: list[tuple[float, float]]) -> None:
    points.sort()
    x = logarithmic("x", [p[0] for p in points], str)
    y = linear("y", [p[1] for p in points], str)
    text = lines("label", [Series("s", points)], x, y, dots=True)
    places = [float(found) for found in re.findall(r'c[xy]="([-0-9.]+)"', text)]
    assert all(0 <= place <= 640 for place in places)
    assert len(places) == 2 * len(points)


@pytest.mark.parametrize(
    "axis",
    [
        Axis("", 0, 7.3),
        Axis("", 0, 0.0004),
        Axis("", 0.9, 70, log=True),
        Axis("", 0.7, 1.4, log=True),
    ],
)
def test_ticks_are_round_and_few(axis: Axis) -> None:
    found = axis.ticks()
    assert 2 <= len(found) <= 9
    assert all(len(f"{at:.10g}".strip("0.")) <= 3 for at in found)


def test_columns_stack() -> None:
    x, y = linear("", [3], str), linear("", [5.0], str)
    text = columns("c", [Series("a", [(0, 2.0)]), Series("b", [(0, 3.0)])], x, y)
    tops = [float(found) for found in re.findall(r'<rect[^>]* y="([0-9.]+)"', text)]
    assert tops[1] < tops[0]


def test_cost_is_shown_where_it_is_known_and_says_of_how_many_requests() -> None:
    free, priced = report(["a"], [1]), report(["a"], [1], cost=0.0123)
    assert "cost" not in head(free)
    assert head(priced)[-1] == "cost"
    assert [row[-1] for row in rows(priced)] == ["$0.0246"]
    assert {len(row) for row in rows(priced)} == {len(head(priced))}
    assert "a at 1 at once: the cost is of 2 of 3 requests" in "\n".join(sentences(priced))
    assert "$0.0246</b><span>cost" in page(priced)
    assert "cost" not in page(free).partition("<details>")[0]
    assert dollars(1234.5) == "$1,234.50"
    assert any("nothing was paid" in line for line in sentences(report(["simulator"], [1], cost=1)))


def test_what_holds_at_every_load_is_said_once() -> None:
    told = sentences(report(["a"], [1, 2, 4]))
    slo = [line for line in told if "ttft.p99<1s" in line]
    assert slo == ["a: ttft.p99<1s kept at every load"]
    broken = report(["a"], [1, 2, 4])
    broken["targets"][0]["levels"][2]["slo"][0].update(kept=False, said="2 s")
    slo = [line for line in sentences(broken) if "ttft.p99<1s" in line]
    assert slo == [
        "a: ttft.p99<1s kept at 1 at once (200 ms), 2 at once (200 ms); NOT kept at 4 at once (2 s)"
    ]


def test_an_interrupted_benchmark_says_so() -> None:
    whole = report(["a"], [1])
    assert whole["interrupted"] is False
    assert "interrupted" not in " ".join(sentences(whole))
    assert any("interrupted" in line for line in sentences({**whole, "interrupted": True}))


def test_the_first_error_of_each_category_is_told_in_words() -> None:
    broken = report(["a"], [1])
    broken["targets"][0]["levels"][0][ALL]["first_errors"] = {"timeout_error": "too slow"}
    assert "a at 1 at once: the first timeout_error: too slow" in sentences(broken)


def test_a_small_benchmark_has_mean_least_and_most() -> None:
    assert sequential(report(["a"], [1])) == [
        "a at 1 at once: time to first token mean 200 ms, min 200 ms, max 200 ms, "
        "2.2 tokens/s, 33.3 % failed"
    ]


def test_the_tiles_are_of_the_highest_load_that_kept_the_slo() -> None:
    found = report(["a"], [1, 2, 4])
    found["targets"][0]["highest_load"] = "2 at once"
    first = page(found).partition("<ul")[0]
    assert "a, 2 at once" in first
    assert "a, 4 at once" not in first


def test_every_cell_stands_in_the_first_figures_with_its_colour() -> None:
    text = page(report(["a", "b"], [1, 2, 4]))
    first = text.partition("<ul")[0]
    cells = re.findall(r'<i class="key (c\d)"></i>([ab], \d at once)', first)
    assert [label for _, label in cells] == [f"{t}, {n} at once" for t in "ab" for n in (1, 2, 4)]
    # A colour means one thing on the whole page.
    meaning: dict[str, set[str]] = {}
    for colour, name in re.findall(r'<i class="key (c\d)[^"]*"></i>([^<]*)', text):
        meaning.setdefault(colour, set()).add(re.sub(r" (p50|p99|tokens/s)$", "", name))
    assert {colour: names for colour, names in meaning.items() if len(names) > 1} == {}


def test_each_load_is_a_label_of_its_axis() -> None:
    text = page(report(["a"], [1, 2, 4]))
    chart = text[text.index("Time to first token against load") :].partition("</svg>")[0]
    assert [f'middle">{load}</text>' in chart for load in (1, 2, 4)] == [True] * 3


def test_checks_stand_on_the_page_with_what_was_found() -> None:
    found = report(["a"], [1])
    place = {"target": "a", "load": "1 at once", "threshold": "errors<1%"}
    found["checks"] = [
        {**place, "measured": 0.3, "said": "30 %", "kept": False},
        {**place, "threshold": "ttft.p99<1s", "measured": None, "said": None, "kept": True},
    ]
    text = page(found)
    assert "<li class=missed>errors&lt;1% for a at 1 at once: 30 %" in text
    assert "<li class=met>ttft.p99&lt;1s for a at 1 at once: not measured" in text


def test_a_distribution_of_one_value_is_an_upright_line() -> None:
    chart = page(report(["a"], [1])).partition("<h2>Inter-token latency")[2]
    found = re.search(r' d="M([\d.]+) ([\d.]+)\D+([\d.]+) ([\d.]+)', chart)
    assert found is not None
    assert found[1] == found[3]
    assert float(found[2]) > float(found[4])
