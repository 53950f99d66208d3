import pytest

from streamnursery.bench.thresholds import MAX_TERMS, ThresholdError, parse


def test_terms_are_read_with_their_units() -> None:
    first, second, third = parse("ttft.p99<1s, itl.p95<=80ms,errors < 1%")
    assert (first.metric, first.stat, first.op, first.value) == ("ttft", "p99", "<", 1.0)
    assert (second.op, second.value) == ("<=", 0.08)
    assert (third.metric, third.stat, third.value) == ("errors", "", 0.01)


@pytest.mark.parametrize(
    ("text", "found", "holds"),
    [
        ("ttft.p50<1s", 0.5, True),
        ("ttft.p50<1s", 1.0, False),
        ("ttft.p50<=1s", 1.0, True),
        ("rps>10", 10.0, False),
        ("rps>=10", 10.0, True),
        ("e2e.p99.9<250us", 0.0002, True),
        ("latency.max<1", 0.5, True),
    ],
)
def test_a_term_holds_or_not(text: str, found: float, holds: bool) -> None:
    assert parse(text)[0].holds(found) is holds


def test_percentiles_may_have_a_fraction() -> None:
    assert parse("e2e.p99.9<1s")[0].quantile == pytest.approx(0.999)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("ttft<1s", "needs a statistic"),
        ("ttft.p50<1%", "is a time"),
        ("ttft.p100<1s", "needs a statistic"),
        ("errors.p50<1%", "one number"),
        ("errors<1s", "no time"),
        ("tftt.p50<1s", "no metric 'tftt'"),
        ("ttft.p50", "write METRIC"),
        ("ttft.p50<-1s", "write METRIC"),
        (",".join(["rps>1"] * (MAX_TERMS + 1)), "at most"),
    ],
)
def test_what_cannot_be_read_says_what_would_be_right(text: str, says: str) -> None:
    with pytest.raises(ThresholdError, match=says):
        parse(text)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ThresholdError) as caught:
        parse("ttft<1s,nope.p50<1s,rps>1")
    assert len(str(caught.value).splitlines()) == 2
