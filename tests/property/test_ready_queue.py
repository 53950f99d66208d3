"""The ready queue against lists that are searched from the front, and what it costs."""

import cProfile
import heapq
from collections import Counter
from math import log

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from benchmarks.admission import Number
from streamnursery.core.limits.fair_share import QueueTicket
from streamnursery.core.limits.ready_queue import AGING, ReadyQueue

LANES = ("a", "b", "c")
TENANTS = ("", "x", "y")
WEIGHTS = {"": 1.0, "x": 2.0, "y": 0.5}
INF = float("inf")


class FairModel:
    """Start-time fair queueing of one lane and one priority, by searching lists."""

    def __init__(self) -> None:
        self.waiting: list[QueueTicket] = []
        self.start: dict[str, tuple[float, int]] = {}
        """Of each tenant that waits: its start tag, and the request that it was given to."""
        self.finish: dict[str, float] = {}
        self.virtual = 0.0

    def push(self, ticket: QueueTicket) -> None:
        if ticket.tenant not in self.start:
            tag = max(self.virtual, self.finish.get(ticket.tenant, 0.0))
            self.start[ticket.tenant] = (tag, ticket.rank[1])
        self.waiting.append(ticket)

    def of(self, tenant: str) -> list[QueueTicket]:
        mine = [t for t in self.waiting if t.tenant == tenant]
        return sorted(mine, key=lambda t: (t.deadline, t.rank[1]))

    def head(self) -> QueueTicket:
        tenant = min(self.start, key=lambda name: self.start[name])
        return self.of(tenant)[0]

    def remove(self, ticket: QueueTicket) -> None:
        self.waiting.remove(ticket)
        if not self.of(ticket.tenant):
            del self.start[ticket.tenant]

    def serve(self) -> None:
        ticket = self.head()
        tag = self.start[ticket.tenant][0]
        self.virtual = max(self.virtual, tag)
        finish = self.finish[ticket.tenant] = tag + 1 / WEIGHTS[ticket.tenant]
        self.remove(ticket)
        if ticket.tenant in self.start:
            self.start[ticket.tenant] = (finish, self.of(ticket.tenant)[0].rank[1])


