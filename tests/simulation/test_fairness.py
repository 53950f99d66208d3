"""Who goes first, who is refused, and what is told of it: over the whole engine."""

import gc
import tracemalloc
from collections import Counter

import pytest
import trio

from streamnursery import Engine, OverloadedError, Priority, StreamCancelledError
from streamnursery.errors import QueueDeadlineError
from streamnursery.records import AdmissionOutcome, NotAdmitted
from streamnursery.simulator import Profile
from streamnursery.simulator.log import ProviderLog
from streamnursery.testing.quiescence import assert_quiescent
from tests.conftest import TIER
from tests.support.scene import PACED, scene, virtual

QUICK = Profile(ttft_mean=0.95, ttft_p95=0.95, tokens_per_second=20, output_tokens=(2, 2))


@pytest.mark.parametrize("weight", [1, 3])
@virtual
async def test_two_tenants_share_by_weight_at_ten_times_the_load(weight: int) -> None:
    tenants = {"loud": {}, "quiet": {"weight": weight}}
    async with scene(profile=QUICK, model={"max_streams": 5}, tenants=tenants) as s:
        served: Counter[str] = Counter()

        async def one(tenant: str) -> None:
            await s.engine.complete("m", "x", tenant=tenant)
            served[tenant] += 1

        async with trio.open_nursery() as nursery:
            for _ in range(90):
                for tenant in ("loud",) * 10 + ("quiet",):
                    nursery.start_soon(one, tenant)
            await trio.sleep(1.5)
            served.clear()  # the first five found nobody waiting
            await trio.sleep(20)
            nursery.cancel_scope.cancel()
        assert served["quiet"] / served.total() == pytest.approx(weight / (weight + 1), rel=0.05)


@virtual
async def test_people_wait_for_no_batch_and_batch_is_not_starved() -> None:
    async with scene(profile=QUICK, model={"max_streams": 5}) as s:
        waits: dict[Priority, list[float]] = {Priority.INTERACTIVE: [], Priority.BATCH: []}

        async def one(priority: Priority) -> None:
            completion = await s.engine.complete("m", "x", priority=priority)
            waits[priority].append(completion.timings.queue_time or 0.0)

        async with trio.open_nursery() as nursery:
            for _ in range(300):
                nursery.start_soon(one, Priority.BATCH)
            for _ in range(200):  # ten people at a time: twice what there is room for
                await trio.sleep(0.1)
                nursery.start_soon(one, Priority.INTERACTIVE)
            people = len(waits[Priority.INTERACTIVE])
            batch = len(waits[Priority.BATCH])
            nursery.cancel_scope.cancel()
        assert waits[Priority.INTERACTIVE][0] <= 1
        # Five slots for 20 s, a second each; the first five were the batch's, then a tenth.
        assert people + batch == pytest.approx(95, abs=5)
        assert batch == pytest.approx(5 + 9, abs=3)


@virtual
async def test_every_refusal_and_every_eviction_is_counted_and_told() -> None:
    model = {"max_streams": 1, "rpm": 3, "burst": 1}
    bounds = {"max_queued": 3}
    tenants = {"small": {"max_queued": 1}}
    async with scene(profile=PACED, model=model, engine=bounds, tenants=tenants) as s:
        eng = s.engine
        with eng.events() as records:
            for _ in range(3):
                await eng.complete("m", "x")
            async with trio.open_nursery() as nursery:
                at_once = trio.current_time()
                async with eng.stream("m", "x", timeout=5) as stream:
                    with pytest.raises(QueueDeadlineError, match="at the earliest"):
                        await stream.completion()
                nursery.start_soon(refusal, eng, "small", StreamCancelledError)
                await trio.testing.wait_all_tasks_blocked()
                with pytest.raises(OverloadedError, match="tenant 'small' wait already"):
                    await eng.complete("m", "x", tenant="small")
                for _ in range(2):
                    nursery.start_soon(refusal, eng, "", StreamCancelledError)
                await trio.testing.wait_all_tasks_blocked()
                with pytest.raises(OverloadedError, match="max_queued = 3"):
                    await eng.complete("m", "x")
                assert trio.current_time() == at_once
                eng.cancel_all()
            eng.set_rates(model="m")
            eng.set_limits(model="m", max_streams=0)
            with pytest.raises(QueueDeadlineError, match="the deadline passed"):
                await eng.complete("m", "x", timeout=5)
            await eng.drain()
            with pytest.raises(Exception, match="draining"):
                await eng.complete("m", "x")
            counted = eng.statistics().admission
            assert_quiescent(eng)
        told = Counter([r.outcome async for r in records if isinstance(r, NotAdmitted)])
        outcome = AdmissionOutcome
        assert counted == {
            outcome.DISPATCHED.value: 3,
            outcome.REJECTED_CAPACITY.value: 2,
            outcome.REJECTED_DEADLINE.value: 1,
            outcome.REJECTED_BUDGET.value: 0,
            outcome.REJECTED_CLOSED.value: 1,
            outcome.EVICTED_EXPIRED.value: 1,
            outcome.EVICTED_CANCELLED.value: 3,
        }
        # What is refused because the engine is closed was never accepted: it is no request.
        untold = (outcome.DISPATCHED.value, outcome.REJECTED_CLOSED.value)
        assert told == {name: n for name, n in counted.items() if n and name not in untold}


async def refusal(eng: Engine, tenant: str, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        await eng.complete("m", "x", tenant=tenant)


OVERLOADED = {"test": 6, "proof": 60, "soak": 300}
"""Seconds."""


@virtual
async def test_ten_times_the_load_is_refused_at_once_and_slows_nobody_down() -> None:
    bounds = {"max_queued": 20}
    offered = OVERLOADED[TIER] * 100  # a hundred a second; there is room for ten
    async with scene(profile=QUICK, model={"max_streams": 10}, engine=bounds) as s:
        refused, waits, provider_ttft = 0, [], []

        async def one() -> None:
            nonlocal refused
            arrived = trio.current_time()
            try:
                completion = await s.engine.complete("m", "x")
            except OverloadedError:
                refused += 1
                assert trio.current_time() == arrived
                return
            waits.append(completion.timings.queue_time or 0.0)
            provider_ttft.append(completion.timings.provider_time_to_first_token or 0.0)

        s.provider.log = ProviderLog(100)  # what the provider remembers is not ours
        peak = early = late = 0
        tracemalloc.start()
        async with trio.open_nursery() as nursery:
            for number in range(offered):
                nursery.start_soon(one)
                await trio.sleep(0.01)
                peak = max(peak, len(nursery.child_tasks))
                if number in (offered // 3, offered - 1):
                    gc.collect()
                    early, late = late, tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert late - early < 1024 * 1024
        assert refused > 0.8 * offered
        assert peak <= 10 + 20 + 2
        assert max(waits) <= 20 / 10 + 1
        assert max(provider_ttft) <= 1.2 * 0.95
