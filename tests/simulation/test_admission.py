"""Slots: both or none, in turn, and none is ever lost."""

from itertools import product
from math import inf

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from streamnursery.scheduler.admission.admission import Admission
from streamnursery.scheduler.admission.lease import Lease
from streamnursery.values.demand import Demand
from streamnursery.values.errors import EngineClosedError, OverloadedError, QueueDeadlineError
from streamnursery.values.policy import Priority
from streamnursery.values.rates import Rates


def make(
    total: int = 10,
    queued: int = 1000,
    default: int = 10,
    endpoints: dict[str, int] | None = None,
    rates: dict[str, Rates] | None = None,
    **models: int,
) -> Admission:
    return Admission(
        max_streams=total,
        max_queued=queued,
        default_max_streams=default,
        model_max_streams=models,
        endpoint_max_streams=endpoints,
        model_rates=rates,
        endpoint_rates=rates,
    )


def demand(
    admission: Admission,
    model: str,
    priority: Priority = Priority.BATCH,
    deadline: float = inf,
    endpoint: str | None = None,
) -> Demand:
    return Demand(model, endpoint, admission.next_rank(priority), deadline)


async def take(admission: Admission, model: str, priority: Priority = Priority.BATCH) -> Lease:
    return await admission.acquire(demand(admission, model, priority))


async def test_a_saturated_model_holds_no_global_slot_for_its_waiters(
    autojump_clock: MockClock,
) -> None:
    admission = make(total=2, stuck=1, free=5)
    async with trio.open_nursery() as nursery:
        await take(admission, "stuck")
        for _ in range(100):
            nursery.start_soon(take, admission, "stuck")
        await wait_all_tasks_blocked()
        for _ in range(10):
            lease = await take(admission, "free")
            lease.release()
        assert trio.current_time() == 0
        assert admission.total.taken == 1
        nursery.cancel_scope.cancel()
    assert admission.queued == 0


async def test_models_share_the_slots_of_their_endpoint_and_of_no_other() -> None:
    admission = make(endpoints={"small": 1})
    first = admission.acquire_nowait(Demand("a", "small"))
    with pytest.raises(trio.WouldBlock):
        admission.acquire_nowait(Demand("b", "small"))
    assert (
        admission.binding_limit(Demand("b", "small")) == "a slot of endpoint 'small' (1 of 1 taken)"
    )
    for endpoint in ("large", None):
        admission.acquire_nowait(Demand("b", endpoint)).release()
    assert admission.slots("b").taken == 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(admission.acquire, demand(admission, "b", endpoint="small"))
        await wait_all_tasks_blocked()
        first.release()
    assert admission.slots("b").taken == 1


async def test_an_endpoint_gets_a_limit_under_load() -> None:
    admission = make()
    leases = [admission.acquire_nowait(Demand(model, "e")) for model in "abc"]
    admission.set_limit(2, endpoint="e")
    for lease in leases[:2]:
        with pytest.raises(trio.WouldBlock):
            admission.acquire_nowait(Demand("d", "e"))
        lease.release()
    admission.acquire_nowait(Demand("d", "e"))


async def test_within_a_priority_the_longest_waiting_goes_first() -> None:
    admission = make(total=1)
    first = await take(admission, "m")
    order: list[str] = []

    async def wait(name: str, priority: Priority) -> None:
        lease = await take(admission, "m", priority)
        order.append(name)
        lease.release()

    async with trio.open_nursery() as nursery:
        for name, priority in (
            ("batch 1", Priority.BATCH),
            ("batch 2", Priority.BATCH),
            ("person 1", Priority.INTERACTIVE),
            ("person 2", Priority.INTERACTIVE),
        ):
            nursery.start_soon(wait, name, priority)
            await wait_all_tasks_blocked()
        first.release()
    assert order == ["person 1", "person 2", "batch 1", "batch 2"]


async def test_a_limit_goes_down_to_nothing_and_up_again_under_load(
    autojump_clock: MockClock,
) -> None:
    admission = make(total=100, m=10)
    running = 0
    peak = 0

    async def work() -> None:
        nonlocal running, peak
        lease = await take(admission, "m")
        running += 1
        peak = max(peak, running)
        await trio.sleep(1)
        running -= 1
        lease.release()

    async with trio.open_nursery() as nursery:
        for _ in range(60):
            nursery.start_soon(work)
        await trio.sleep(0.5)
        assert running == 10
        admission.set_limit(3, model="m")
        await trio.sleep(1)
        assert running == 3
        admission.set_limit(0, model="m")
        await trio.sleep(5)
        assert running == 0
        peak = 0
        admission.set_limit(10, model="m")
    assert peak == 10
    assert admission.total.taken == 0


