"""What an answer cost stands on the answer, and all answers together cost what was spent."""

import pickle
from datetime import date
from typing import Any

import attrs
import pytest
import trio

import streamnursery as sn
from streamnursery.records import AttemptEnded, AttemptRecord, Cost
from streamnursery.simulator import (
    Cut,
    Garbage,
    InStreamError,
    Plan,
    Reset,
    Rule,
    Stall,
    Status,
    UsageLie,
    When,
)
from streamnursery.simulator.fault import Fault
from streamnursery.testing import World, cancel_at_every_step, wait_quiescent
from streamnursery.values.cost import total_cost
from streamnursery.values.lifecycle import LifecycleRecord
from streamnursery.values.prices import Price, TokenRates
from streamnursery.values.settings import EngineConfig, ModelSettings
from tests.support.bridged import aio_scene, run, sync_scene
from tests.support.scene import PACED, scene, virtual

POINTS = {"test": 6, "proof": 30, "soak": None}
PRICE = {"input": "2", "output": "1000", "source": "the contract", "as_of": "2025-04-14"}
TOKEN = 1_000_000
"""Nano-dollars of a token of output."""
PRICED: dict[str, Any] = {"model": {"price": PRICE}}

FAULTS: dict[str, tuple[Fault, ...]] = {
    "none": (),
    "refused": (Status(429, retry_after=1),),
    "no answer": (Stall(at=0, seconds=None),),
    "reset before the first token": (Reset(0),),
    "cut after two tokens": (Cut(2),),
    "an error in the stream": (InStreamError(0),),
    "no JSON": (Garbage("html"),),
    "usage that is a lie": (UsageLie("missing"),),
}


def priced(config: EngineConfig) -> EngineConfig:
    """The same with a price for its model."""
    rates = TokenRates(2 * 10**9, 1000 * 10**9)
    model = ModelSettings("gpt-4.1", price=(Price(rates),))
    return attrs.evolve(config, models={"gpt-4.1": model})


@virtual
async def test_a_completion_says_what_it_cost_and_by_which_price() -> None:
    async with scene(profile=PACED, **PRICED) as place:
        answer = await place.engine.complete("m", "Hi", max_tokens=10)
        assert answer.usage is not None
        assert answer.usage.input_tokens is not None
        input_nanos = 2_000 * answer.usage.input_tokens
        assert answer.cost.money == 10 * TOKEN + input_nanos
        assert answer.cost.price_date == date(2025, 4, 14)
        assert answer.cost.source == "the contract"
        assert str(answer.cost).endswith("USD (price of 2025-04-14)")
        assert answer.cost == answer.attempts[0].cost
        statistics = place.engine.statistics()
        assert statistics.models["m"].cost == statistics.total.cost == answer.cost.money


@virtual
async def test_a_model_without_a_price_costs_nobody_knows_what_and_says_why() -> None:
    async with scene(profile=PACED) as place:
        answer = await place.engine.complete("m", "Hi", max_tokens=10)
        assert answer.cost.money is None
        assert "model 'm' has no price" in answer.cost.reason
        assert str(answer.cost).startswith("unknown: model 'm' has no price")


@virtual
async def test_a_failed_request_has_a_cost_and_what_is_uncertain_stands_apart() -> None:
    plan = Plan((Rule((Stall(at=0, seconds=None),), When(requests=(1,))),))
    async with scene(plan, **PRICED) as place:
        request = sn.ChatRequest("m", "Hi", max_tokens=10, retries=sn.Retries(attempts=1))
        [outcome] = await place.engine.settle([request])
        assert not outcome.ok
        report = place.engine.usage_report().total
        assert outcome.cost.money == report.spent == 0
        assert outcome.cost.uncertain == report.uncertain > 10 * TOKEN


