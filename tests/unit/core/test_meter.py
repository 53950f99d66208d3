from math import inf

import attrs
import pytest

from streamnursery.core.measure.meter import Meter
from streamnursery.values.policy import Patience
from streamnursery.values.request import ChatRequest
from streamnursery.values.timings import Timings
from streamnursery.values.usage import Usage

REQUEST = ChatRequest("m", [{"role": "user", "content": "x"}])


def test_events_of_one_read_record_one_gap_and_zeros() -> None:
    meter = Meter()
    meter.first_content(0.5, 3)
    meter.more_content(0.2, 2)
    snapshot = meter.snapshot(active=0, queued=0, limit=None, max_streams=10, peak=0)
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
