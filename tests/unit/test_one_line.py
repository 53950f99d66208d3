"""What is printed of a value fits a line."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamnursery as sn
from streamnursery.core.measure.histogram import Histogram
from streamnursery.errors import NestedLeaseError, StructuredOutputError
from streamnursery.records import (
    EngineStatistics,
    ModelStatistics,
    Quantiles,
    Timings,
)
from streamnursery.settings import Call
from streamnursery.values.events import FinishKind
from streamnursery.values.one_line import LINE, cut, table
from streamnursery.values.statistics import ConnectionStatistics

counts = st.none() | st.integers(0, 10**7)
texts = st.text(max_size=300)


def fits(value: object) -> str:
    shown = repr(value)
    assert str(value) == shown or isinstance(value, Exception)
    assert len(shown) <= LINE
    assert "\n" not in shown
    return shown


@given(counts, counts, counts, counts, counts, st.booleans())
def test_usage(
    spent: int | None,
    made: int | None,
    cached: int | None,
    written: int | None,
    reasoning: int | None,
    estimated: bool,
) -> None:
    usage = sn.Usage(spent, made, cached, written, reasoning, estimated=estimated)
    shown = fits(usage)
    assert all(str(count) in shown for count in (spent, made, cached) if count is not None)
    assert ("estimated" in shown) == estimated


@given(texts, texts, st.sampled_from(["stop", "length", "tool_calls"]), counts)
def test_completions_and_outcomes(
    text: str, route: str, kind: FinishKind, tokens: int | None
) -> None:
    usage = sn.Usage(tokens, tokens)
    answer = sn.Completion(
        (sn.Choice(0, text),), usage, Timings(0.0), route, None, None, None, finish_kind=kind
    )
    assert kind in fits(answer)
    request = sn.ChatRequest("m", text)
    assert "7 ok" in fits(sn.Outcome(7, request, completion=answer))
    assert "7 failed" in fits(sn.Outcome(7, request, error=sn.ServerError(text)))
    fits(attrs.evolve(sn.Outcome(7, Call("m", print)), value=text))


@given(texts, st.none() | st.just(503), st.none() | st.just("openai"))
def test_errors(text: str, status: int | None, endpoint: str | None) -> None:
    for kind in (sn.ServerError, NestedLeaseError, StructuredOutputError):
        error = kind(text, status=status)
        error.endpoint = endpoint
        shown = fits(error)
        assert shown.startswith(f"<{kind.__name__}")
        assert (endpoint or "") in shown
        assert str(error) == text
    assert "2 configuration errors" in fits(sn.ConfigError(["a" * 99, "b" * 99]))


@given(st.lists(st.floats(0, 1e5), max_size=20), st.integers(0, 10**9))
def test_statistics(durations: list[float], count: int) -> None:
    histogram = Histogram()
    for duration in durations:
        histogram.add(duration)
    model = ModelStatistics(
        requests=count,
        succeeded=count,
        failed=count,
        active=count,
        queued=count,
        ttft=Quantiles(histogram),
        tokens_per_second=12345.678,
        output_tokens=count,
        cost=sn.Money(count),
    )
    fits(model)
    fits(model.ttft)
    engine = EngineStatistics(
        total=model,
        models={"a-long-name-" * 9: model, "b": ModelStatistics()},
        routes={},
        connections=ConnectionStatistics(),
        streams=1,
        buffered_bytes=0,
        uptime=1.0,
    )
    fits(engine)
    lines = engine.table().splitlines()
    assert [line.split()[0][:5] for line in lines] == ["model", "a-lon", "b", "total"]
    assert all(len(line) <= 200 for line in lines)
    assert f" {count} " in lines[3]
    assert len({len(line) for line in lines}) == 1, "the last column stands to the right"


@pytest.mark.parametrize(
    ("text", "most", "shown"), [("abc", 3, "abc"), ("abcd", 3, "..."), ("a\n b", 9, "a b")]
)
def test_a_text_is_cut(text: str, most: int, shown: str) -> None:
    assert cut(text, most) == shown


def test_a_table_has_its_first_column_to_the_left() -> None:
    assert table(["a", "bb"], [["ccc", "d"]]) == "a    bb\nccc   d"
