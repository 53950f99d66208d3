"""A second attempt beside a slow first one: who owns the stream, and what becomes of the other."""

from contextlib import suppress
from typing import Any, Literal

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from streamnursery import EngineError, RequestError
from streamnursery.core.recovery.retry_budget import RetryBudget
from streamnursery.simulator import Delay, Plan, Profile, Reset, Rule, Status, When
from streamnursery.simulator.fault import Fault
from streamnursery.testing import World, cancel_at_every_step, wait_quiescent
from streamnursery.testing.sweeps import fail_at_every_io
from streamnursery.values.errors import AttemptRecord, AttemptState
from streamnursery.values.lifecycle import AttemptEnded, Hedged
from streamnursery.values.policy import OnInterrupt
from streamnursery.values.settings import EngineConfig, ModelSettings, Route
from tests.conftest import TIER
from tests.support.scene import AT_ONCE, PACED, always, ask, once, scene, virtual

EXAMPLES = {"test": 25, "proof": 120, "soak": 2000}
POINTS = {"test": 12, "proof": 60, "soak": None}
SLOW = once(Delay(first_token=10.0))


def by_number(attempts: tuple[AttemptRecord, ...]) -> dict[int, AttemptRecord]:
    return {attempt.number: attempt for attempt in attempts}


@virtual
async def test_a_hedge_that_answers_first_owns_the_stream() -> None:
    records: list[object] = []
    async with scene(SLOW, observers=[records.append]) as s:
        async with s.engine.stream("m", "hello", hedge_after=2.0) as stream:
            completion = await stream.completion()
        assert stream.timings.first_token_at == pytest.approx(2.0 + 1.0, abs=0.01)
        first, second = s.provider.log
        assert completion.text == second.intended()
        assert first.aborted
        assert first.ended_at == pytest.approx(3.0, abs=0.01)
        assert first.headers["idempotency-key"] != second.headers["idempotency-key"]
        attempts = by_number(completion.attempts)
        assert (attempts[1].state, attempts[2].state) == (
            AttemptState.MAYBE_SENT,
            AttemptState.DONE,
        )
        assert (attempts[1].hedge, attempts[2].hedge) == (False, True)
        assert attempts[1].error is None
        assert completion.request_id == second.id
    (hedged,) = [r for r in records if isinstance(r, Hedged)]
    assert (hedged.attempt, hedged.route, hedged.after, hedged.at) == (2, "main/m", 2.0, 2.0)
    total = s.engine.statistics().total
    assert (total.hedges, total.hedges_won, total.retries) == (1, 1, 0)


@virtual
async def test_a_hedge_that_answers_last_has_lost() -> None:
    async with scene(once(Delay(first_token=2.5))) as s:
        completion = await s.engine.complete("m", "hello", hedge_after=2.0)
        first, second = s.provider.log
        assert completion.text == first.intended()
        assert second.aborted
        assert [a.number for a in completion.attempts] == [2, 1]
        total = s.engine.statistics().total
        assert (total.hedges, total.hedges_won) == (1, 0)


@virtual
async def test_who_answers_in_time_is_not_hedged() -> None:
    async with scene() as s:
        await s.engine.complete("m", "hello", hedge_after=2.0)
        assert s.asked == 1


@pytest.mark.parametrize("profile", [PACED, AT_ONCE], ids=["paced", "at once"])
def test_the_loser_is_settled_before_the_winner_is_read(profile: object) -> None:
    """Also when the whole answer comes in one read: its completion names both attempts."""

    @virtual
    async def check() -> None:
        records: list[object] = []
        async with scene(SLOW, profile=profile, observers=[records.append]) as s:  # type: ignore[arg-type]
            async with s.engine.stream("m", "hello", hedge_after=2.0) as stream:
                await stream.receive()
                over = [r.record.number for r in records if isinstance(r, AttemptEnded)]
                assert over[0] == 1
                completion = await stream.completion()
            assert {a.number for a in completion.attempts} == {1, 2}

    check()


@virtual
async def test_a_hedge_goes_to_a_backup_first() -> None:
    async with scene(always(Delay(first_token=10)), backups={"spare": Plan()}) as s:
        completion = await s.engine.complete("m", "hello", hedge_after=2.0)
        assert completion.route == "spare/m"
        assert len(s.providers["spare"].log) == 1
        assert s.asked == 1


