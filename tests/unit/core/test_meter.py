from math import inf

import attrs
import pytest

from streamnursery.core.measure.meter import Meter
from streamnursery.core.measure.meter_view import keep, model_statistics, total_statistics
from streamnursery.values.policy import Patience
from streamnursery.values.request import ChatRequest
from streamnursery.values.statistics import ModelStatistics
from streamnursery.values.timings import Timings
from streamnursery.values.usage import Usage

REQUEST = ChatRequest("m", [{"role": "user", "content": "x"}])


def test_events_of_one_read_record_one_gap_and_zeros() -> None:
    meter = Meter()
    meter.first_content(0.5, 3)
    meter.more_content(0.2, 2)
    snapshot = model_statistics(keep(meter), (0, 0, None, 10, 0))
    assert snapshot.content_events == 5
    assert snapshot.ttft.count == 1
    assert snapshot.itl.count == 4
    assert snapshot.itl.p50 == 0.0
    assert snapshot.itl.max == 0.2


def test_final_figures_use_usage_and_count_events_without_it() -> None:
    meter = Meter()
    timings = Timings(0.0, 0.0, 1.0, 3.0, 3.0, content_events=5)
    meter.usage(Usage(input_tokens=7, output_tokens=21), timings)
    meter.usage(None, timings)
    meter.usage(Usage(output_tokens=0), timings)
    assert meter.output_tokens == 21 + 5
    assert meter.input_tokens == 7
    assert meter.streamed_tokens / meter.streaming_seconds == pytest.approx((20 + 4) / 4)


def test_the_total_clock_goes_by_assumptions_until_there_are_samples() -> None:
    """Answers that failed are samples too: none of these has succeeded."""
    meter = Meter()
    assert meter.total_patience(Patience(total=None), REQUEST) == inf
    assert meter.total_patience(Patience(total=7), REQUEST) == 7
    assert meter.total_patience(Patience(), REQUEST) == inf
    long = ChatRequest("m", REQUEST.messages, max_tokens=45_000)
    assert meter.total_patience(Patience(), long) == pytest.approx(1 + 1000 + 5)
    for _ in range(20):
        meter.ttft.add(2)
        meter.usage(Usage(output_tokens=901), Timings(0.0, 0.0, 2.0, 92.0, 92.0))
    assert meter.total_patience(Patience(), long) == pytest.approx(2 + 4500 + 5)
    assert meter.total_patience(Patience(), attrs.evolve(long, n=2)) == pytest.approx(9007)


def test_merging_adds_everything() -> None:
    a, b = Meter(), Meter()
    for meter in (a, b):
        meter.requests = 2
        meter.retries = 1
        meter.errors["server_error"] += 1
        meter.first_content(1.0, 1)
    a.merge(b)
    assert (a.requests, a.retries, a.errors["server_error"], a.ttft.count) == (4, 2, 2, 2)


def test_statistics_say_what_was_at_their_moment_whenever_they_are_read() -> None:
    meters = [Meter() for _ in range(3)]
    for number, meter in enumerate(meters, 1):
        for _ in range(number):
            meter.requests += 1
            meter.queue_time.add(0.1)
            meter.first_content(float(number), 2)
            meter.more_content(0.5, 1)
            meter.latency.add(2.0)
            meter.errors["x"] += 1
    kept = [keep(meter) for meter in meters]
    for meter in meters:
        for _ in range(150):
            meter.requests += 1
            meter.queue_time.add(50.0)
            meter.first_content(90.0, 1)
            meter.more_content(70.0, 1)
            meter.errors["x"] += 1
    loads = (0, 0, None, 10, 0)
    for number, each in enumerate(kept, 1):
        model = model_statistics(each, loads)
        assert (model.requests, model.errors, model.average_latency) == (number, {"x": number}, 2.0)
        assert model.ttft.count == number
        assert model.ttft.p50 == pytest.approx(number, rel=0.05)
        assert (model.itl.count, model.itl.max) == (2 * number, 0.5)
        assert model.queue_time.max == 0.1
    total = total_statistics(kept, loads)
    assert (total.requests, total.errors) == (6, {"x": 6})
    assert (total.ttft.count, total.ttft.max, total.ttft.sum) == (6, 3.0, 14.0)
    assert total.itl.count == 12
    assert total.itl.p99 == pytest.approx(0.5, rel=0.05)
    assert sum(n for _, n in total.queue_time.buckets) == 6
    assert meters[0].queue_time.count == 151
    assert repr(total.queue_time).startswith("Quantiles(count=6, mean=0.1")


def test_a_distribution_of_nothing_has_no_figures() -> None:
    nothing = model_statistics(keep(Meter()), (0, 0, None, 0, 0))
    assert (nothing.ttft.count, nothing.ttft.mean, nothing.ttft.p99) == (0, None, None)
    assert (nothing.ttft.max, nothing.ttft.buckets, nothing.utilisation) == (None, (), 0.0)
    assert nothing == ModelStatistics()
