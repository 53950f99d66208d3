"""Units per minute: reserved with the slots, dated, corrected afterwards."""

from itertools import product
from math import inf
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from streamnursery.scheduler.admission.admission import Admission
from streamnursery.values.demand import Demand
from streamnursery.values.errors import QueueDeadlineError, TooManyTokensError
from streamnursery.values.policy import Priority
from streamnursery.values.rates import Rates
from streamnursery.values.usage import Usage

if TYPE_CHECKING:
    from streamnursery.scheduler.admission.lease import Lease


def make(
    models: dict[str, Rates] | None = None,
    endpoints: dict[str, Rates] | None = None,
    **slots: int,
) -> Admission:
    return Admission(
        max_streams=1000,
        max_queued=1000,
        default_max_streams=100,
        model_max_streams=slots,
        model_rates=models,
        endpoint_rates=endpoints,
    )


def ask(
    admission: Admission,
    model: str = "m",
    tokens: tuple[int, int] = (10, 10),
    *,
    endpoint: str | None = "e",
    priority: Priority = Priority.BATCH,
    deadline: float = inf,
) -> Demand:
    return Demand(
        model,
        endpoint,
        admission.next_rank(priority),
        deadline,
        input_tokens=tokens[0],
        output_tokens=tokens[1],
    )


async def test_requests_beyond_the_burst_start_at_the_pace_of_the_limit(
    autojump_clock: MockClock,
) -> None:
    admission = make({"m": Rates(rpm=60)})
    started: list[float] = []

    async def one() -> None:
        lease = await admission.acquire(ask(admission))
        started.append(trio.current_time())
        lease.settle(None)
        lease.release()

    async with trio.open_nursery() as nursery:
        for _ in range(16):
            nursery.start_soon(one)
    pace = 60 / 54
    assert started == pytest.approx([0.0] * 6 + [pace * n for n in range(1, 11)])


async def test_nobody_polls_one_waiter_wakes_for_each_date(autojump_clock: MockClock) -> None:
    admission = make({"m": Rates(rpm=60), "n": Rates(rpm=60)})

    class Steps(trio.abc.Instrument):
        count = 0

        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            self.count += task.name == "waiter"

    async def one(model: str) -> None:
        (await admission.acquire(ask(admission, model))).settle(None)

    steps = Steps()
    async with trio.open_nursery() as nursery:
        for n in range(200):
            nursery.start_soon(one, "mn"[n % 2], name="waiter")
        await wait_all_tasks_blocked()
        trio.lowlevel.add_instrument(steps)
    trio.lowlevel.remove_instrument(steps)
    # One step to look at the queue, one with the slots in hand.
    assert steps.count <= 2 * 200


async def test_a_model_without_units_costs_another_nothing(autojump_clock: MockClock) -> None:
    admission = make({"slow": Rates(rpm=1)})
    admission.acquire_nowait(ask(admission, "slow")).settle(None)
    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(admission.acquire, ask(admission, "slow"))
        await wait_all_tasks_blocked()
        for _ in range(20):
            (await admission.acquire(ask(admission, "free"))).release()
        assert trio.current_time() == 0
        nursery.cancel_scope.cancel()
    assert admission.queued == 0
    assert len(admission._queue._dates) == 0