async def test_a_deadline_in_the_queue_names_the_limit_and_the_queue(
    autojump_clock: MockClock,
) -> None:
    admission = make(m=1)
    await take(admission, "m")
    with pytest.raises(QueueDeadlineError, match=r"slot of model 'm' \(1 of 1 taken\).* waiting"):
        await admission.acquire(demand(admission, "m", deadline=trio.current_time() + 5))
    assert trio.current_time() == 5
    assert admission.queued == 0


async def test_a_full_queue_refuses_at_once() -> None:
    admission = make(queued=2, m=1)
    await take(admission, "m")
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(take, admission, "m")
        await wait_all_tasks_blocked()
        with pytest.raises(OverloadedError, match="max_queued = 2"):
            await take(admission, "m")
        nursery.cancel_scope.cancel()


async def test_closing_turns_waiters_away_with_an_error_of_their_own() -> None:
    admission = make(m=1)
    lease = await take(admission, "m")
    errors: list[EngineClosedError] = []
    bug = KeyError("bug")

    async def wait() -> None:
        with pytest.raises(EngineClosedError) as caught:
            await take(admission, "m")
        errors.append(caught.value)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        admission.close("closed", bug, waiting_too=True)
    assert errors[0] is not errors[1]
    assert errors[0].__cause__ is bug
    with pytest.raises(EngineClosedError):
        admission.acquire_nowait(Demand("m"))
    lease.release()
    lease.release()
    assert admission.total.taken == 0


async def test_waiting_until_idle_waits_for_leases_and_for_the_queue(
    autojump_clock: MockClock,
) -> None:
    admission = make(m=1)

    async def work() -> None:
        lease = await take(admission, "m")
        await trio.sleep(1)
        lease.release()

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(work)
        await wait_all_tasks_blocked()
        await admission.wait_idle()
        assert trio.current_time() == 3
    await admission.wait_idle()


@attrs.frozen
class Job:
    model: str
    endpoint: str | None
    start: float
    hold: float
    patience: float
    cancel_after: float


jobs = st.builds(
    Job,
    model=st.sampled_from("abc"),
    endpoint=st.sampled_from(["x", "y", None]),
    start=st.sampled_from([0.0, 1.0, 2.0]),
    hold=st.sampled_from([0.0, 1.0, 2.0]),
    patience=st.sampled_from([0.5, 1.0, inf]),
    cancel_after=st.sampled_from([0.0, 1.0, 2.0, inf]),
)


async def use(admission: Admission, job: Job, running: dict[str, int], total: int) -> None:
    await trio.sleep(job.start)
    with trio.move_on_after(job.cancel_after):
        try:
            lease = await admission.acquire(
                demand(
                    admission,
                    job.model,
                    deadline=trio.current_time() + job.patience,
                    endpoint=job.endpoint,
                )
            )
        except QueueDeadlineError:
            return
        running[job.model] += 1
        assert sum(running.values()) <= admission.total.taken <= total
        if job.endpoint is not None:
            assert admission.lanes.endpoint(job.endpoint).slots.taken <= 2
        try:
            await trio.sleep(job.hold)
            lease.settle(None)
        finally:
            running[job.model] -= 1
            lease.release()


async def nobody_waits_for_what_is_free(admission: Admission) -> None:
    for _ in range(30):
        await wait_all_tasks_blocked()
        for model, endpoint in product("abc", ("x", "y", None)):
            lane = admission.lanes.lane(model, endpoint)
            blocked = lane.blocked_by(Demand(model, endpoint), trio.current_time())
            all_free = admission.total.free and blocked is None
            assert not (all_free and admission.queued_in(lane))
        await trio.sleep(0.5)


@given(
    schedule=st.random_module(),
    total=st.integers(1, 3),
    limits=st.tuples(st.integers(0, 2), st.integers(1, 2), st.integers(1, 2)),
    todo=st.lists(jobs, min_size=1, max_size=12),
    rates=st.dictionaries(st.sampled_from("axy"), st.integers(1, 5)),
    changes=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=4),
)
def test_slots_are_never_lost_nor_exceeded_and_the_limiter_is_work_conserving(
    schedule: object,
    total: int,
    limits: tuple[int, int, int],
    todo: list[Job],
    rates: dict[str, int],
    changes: list[tuple[str, int]],
) -> None:
    admission = make(
        total=total,
        endpoints={"x": 1, "y": 2},
        rates={name: Rates(rpm=rpm, burst=1) for name, rpm in rates.items()},
        **dict(zip("abc", limits, strict=True)),
    )
    running = dict.fromkeys("abc", 0)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(nobody_waits_for_what_is_free, admission)
            for job in todo:
                nursery.start_soon(use, admission, job, running, total)
            for model, limit in changes:
                await trio.sleep(0.7)
                admission.set_limit(limit, model=model)
            await trio.sleep(10)
            for model in "abc":
                admission.set_limit(1, model=model)
            assert len(admission._queue._dates) <= admission.queued

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert admission.total.taken == 0
    assert admission.queued == 0