@virtual
async def test_without_a_free_slot_there_is_no_hedge() -> None:
    async with scene(SLOW, model={"max_streams": 1}) as s:
        async with s.engine.stream("m", "hello", hedge_after=2.0) as stream:
            await stream.completion()
            assert trio.current_time() > 10
        assert s.asked == 1
        assert s.engine.statistics().total.hedges == 0


@virtual
async def test_without_a_retry_budget_there_is_no_hedge() -> None:
    async with scene(SLOW) as s:
        s.engine._supervisor.routes.budgets["main"] = RetryBudget(capacity=1.0, per_second=0.0)
        s.engine._supervisor.routes.budgets["main"].withdraw(0.0)
        await s.engine.complete("m", "hello", hedge_after=2.0)
        assert s.asked == 1
    async with scene(SLOW) as s:
        budget = s.engine._supervisor.routes.budget("main")
        before = budget.level(trio.current_time())
        await s.engine.complete("m", "hello", hedge_after=2.0)
        assert s.asked == 2
        assert budget.level(2.0) <= before


@virtual
async def test_an_attempt_that_fails_beside_another_one_is_no_outcome() -> None:
    plan = Plan((
        Rule((Delay(first_byte=5.0), Reset(0)), When(requests=(1,))),
        Rule((Delay(first_token=6.0),), When(requests=(2,))),
    ))
    async with scene(plan) as s:
        completion = await s.engine.complete("m", "hello", hedge_after=2.0)
        assert completion.text == s.provider.log[1].intended()
        assert s.asked == 2


@virtual
async def test_when_both_fail_the_request_is_retried() -> None:
    plan = once(Delay(first_byte=5.0), Reset(0), requests=(1, 2))
    async with scene(plan) as s:
        completion = await s.engine.complete("m", "hello", hedge_after=2.0)
        assert completion.text == s.provider.log[2].intended()
        assert len(completion.attempts) == 3


@virtual
async def test_a_hedge_that_breaks_after_it_has_won_goes_on_as_any_other() -> None:
    plan = Plan((
        Rule((Delay(first_token=10.0),), When(requests=(1,))),
        Rule((Reset(3),), When(requests=(2,))),
    ))
    async with scene(plan) as s:
        reading = await ask(s.engine, hedge_after=2.0)
        assert isinstance(reading.error, EngineError)
        assert reading.text == s.provider.log[1].sent()
        assert s.asked == 2
    async with scene(plan) as s:
        completion = await s.engine.complete("m", "hello", hedge_after=2.0, on_interrupt="restart")
        assert completion.text == s.provider.log[2].intended()


@virtual
async def test_the_95th_percentile_is_waited_for_until_enough_is_known() -> None:
    slow = Plan((Rule((Delay(first_token=10.0),), When(requests=(1, 25))),))
    async with scene(slow, model={"hedge_after": "p95", "max_streams": 2}) as s:
        for _ in range(25):
            await s.engine.complete("m", "hello")
        assert s.engine.statistics().total.hedges == 1
        assert s.asked == 26


@pytest.mark.parametrize("bad", [0, -1, "p99", True, float("inf"), float("nan")])
@virtual
async def test_a_hedge_that_cannot_be_is_refused(bad: Any) -> None:
    async with scene() as s:
        with pytest.raises(RequestError, match="hedge_after"):
            s.engine.stream("m", "hello", hedge_after=bad)


REQUESTS = {"test": 0, "proof": 500, "soak": 4000}


def test_the_tail_of_the_first_tokens_is_cut_by_half(tier: str) -> None:
    """One in twenty is delayed ten times; the rest are spread as a model's are."""
    count = REQUESTS[tier]
    if not count:
        pytest.skip("the arithmetic alone is in the tier test: tests/unit/core/test_hedging.py")
    (plain, few), (hedged_, more) = (tail(count, hedge) for hedge in ("off", "p95"))
    print(f"p99 {plain:.2f} s -> {hedged_:.2f} s, attempts {few} -> {more}")
    assert hedged_ <= plain / 2
    assert more <= few * 1.07