async def test_what_was_not_used_is_given_back_and_starts_the_next(
    autojump_clock: MockClock,
) -> None:
    admission = make({"m": Rates(tpm=1000, burst=1)})
    first = admission.acquire_nowait(ask(admission, tokens=(100, 900)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold, admission, ask(admission, tokens=(100, 700)))
        await trio.sleep(5)
        assert admission.queued == 1
        first.settle(Usage(150, 50))
        first.release()
        await wait_all_tasks_blocked()
        assert admission.queued == 0
    assert trio.current_time() == 5


async def hold(admission: Admission, demand: Demand) -> None:
    (await admission.acquire(demand)).settle(None)


@pytest.mark.parametrize(
    ("usage", "left"),
    [
        (Usage(100, 200), 700),
        (Usage(None, 200), 600),
        (Usage(100, None), 400),
        (None, 300),
        (Usage(900, 900), -800),
    ],
)
async def test_a_lease_is_settled_with_what_is_known(
    autojump_clock: MockClock, usage: Usage | None, left: int
) -> None:
    admission = make({"m": Rates(tpm=1000, burst=1)})
    lease = admission.acquire_nowait(ask(admission, tokens=(200, 500)))
    lease.settle(usage)
    lease.release()
    bucket = admission.lanes.model("m").rates.buckets["tpm"]
    assert 1000 - bucket.used(trio.current_time()) == left


async def test_a_lease_that_sent_nothing_gives_everything_back(autojump_clock: MockClock) -> None:
    admission = make({"m": Rates(1, 1000, 600, 500, burst=1)})
    for _ in range(10):
        admission.acquire_nowait(ask(admission, tokens=(500, 500))).release()
    used = [b.used(trio.current_time()) for b in admission.lanes.model("m").rates.buckets.values()]
    assert used == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("rates", "tokens", "said"),
    [
        (Rates(tpm=99), (60, 40), "100 of tpm = 99 of model 'm'"),
        (Rates(input_tpm=59), (60, 40), "60 of input_tpm = 59"),
        (Rates(output_tpm=39), (60, 40), "40 of output_tpm = 39"),
    ],
)
async def test_a_request_above_the_limit_is_refused_at_once(
    rates: Rates, tokens: tuple[int, int], said: str
) -> None:
    admission = make({"m": rates})
    with pytest.raises(TooManyTokensError, match=said):
        await admission.acquire(ask(admission, tokens=tokens))
    assert admission.total.taken == 0


async def test_a_deadline_before_the_earliest_date_is_refused_at_once(
    autojump_clock: MockClock,
) -> None:
    admission = make({"m": Rates(rpm=1)})
    admission.acquire_nowait(ask(admission)).settle(None)
    now = trio.current_time()
    with pytest.raises(QueueDeadlineError, match=r"rpm = 1 of model 'm'.* 60 s at the earliest"):
        await admission.acquire(ask(admission, deadline=now + 59))
    assert (admission.queued, trio.current_time()) == (0, now)