class QueueMachine(RuleBasedStateMachine):
    """One lane at a time has room; what stands between lanes is tested apart."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = ReadyQueue(WEIGHTS.__getitem__)
        self.model: dict[str, dict[int, FairModel]] = {lane: {} for lane in LANES}
        self.passed: dict[str, Counter[int]] = {lane: Counter() for lane in LANES}
        self.waiting: list[QueueTicket] = []
        self.sequence = 0

    @rule(
        lane=st.sampled_from(LANES),
        priority=st.integers(0, 2),
        tenant=st.sampled_from(TENANTS),
        deadline=st.sampled_from([INF, INF, 1.0, 2.0]),
    )
    def push(self, lane: str, priority: int, tenant: str, deadline: float) -> None:
        self.sequence += 1
        ticket = QueueTicket(lane, (priority, self.sequence), tenant, deadline)
        self.waiting.append(ticket)
        self.queue.push(ticket)
        self.model[lane].setdefault(priority, FairModel()).push(ticket)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(self.waiting))
        self.queue.cancel(ticket)
        self.gone(ticket)

    @rule(lane=st.sampled_from(LANES))
    def pop(self, lane: str) -> None:
        expected = None
        if self.model[lane]:
            expected = self.model[lane][self.turn(lane)].head()
            assert self.queue.head(lane) is expected
        self.queue.wake(lane)
        popped = self.queue.pop(lambda ticket: ticket.lane == lane)
        assert popped is expected
        for other in LANES:
            self.queue.wake(other)
        if popped is not None:
            priority = popped.rank[0]
            queue = self.model[lane][priority]
            queue.serve()
            queue.waiting.append(popped)
            queue.start.setdefault(popped.tenant, (0.0, 0))
            restore = queue.start[popped.tenant]
            self.gone(popped)
            if popped.tenant in queue.start:
                queue.start[popped.tenant] = restore
            self.passed[lane][priority] = 0
            for lower in self.model[lane]:
                self.passed[lane][lower] += lower > priority

    def turn(self, lane: str) -> int:
        waiting = self.model[lane]
        aged = [p for p in waiting if self.passed[lane][p] >= AGING - 1]
        return min(aged) if aged and len(waiting) > 1 else min(waiting)

    def gone(self, ticket: QueueTicket) -> None:
        self.waiting.remove(ticket)
        lane, priority = str(ticket.lane), ticket.rank[0]
        self.model[lane][priority].remove(ticket)
        if not self.model[lane][priority].waiting:
            del self.model[lane][priority]
            self.passed[lane][priority] = 0

    @invariant()
    def counts_agree(self) -> None:
        assert self.queue.live == len(self.waiting)
        for lane in LANES:
            assert self.queue.waiting(lane) == sum(t.lane == lane for t in self.waiting)
        for tenant in TENANTS:
            assert self.queue.waiting_of(tenant) == sum(t.tenant == tenant for t in self.waiting)


TestReadyQueue = QueueMachine.TestCase
TestReadyQueue.settings = settings(stateful_step_count=40)


def served(queue: ReadyQueue, count: int) -> list[QueueTicket]:
    found = [queue.pop(lambda _: True) for _ in range(count)]
    return [ticket for ticket in found if ticket is not None]


def test_cancelled_tickets_do_not_pile_up() -> None:
    queue = ReadyQueue()
    tickets = [QueueTicket("m", (0, i), tenant) for i, tenant in enumerate("xy" * 5000)]
    for ticket in tickets:
        queue.push(ticket)
    for ticket in tickets[1:]:
        queue.cancel(ticket)
    assert queue.live == 1
    fair = queue._queues["m"].queues[0]
    assert sum(len(flow.heap) for flow in fair._flows.values()) + len(fair._heap) < 400
    assert served(queue, 2) == tickets[:1]


def test_tenants_that_come_and_go_are_not_remembered_for_ever() -> None:
    queue = ReadyQueue()
    queue.push(QueueTicket("full", (0, 0), "patient"))
    for n in range(1, 10_000):
        queue.push(QueueTicket("m", (0, n), f"tenant {n}"))
        assert queue.pop(lambda ticket: ticket.lane == "m") is not None
    assert len(queue._runnable[0].tags._finish) < 5000
    assert len(queue._queues) == 1


def test_a_saturated_lane_is_not_looked_at_again_until_it_is_woken() -> None:
    queue = ReadyQueue()
    for i in range(100):
        queue.push(QueueTicket("full", (0, i)))
    looked = []

    def has_room(ticket: QueueTicket) -> bool:
        looked.append(ticket.lane)
        return ticket.lane != "full"

    assert queue.pop(has_room) is None
    for i in range(50):
        queue.push(QueueTicket("free", (0, 1000 + i)))
        assert queue.pop(has_room) is not None
    assert looked.count("full") == 1


@pytest.mark.parametrize("lanes", [("m",), ("m", "n", "o")])
@pytest.mark.parametrize("weights", [{"x": 1.0, "y": 1.0}, {"x": 3.0, "y": 1.0}])
def test_tenants_share_by_weight_whatever_they_offer(
    lanes: tuple[str, ...], weights: dict[str, float]
) -> None:
    queue = ReadyQueue(weights.__getitem__)
    number = 0
    for n in range(2000):
        for tenant in ("x", "y") if n % 10 == 0 else ("x",):
            queue.push(QueueTicket(lanes[n // 10 % len(lanes)], (0, number), tenant))
            number += 1
    share = Counter(ticket.tenant for ticket in served(queue, 200))
    expected = 200 * weights["x"] / sum(weights.values())
    assert share["x"] == pytest.approx(expected, rel=0.05)


def test_a_tenant_with_many_models_gets_no_more_global_slots_than_one_with_one() -> None:
    queue = ReadyQueue()
    for n in range(1200):
        queue.push(QueueTicket("mno"[n % 3], (0, 2 * n), "x"))
        queue.push(QueueTicket("own", (0, 2 * n + 1), "y"))
    share = Counter(ticket.tenant for ticket in served(queue, 400))
    assert share["x"] == pytest.approx(200, rel=0.05)


def test_a_tenant_that_asks_one_at_a_time_is_not_new_each_time() -> None:
    queue = ReadyQueue()
    for n in range(1000):
        queue.push(QueueTicket("m", (0, n), "crowd"))
    queue.push(QueueTicket("m", (0, 1000), "one at a time"))
    share: Counter[str] = Counter()
    for n in range(400):
        (ticket,) = served(queue, 1)
        share[ticket.tenant] += 1
        if ticket.tenant != "crowd":
            queue.push(QueueTicket("m", (0, 2000 + n), ticket.tenant))
    assert share["crowd"] == pytest.approx(200, rel=0.05)


@pytest.mark.parametrize("batch_lane", ["m", "other"])
def test_batch_gets_a_tenth_of_the_turns_and_no_more(batch_lane: str) -> None:
    queue = ReadyQueue()
    for n in range(1000):
        queue.push(QueueTicket("m", (0, 2 * n)))
        queue.push(QueueTicket(batch_lane, (1, 2 * n + 1)))
    turns = [ticket.rank[0] for ticket in served(queue, 500)]
    assert turns == ([0] * (AGING - 1) + [1]) * 50


def test_within_a_tenant_the_earliest_deadline_goes_first_then_the_oldest() -> None:
    queue = ReadyQueue()
    for n, deadline in enumerate([INF, 9.0, INF, 3.0, 9.0]):
        queue.push(QueueTicket("m", (0, n), deadline=deadline))
    assert [ticket.rank[1] for ticket in served(queue, 5)] == [3, 1, 4, 0, 2]


def comparisons(waiting: int, operations: int = 1000) -> float:
    """For a push, a cancel and two pops each, with so many tickets waiting."""
    queue = ReadyQueue()
    numbers = iter(range(10 * (waiting + operations)))

    def push() -> QueueTicket:
        number = Number(next(numbers))
        ticket = QueueTicket("m", (number % 2, number), f"tenant {number % 97}")
        queue.push(ticket)
        return ticket

    for _ in range(waiting):
        push()
    Number.compared = 0
    for _ in range(operations):
        push()
        queue.cancel(push())
        push()
        served(queue, 2)
    return Number.compared / operations


def test_an_operation_costs_no_more_than_a_logarithm_of_what_waits() -> None:
    few, many = comparisons(1_000), comparisons(20_000)
    assert many <= 1.5 * few * log(20_000) / log(1_000)


def test_the_heap_module_is_what_is_counted() -> None:
    Number.compared = 0
    heap = [(0.0, Number(3)), (0.0, Number(1)), (0.0, Number(2))]
    heapq.heapify(heap)
    assert heapq.heappop(heap)[1] == 1
    assert Number.compared > 0


@pytest.mark.parametrize("tenants", [1, 7])
def test_a_turn_costs_the_same_however_many_lanes_wait_for_one_slot(tenants: int) -> None:
    def calls(lanes: int) -> float:
        queue = ReadyQueue()
        for n in range(4 * lanes):
            queue.push(QueueTicket(n % lanes, (0, n), f"tenant {n % tenants}"))
        profile = cProfile.Profile()
        profile.runcall(served, queue, 2 * lanes)
        return sum(call.callcount for call in profile.getstats()) / (2 * lanes)

    assert calls(400) <= 1.5 * calls(20)


@pytest.mark.parametrize("another", [True, False])
def test_what_is_more_urgent_moves_its_lane_though_an_older_turn_is_due_there(
    another: bool,
) -> None:
    queue = ReadyQueue()
    for n in range(AGING):
        queue.push(QueueTicket("a", (int(n == 1), n)))
    assert [ticket.rank[0] for ticket in served(queue, AGING - 1)] == [0] * (AGING - 1)
    if another:
        queue.push(QueueTicket("b", (1, 20)))
    queue.push(QueueTicket("a", (0, 30)))  # its head is the one that has waited
    assert [ticket.rank for ticket in served(queue, 2)] == [(1, 1), (0, 30)]


def test_a_lane_that_is_woken_while_another_is_asked_is_looked_at() -> None:
    queue = ReadyQueue()
    first, second = QueueTicket("a", (0, 1)), QueueTicket("b", (1, 2))
    queue.push(first)
    queue.push(second)
    assert queue.pop(lambda _: False) is None  # both are parked
    queue.wake("a")

    def has_room(ticket: QueueTicket) -> bool:
        if ticket is first:
            queue.wake("b")
        return ticket is second

    assert queue.pop(has_room) is second
