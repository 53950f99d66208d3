"""The ready queue against a list that is searched from the front."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from engine.core.ready_queue import ReadyQueue, Ticket

MODELS = ("a", "b", "c")


class QueueMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.queue = ReadyQueue()
        self.waiting: list[Ticket] = []
        self.room = dict.fromkeys(MODELS, 1)
        self.sequence = 0

    @rule(model=st.sampled_from(MODELS), priority=st.integers(0, 2))
    def push(self, model: str, priority: int) -> None:
        self.sequence += 1
        ticket = Ticket(model, (priority, self.sequence))
        self.waiting.append(ticket)
        self.queue.push(ticket)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove(ticket)
        self.queue.cancel(ticket)

    @rule()
    def pop(self) -> None:
        ready = [t for t in self.waiting if self.room[str(t.lane)] > 0]
        expected = min(ready, key=lambda t: t.rank) if ready else None
        popped = self.queue.pop(lambda ticket: self.room[str(ticket.lane)] > 0)
        assert popped is expected
        if popped is not None:
            self.waiting.remove(popped)
            self.room[str(popped.lane)] -= 1

    @rule(model=st.sampled_from(MODELS), more=st.integers(1, 3))
    def make_room(self, model: str, more: int) -> None:
        self.room[model] += more
        self.queue.wake(model)

    @invariant()
    def counts_agree(self) -> None:
        assert self.queue.live == len(self.waiting)
        for model in MODELS:
            assert self.queue.waiting(model) == sum(t.lane == model for t in self.waiting)


TestReadyQueue = QueueMachine.TestCase
TestReadyQueue.settings = settings(stateful_step_count=60)


def test_cancelled_tickets_do_not_pile_up() -> None:
    queue = ReadyQueue()
    tickets = [Ticket("m", (0, i)) for i in range(10_000)]
    for ticket in tickets:
        queue.push(ticket)
    for ticket in tickets[1:]:
        queue.cancel(ticket)
    assert queue.live == 1
    assert len(queue._queues["m"].heap) < 200
    assert queue.pop(lambda _: True) is tickets[0]


def test_a_saturated_model_is_not_looked_at_again_until_it_is_woken() -> None:
    queue = ReadyQueue()
    for i in range(100):
        queue.push(Ticket("full", (0, i)))
    looked = []

    def has_room(ticket: Ticket) -> bool:
        looked.append(ticket.lane)
        return ticket.lane != "full"

    assert queue.pop(has_room) is None
    for i in range(50):
        queue.push(Ticket("free", (0, 1000 + i)))
        assert queue.pop(has_room) is not None
    assert looked.count("full") == 1