async def test_a_lower_limit_refuses_the_waiters_that_it_excludes(
    autojump_clock: MockClock,
) -> None:
    admission = make({"m": Rates(tpm=1000)})
    admission.acquire_nowait(ask(admission, tokens=(500, 500))).settle(None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(refused, admission, ask(admission, tokens=(200, 200)))
        nursery.start_soon(hold, admission, ask(admission, tokens=(20, 20)))
        await wait_all_tasks_blocked()
        admission.set_rates(Rates(tpm=300), model="m")
        await wait_all_tasks_blocked()
        assert admission.queued == 1
        admission.set_rates(Rates(), model="m")
    assert trio.current_time() == 0


async def refused(admission: Admission, demand: Demand) -> None:
    with pytest.raises(TooManyTokensError):
        await admission.acquire(demand)


async def test_small_requests_do_not_starve_a_large_one_of_another_model(
    autojump_clock: MockClock,
) -> None:
    admission = make(endpoints={"e": Rates(tpm=1000)})
    large_at = inf
    lanes = ("small", "tiny")

    async def large() -> None:
        nonlocal large_at
        await hold(admission, ask(admission, "large", (300, 300)))
        large_at = trio.current_time()

    async def endless(model: str) -> None:
        while True:
            await hold(admission, ask(admission, model, (5, 5)))

    async with trio.open_nursery() as nursery:
        for model in lanes:
            nursery.start_soon(endless, model)
        await trio.sleep(10)
        nursery.start_soon(large)
        await trio.sleep(120)
        nursery.cancel_scope.cancel()
    # A full bucket is there after 100 / 15 s, room in the last 60 s after at most 60.
    assert large_at <= 10 + 60


async def test_an_urgent_request_passes_a_claim_of_a_less_urgent_one(
    autojump_clock: MockClock,
) -> None:
    admission = make(endpoints={"e": Rates(tpm=1000, burst=1)})
    admission.acquire_nowait(ask(admission, "a", (450, 450))).settle(None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold, admission, ask(admission, "batch", (100, 100)))
        await wait_all_tasks_blocked()
        with pytest.raises(trio.WouldBlock):
            admission.acquire_nowait(ask(admission, "other", (5, 5)))
        urgent = ask(admission, "person", (5, 5), priority=Priority.INTERACTIVE)
        admission.acquire_nowait(urgent).release()
        nursery.cancel_scope.cancel()
    admission.acquire_nowait(ask(admission, "other", (5, 5))).release()


async def test_a_cancelled_head_makes_way_for_a_smaller_request(autojump_clock: MockClock) -> None:
    admission = make({"m": Rates(tpm=1000, burst=1)})
    admission.acquire_nowait(ask(admission, tokens=(450, 450))).settle(None)
    leases: list[Lease] = []

    async def small() -> None:
        leases.append(await admission.acquire(ask(admission, tokens=(20, 20))))

    head = trio.CancelScope()

    async def large() -> None:
        with head:
            await hold(admission, ask(admission, tokens=(100, 100)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(large)
        await wait_all_tasks_blocked()
        nursery.start_soon(small)
        await wait_all_tasks_blocked()
        assert leases == []
        head.cancel()
        await wait_all_tasks_blocked()
        assert len(leases) == 1
    assert trio.current_time() == 0


@pytest.mark.parametrize("binding", list(product([False, True], repeat=7)))
async def test_all_or_nothing_whatever_combination_of_limits_binds(
    autojump_clock: MockClock, binding: tuple[bool, ...]
) -> None:
    names = ("total", "model", "endpoint", "model rpm", "model tpm", "endpoint rpm", "endpoint tpm")
    binds = dict(zip(names, binding, strict=True))

    def rates(party: str) -> Rates:
        short = binds[f"{party} rpm"], binds[f"{party} tpm"]
        return Rates(1 if short[0] else 100, 30 if short[1] else 9000, burst=1)

    admission = Admission(
        max_streams=1 if binds["total"] else 9,
        max_queued=9,
        default_max_streams=9,
        model_max_streams={"m": 1 if binds["model"] else 9},
        endpoint_max_streams={"e": 1 if binds["endpoint"] else 9},
        model_rates={"m": rates("model")},
        endpoint_rates={"e": rates("endpoint")},
    )

    def held() -> list[int]:
        limits = admission.lanes.model("m"), admission.lanes.endpoint("e")
        now = trio.current_time()
        return [
            admission.total.taken,
            *(limit.slots.taken for limit in limits),
            *(bucket.used(now) for limit in limits for bucket in limit.rates.buckets.values()),
        ]

    assert held() == [0] * 7
    first = admission.acquire_nowait(ask(admission))
    after_one = held()
    assert after_one == [1, 1, 1, 1, 20, 1, 20]
    if any(binding):
        with pytest.raises(trio.WouldBlock):
            admission.acquire_nowait(ask(admission))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(admission.acquire, ask(admission))
            await wait_all_tasks_blocked()
            assert held() == after_one, "a waiter holds nothing"
            nursery.cancel_scope.cancel()
    else:
        admission.acquire_nowait(ask(admission)).release()
    assert held() == after_one
    first.release()
    assert held() == [0] * 7


@pytest.mark.parametrize("priority", [Priority.INTERACTIVE, Priority.BATCH])
async def test_who_waited_behind_a_claim_goes_when_it_is_given_up(
    autojump_clock: MockClock, priority: Priority
) -> None:
    admission = make(endpoints={"e": Rates(tpm=6000)}, m=1)
    at: dict[str, float] = {}

    async def one(name: str, demand: Demand, seconds: float) -> None:
        lease = await admission.acquire(demand)
        at[name] = trio.current_time()
        await trio.sleep(seconds)
        lease.settle(None)
        lease.release()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one, "first", ask(admission, "x", (400, 0)), 0)
        await trio.sleep(1)
        claims = ask(admission, "m", (500, 0), priority=Priority.INTERACTIVE)
        nursery.start_soon(one, "claims", claims, 1)
        await trio.sleep(0.1)
        nursery.start_soon(one, "behind", ask(admission, "n", (10, 0), priority=priority), 1)
        await trio.sleep(0.1)
        assert at.keys() == {"first"}
        # Its model is full when its date comes, so the claim is given up.
        nursery.start_soon(one, "long", ask(admission, "m", (10, 0), endpoint="f"), 1000)
    assert at["behind"] < 100 < at["claims"]