@pytest.mark.parametrize("name", FAULTS)
def test_what_all_outcomes_cost_is_what_was_spent_wherever_they_are_cut(
    name: str, tier: str
) -> None:
    plan = Plan((Rule(FAULTS[name], When(requests=(1, 2))),))

    async def scenario(world: World, scope: trio.CancelScope) -> None:
        records: list[AttemptRecord] = []

        def watch(record: LifecycleRecord) -> None:
            if isinstance(record, AttemptEnded):
                records.append(record.record)

        outcomes: list[Cost] = []
        config = priced(world.config(max_streams=2))
        async with world.open_engine(config, observers=[watch]) as eng:

            async def ask(tenant: str) -> None:
                request = sn.ChatRequest("gpt-4.1", "Hi", max_tokens=4, tenant=tenant)
                streams: list[sn.TokenStream] = []
                try:
                    async with eng.stream(request, timeout=60) as stream:
                        streams.append(stream)
                        await stream.completion()
                except sn.EngineError as error:
                    outcomes.append(total_cost(error.attempts))
                except trio.Cancelled:
                    outcomes.extend(stream.cost for stream in streams)
                    raise
                else:
                    outcomes.append(streams[0].cost)

            with scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(ask, "a")
                    nursery.start_soon(ask, "b")
            await wait_quiescent(eng)
            spent = eng.usage_report().total
            for costs in ([record.cost for record in records], outcomes):
                assert sum(cost.money or 0 for cost in costs) == spent.spent
                assert sum(cost.uncertain for cost in costs) == spent.uncertain
            assert eng.statistics().total.cost == spent.spent

    report = cancel_at_every_step(scenario, plan=plan, most=POINTS[tier])
    assert report.points >= min(report.possible, 5)


@virtual
async def test_the_error_of_a_stream_that_is_cut_short_knows_what_its_last_attempt_cost() -> None:
    async with scene(profile=PACED, **PRICED) as place, trio.open_nursery() as nursery:

        async def cancel() -> None:
            await trio.sleep(1.55)
            place.engine.cancel_all()

        nursery.start_soon(cancel)
        [outcome] = await place.engine.settle([sn.ChatRequest("m", "Hi", max_tokens=10)])
        assert isinstance(outcome.error, sn.StreamCancelledError)
        assert len(outcome.error.attempts) == 1
        cost = outcome.cost
        assert cost.estimated
        assert cost.money == place.engine.usage_report().total.spent > 5 * TOKEN


@virtual
async def test_the_cost_of_a_kept_answer_holds_no_engine() -> None:
    async with scene(profile=PACED, **PRICED) as place:
        answer = await place.engine.complete("m", "Hi", max_tokens=10)
    again = pickle.loads(pickle.dumps(answer))
    assert again.cost == answer.cost


@virtual
async def test_an_estimate_brackets_what_the_answer_will_cost() -> None:
    async with scene(profile=PACED, **PRICED) as place:
        request = sn.ChatRequest("m", "Hi, how are you today? " * 50, max_tokens=10)
        estimate = place.engine.estimate(request)
        [route] = estimate.routes
        answer = await place.engine.complete(request)
        assert answer.cost.money is not None
        assert route.low is not None
        assert route.high is not None
        assert route.low < answer.cost.money <= route.high
        assert (estimate.output_tokens, route.route) == (10, answer.route)
        assert route.price_date == date(2025, 4, 14)
        assert place.engine.usage_report().total.attempts == 1


@virtual
async def test_an_estimate_has_every_route_and_none_for_a_model_without_a_price() -> None:
    async with scene(profile=PACED) as place:
        estimate = place.engine.estimate("m", "Hi")
        assert [(route.low, route.high) for route in estimate.routes] == [(None, None)]
        with pytest.raises(sn.RequestError, match="max_tokens must be"):
            place.engine.estimate("m", "Hi", max_tokens=0)


def test_from_asyncio_and_threads_an_answer_has_its_cost_too() -> None:
    async def main() -> None:
        async with aio_scene(**PRICED) as (eng, _):
            answer = await eng.complete("m", "Hi", max_tokens=10)
            assert answer.cost.money == (await eng.usage_report()).total.spent
            assert (await eng.estimate("m", "Hi", max_tokens=10)).routes[0].high
            async with eng.stream("m", "Hi") as stream:
                await stream.completion()
            assert stream.cost.money is not None

    run(main)
    with sync_scene(**PRICED) as (eng, _):
        answer = eng.complete("m", "Hi", max_tokens=10)
        assert answer.cost.money == eng.usage_report().total.spent
        assert eng.estimate("m", "Hi", max_tokens=10).routes[0].high


def test_a_record_made_by_hand_costs_nobody_knows_what() -> None:
    answer = sn.Completion((), None, sn.records.Timings(0.0), "main/m", "m", None, None)
    assert answer.cost.money is None
    assert "by hand" in answer.cost.reason
