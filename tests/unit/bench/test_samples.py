import json
from array import array

import pytest

from streamnursery.bench.run_summary import ALL, LoadRun, numbers, spread, summary, value_of
from streamnursery.bench.samples import CANCELLED, FAILED, OK, Sample, Tally, keeps
from streamnursery.bench.thresholds import parse


def sample(**changes: object) -> Sample:
    fields: dict[str, object] = {
        "index": 0,
        "model": "m",
        "intended_at": 1.0,
        "started_at": 1.5,
        "outcome": OK,
        "admitted_at": 2.0,
        "sent_at": 2.0,
        "first_at": 3.0,
        "second_at": 3.0,
        "last_at": 5.0,
        "ended_at": 5.5,
        "content_events": 5,
        "reads": 3,
        "output_tokens": 11,
        "attempts": 1,
        "gaps": array("d", [0.5, 1.5]),
    }
    return Sample(**{**fields, **changes})  # type: ignore[arg-type]


def test_latency_counts_from_the_intended_time() -> None:
    assert sample().times() == {
        "queue": 1.0,
        "ttft": 2.0,
        "ttft_send": 1.0,
        "second": 2.0,
        "tpot": pytest.approx(0.2),
        "e2e": 4.5,
    }


def test_what_did_not_happen_is_not_measured() -> None:
    failed = sample(outcome=FAILED, first_at=None, second_at=None, last_at=None, reads=0)
    assert failed.times() == {"queue": 1.0}


def test_events_of_one_read_have_one_gap_and_zeros() -> None:
    tally = Tally()
    tally.add(sample())
    assert tally.times["itl_read"].count == 2
    assert tally.times["itl"].count == 4
    assert tally.times["itl"].quantile(0.5) == 0.0
    assert tally.times["itl"].largest == 1.5


def test_only_whole_answers_are_throughput() -> None:
    tally = Tally()
    tally.add(sample())
    tally.add(sample(outcome=FAILED, category="truncated_error"))
    tally.add(sample(outcome=CANCELLED))
    found = numbers(tally, 10.0)
    assert found["errors"] == 0.5
    assert found["rps"] == pytest.approx(0.1)
    assert tally.categories == {"truncated_error": 1}
    assert found["cost"] is None


def test_goodput_asks_each_request_for_itself() -> None:
    slo = parse("ttft.p99<1s, itl.p95<80ms")
    quick = sample(first_at=1.1, gaps=array("d", [0.01] * 50), reads=51, content_events=51)
    slow_start = sample(gaps=array("d", [0.01]))
    one_long_gap = sample(first_at=1.1, gaps=array("d", [2.0]), reads=2, content_events=2)
    verdicts = [keeps(s, s.times(), slo) for s in (quick, slow_start, one_long_gap)]
    assert verdicts == [True, False, False]
    tally = Tally()
    for one in (quick, slow_start, one_long_gap):
        tally.add(one, slo)
    assert numbers(tally, 3.0)["goodput"] == pytest.approx(1 / 3)


def test_a_tally_survives_its_way_from_a_worker_and_merges() -> None:
    tally, twice = Tally(), Tally()
    for one in (sample(), sample(outcome=FAILED, category="timeout_error")):
        tally.add(one)
        twice.add(one)
        twice.add(one)
    other = Tally.unpacked(json.loads(json.dumps(tally.packed())))
    other.merge(tally)
    assert other.packed() == twice.packed()


def test_stints_of_two_workers_are_one() -> None:
    tally = Tally()
    tally.add(sample())
    one = LoadRun({ALL: tally, "a": tally}, 2.0, 1.0, 3.0, 0.001, 0.1, 4)
    two = LoadRun.unpacked(json.loads(json.dumps(attrs_changed(one).packed())))
    joined = one.joined(two)
    assert joined.tallies[ALL].requests == 2
    assert set(joined.tallies) == {ALL, "a", "b"}
    assert (joined.seconds, joined.cpu_seconds, joined.connections_opened) == (2.0, 2.0, 8)
    assert joined.lag_p99 == 0.001


def attrs_changed(load_run: LoadRun) -> LoadRun:
    return LoadRun(
        {ALL: load_run.tallies[ALL], "b": load_run.tallies["a"]},
        *(1.0, load_run.cpu_seconds, load_run.wall_seconds, None, 0.2, load_run.connections_opened),
    )


def test_a_line_is_json_without_its_gaps() -> None:
    line = json.loads(json.dumps(sample().line()))
    assert line["first_at"] == 3.0
    assert "gaps" not in line


def test_repetitions_say_how_sure_they_are() -> None:
    assert spread([]) is None
    single = spread([3.0])
    assert single is not None
    assert (single.value, single.low) == (3.0, None)
    several = spread([1.0, 2.0, 3.0])
    assert several is not None
    assert several.low == pytest.approx(2 - 4.30 / 3**0.5)


def test_a_summary_has_every_figure_and_is_json() -> None:
    tally = Tally()
    tally.add(sample())
    found = json.loads(
        json.dumps(summary([LoadRun({ALL: tally}, 2.0), LoadRun({ALL: tally}, 4.0)]))
    )
    assert found["requests"] == 2
    assert found["times"]["e2e"]["p50"] == pytest.approx(4.5)
    assert found["numbers"]["rps"]["ci95"] is not None
    assert sum(n for _, n in found["times"]["itl"]["distribution"]) == 8


def test_a_term_that_was_not_measured_has_no_value() -> None:
    assert value_of(parse("ttft.p50<1s")[0], Tally(), 1.0) is None
    assert value_of(parse("errors<1%")[0], Tally(), 1.0) is None
