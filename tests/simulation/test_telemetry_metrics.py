"""Metrics: the names of both editions, what Prometheus reads, and what a scrape costs."""

from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from streamnursery import telemetry
from streamnursery.core.measure.histogram import Histogram
from streamnursery.facade.figures import AT_ONCE as MODELS_AT_ONCE
from streamnursery.simulator import Status
from streamnursery.telemetry.buckets import BOUNDS, cumulative
from streamnursery.telemetry.labels import MOST_NAMES
from streamnursery.telemetry.prometheus import pieces
from tests.support.scene import AT_ONCE, PACED, ask, once, scene, virtual
from tests.support.traces import Traces

LATEST = "gen_ai_latest_experimental"


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        (
            "",
            {
                "gen_ai.client.operation.duration",
                "gen_ai.client.operation.time_to_first_chunk",
                "gen_ai.client.token.usage",
            },
        ),
        (
            f"http,{LATEST}",
            {
                "gen_ai.client.inference.duration",
                "gen_ai.client.inference.time_to_first_chunk",
                "gen_ai.client.inference.operation.input_tokens",
                "gen_ai.client.inference.operation.output_tokens",
                "gen_ai.client.inference.usage.input_tokens",
                "gen_ai.client.inference.usage.output_tokens",
                "gen_ai.client.inference.usage.cache_read.input_tokens",
                "gen_ai.client.inference.usage.cache_write.input_tokens",
                "gen_ai.client.inference.usage.reasoning.output_tokens",
            },
        ),
    ],
    ids=["1.36.0", "2026-11"],
)
def test_each_edition_has_its_metrics(
    asked: str, names: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", asked)
    traces = Traces()

    @virtual
    async def main() -> None:
        async with scene(once(Status(400)), profile=AT_ONCE) as s:
            traces.watch(s.engine)
            for _ in range(3):
                await ask(s.engine)

    main()
    traces.finished()
    found = traces.metrics()
    # The failed one is known to have cost nothing; of a model without a price no other is known.
    assert found.keys() == {*names, "streamnursery.cost"}
    provider = "gen_ai.provider.name" if asked else "gen_ai.system"
    duration = next(name for name in names if name.endswith(".duration"))
    whole, failed = sorted(found[duration], key=lambda point: "error.type" in point.attributes)
    assert (whole.count, failed.count) == (2, 1)
    assert failed.attributes["error.type"] == "content_error"
    assert whole.attributes[provider] == "main"


def test_failed_inferences_count_no_tokens_of_unknown_modality(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", LATEST)
    traces = Traces()

    @virtual
    async def main() -> None:
        async with scene(once(Status(400)), profile=AT_ONCE) as s:
            traces.watch(s.engine)
            await ask(s.engine)
            await ask(s.engine)

    main()
    traces.finished()
    points = traces.metrics()["gen_ai.client.inference.usage.output_tokens"]
    assert {p.attributes["gen_ai.token.modality"]: p.value for p in points} == {
        "unknown": 0,
        "text": 10,
    }


@virtual
async def test_the_text_agrees_with_the_statistics() -> None:
    async with scene(once(Status(503))) as s:
        await ask(s.engine)
        async with s.engine.stream("m", "hello") as stream:
            await anext(aiter(stream))
            text = telemetry.prometheus_text(s.engine)
        statistics = s.engine.statistics().total
    found = samples(text)
    model = (("model", "m"),)
    assert found["streamnursery_requests_started_total", model] == 2
    assert found["streamnursery_retries_total", model] == statistics.retries == 1
    assert found["streamnursery_active_streams", model] == 1
    assert found["streamnursery_streams", ()] == 1
    ended = (("model", "m"), ("outcome", "complete"))
    assert found["streamnursery_requests_ended_total", ended] == 1
    assert found["streamnursery_route_circuit", (("endpoint", "main"), ("model", "m"))] == 0
    assert found["streamnursery_time_to_first_token_seconds_count", model] == 2
    total = found["streamnursery_time_to_first_token_seconds_sum", model]
    assert total == pytest.approx(statistics.ttft.sum)
    assert found["streamnursery_request_duration_seconds_count", model] == 1
    gaps = found["streamnursery_inter_token_latency_seconds_count", model]
    assert gaps == statistics.itl.count


@virtual
async def test_budgets_are_in_dollars() -> None:
    priced = {"price": {"input": "0", "output": "1000"}}
    async with scene(model=priced, budgets={"daily": "5 USD"}, profile=AT_ONCE) as s:
        await ask(s.engine, max_tokens=100)
        found = samples(telemetry.prometheus_text(s.engine))
    budget = (("name", ""), ("scope", "all"), ("span", "daily"))
    assert found["streamnursery_budget_spent_dollars", budget] == pytest.approx(0.01)
    assert found["streamnursery_budget_limit_dollars", budget] == 5


def test_costs_are_those_of_the_ledger_and_unknown_ones_are_not_told() -> None:
    traces, free = Traces(), Traces()
    priced = {"price": {"input": "2", "output": "1000"}}

    async def scraped(told: Traces, model: dict[str, Any]) -> tuple[float, float]:
        async with scene(model=model, profile=AT_ONCE) as s:
            told.watch(s.engine, openinference=True)
            for _ in range(3):
                await ask(s.engine, max_tokens=100)
            text = samples(telemetry.prometheus_text(s.engine))
            spent = s.engine.usage_report().total.spent / 1e9
            return spent, text["streamnursery_cost_usd_total", (("model", "m"),)]

    found: list[tuple[float, float]] = []

    @virtual
    async def main() -> None:
        found.append(await scraped(traces, priced))
        found.append(await scraped(free, {}))

    main()
    (spent, scrape), (_, nothing) = found
    spans = [dict(span.attributes or {}) for span in traces.requests()]
    assert spent > 0.02
    assert scrape == pytest.approx(spent)
    assert nothing == 0
    for name in ("streamnursery.cost_usd", "llm.cost.total"):
        assert sum(float(str(span[name])) for span in spans) == pytest.approx(spent)
    (point,) = traces.metrics()["streamnursery.cost"]
    assert point.value == pytest.approx(spent)
    (unpriced, *_) = (dict(span.attributes or {}) for span in free.requests())
    assert not {"streamnursery.cost_usd", "llm.cost.total"} & unpriced.keys()
    assert "streamnursery.cost" not in free.metrics()


@virtual
async def test_names_beyond_the_bound_are_one_label() -> None:
    async with scene(profile=AT_ONCE) as s:
        meters = s.engine._catalogue.meters
        for number in range(MOST_NAMES + 50):
            s.engine._catalogue.meter(f"name {number}").requests += 2
        assert len(meters) == MOST_NAMES + 50
        found = samples(telemetry.prometheus_text(s.engine))
    started = {k: v for k, v in found.items() if k[0] == "streamnursery_requests_started_total"}
    assert len(started) == MOST_NAMES + 1
    assert started["streamnursery_requests_started_total", (("model", "other"),)] == 100
    assert sum(started.values()) == 2 * (MOST_NAMES + 50)


@given(st.text(max_size=20))
def test_any_name_survives_the_text(name: str) -> None:
    @virtual
    async def main() -> None:
        async with scene(profile=AT_ONCE) as s:
            s.engine._catalogue.meter(name).requests += 1
            found = samples(telemetry.prometheus_text(s.engine))
        clean = name.encode(errors="replace").decode()
        assert found["streamnursery_requests_started_total", (("model", clean),)] == 1

    main()


@given(st.lists(st.floats(0, 2000), max_size=50))
def test_folded_buckets_are_exact_at_their_bounds(durations: list[float]) -> None:
    histogram = Histogram()
    for seconds in durations:
        histogram.add(seconds)
    counts = cumulative(histogram)
    assert list(counts) == sorted(counts)
    for bound, count in zip(BOUNDS, counts, strict=True):
        # A duration on the bound itself may be counted on either side of it.
        least = sum(seconds <= bound * 0.999 for seconds in durations)
        most = sum(seconds <= bound * 1.001 for seconds in durations)
        assert least <= count <= most


@virtual
async def test_a_scrape_of_500_models_is_made_in_slices() -> None:
    """Counted and not timed: models taken and lines written between two checkpoints."""
    async with scene(profile=AT_ONCE) as s:
        for number in range(500):
            s.engine._catalogue.meter(f"name {number}").requests += 1
        made = list(pieces(s.engine))
        steps: list[float] = []

        async def other() -> None:
            while True:
                steps.append(trio.current_time())
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            await telemetry.prometheus.scrape(s.engine)
            nursery.cancel_scope.cancel()
    assert sum(piece == "" for piece in made) == 2 * (500 // MODELS_AT_ONCE)
    assert max(piece.count("\n") for piece in made) <= 201
    assert len(steps) >= len(made) - 1


@virtual
async def test_an_engine_that_did_nothing_has_a_text() -> None:
    async with scene(profile=PACED) as s:
        text = telemetry.prometheus_text(s.engine)
    assert len(list(text_string_to_metric_families(text))) > 30