def tail(count: int, hedge: Literal["off", "p95"]) -> tuple[float, int]:
    """The p99 of the time to first token, and the attempts it took."""
    spread = Profile(ttft_mean=1.0, ttft_p95=1.6, tokens_per_second=50, output_tokens=(2, 2))
    delayed = Plan((Rule((Delay(first_token=10.0),), When(every=20)),))

    async def main(world: World) -> list[float]:
        world.add_provider("p", models={"m": spread}, plan=delayed)
        settings = ModelSettings("m", (Route("p", "m"),), max_streams=500, hedge_after=hedge)
        found: list[float] = []
        async with world.open_engine(world.config(models={"m": settings})) as eng:

            async def one() -> None:
                found.append((await eng.complete("m", "x")).timings.time_to_first_token or 0.0)

            async with trio.open_nursery() as nursery:
                for _ in range(count):
                    nursery.start_soon(one)
                    await trio.sleep(0.1)
        return sorted(found)

    world = World(1, tick=0.001)
    found = world.run(main)
    return found[int(0.99 * count)], len(world.providers["p"].log)


# Every order of events. -----------------------------------------------------------------------

TIMES = st.sampled_from((0.0, 0.5, 1.0, 1.5, 2.0))
ENDS: st.SearchStrategy[tuple[Fault, ...]] = st.sampled_from((
    (),
    (Reset(0),),
    (Reset(2),),
    (Status(500),),
    (Status(400),),
))


@settings(max_examples=EXAMPLES[TIER])
@given(
    random=st.random_module(),
    seed=st.integers(0, 2**32),
    first=st.tuples(TIMES, ENDS),
    second=st.tuples(TIMES, ENDS),
    ladder=st.sampled_from(("fail", "restart")),
)
def test_in_any_order_of_events_there_is_one_owner_and_one_outcome(
    random: object,
    seed: int,
    first: tuple[float, tuple[Fault, ...]],
    second: tuple[float, tuple[Fault, ...]],
    ladder: OnInterrupt,
) -> None:
    """Delays are such that both may answer, or end, in the same instant. What was handed out is
    compared with the providers' logs when the world is left."""
    rules = [
        Rule((Delay(first_token=at, first_byte=at), *end), When(requests=(number,)))
        for number, (at, end) in enumerate((first, second), 1)
    ]

    async def main(world: World) -> None:
        async with world.open_engine(hedged(world)) as eng:
            async with eng.stream("gpt-4.1", "x", max_tokens=4, on_interrupt=ladder) as stream:
                with suppress(EngineError):
                    await stream.completion()
            done = [a for a in stream.attempts if a.state is AttemptState.DONE]
            assert len(done) == (stream.error is None)
            numbers = [attempt.number for attempt in stream.attempts]
            assert sorted(numbers) == list(range(1, len(numbers) + 1))
            await wait_quiescent(eng)

    World(seed, plan=Plan(tuple(rules))).run(main)


def hedged(world: World) -> EngineConfig:
    settings = ModelSettings("gpt-4.1", hedge_after=0.5)
    return world.config(models={"gpt-4.1": settings})


@pytest.mark.parametrize("delay", [0.5, 1.0, 10.0])
def test_a_hedged_stream_is_cancelled_at_any_step_and_leaves_nothing(
    delay: float, tier: str
) -> None:
    plan = once(Delay(first_token=delay + 0.5), requests=(1,))
    rules = (*plan.rules, Rule((Delay(first_token=delay),), When(requests=(2,))))

    async def scenario(world: World, scope: trio.CancelScope) -> None:
        async with world.open_engine(hedged(world)) as eng:
            with scope:
                await eng.complete("gpt-4.1", "x", max_tokens=4)
            await wait_quiescent(eng)

    cancel_at_every_step(scenario, plan=attrs.evolve(plan, rules=rules), most=POINTS[tier])


def test_a_hedge_survives_a_network_that_fails_anywhere(tier: str) -> None:
    async def scenario(world: World) -> None:
        async with world.open_engine(hedged(world)) as eng:
            await eng.complete("gpt-4.1", "x", max_tokens=4)

    fail_at_every_io(scenario, plan=once(Delay(first_token=5.0)), most=POINTS[tier])
