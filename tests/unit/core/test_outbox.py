"""The messages of a session: order, bounds, and one outcome each."""

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from streamnursery.core.sessions.outbox import Outbox, OutboxMessage
from streamnursery.values.session import Pending, SendOutcome

D, R, U = SendOutcome.DELIVERED, SendOutcome.REFUSED, SendOutcome.UNKNOWN


def entries(outbox: Outbox, *names: str, repeatable: bool = False) -> list[OutboxMessage]:
    made = [OutboxMessage(name.encode(), repeatable) for name in names]
    assert all(outbox.accept(entry) for entry in made)
    return made


def write(outbox: Outbox, end: int) -> OutboxMessage:
    entry = outbox.take()
    assert entry is not None
    entry.end = end
    return entry


def test_what_was_confirmed_is_delivered_in_order() -> None:
    outbox = Outbox(Pending())
    first, second, third = entries(outbox, "a", "b", "c")
    assert (write(outbox, 10), write(outbox, 20)) == (first, second)
    outbox.confirmed(10)
    assert (first.outcome, second.outcome, third.outcome) == (D, None, None)
    assert (len(outbox), outbox.nbytes, outbox.unconfirmed) == (2, 2, True)


def test_half_a_message_is_none_and_a_whole_one_may_have_arrived() -> None:
    outbox = Outbox(Pending())
    whole, half, later = entries(outbox, "a", "b", "c")
    write(outbox, 10)
    write(outbox, 20)
    outbox.on_connection_lost(flushed=15)
    assert (whole.outcome, half.outcome, later.outcome) == (U, None, None)
    assert outbox.take() is half
    assert outbox.take() is later


def test_one_that_was_being_written_when_the_connection_broke_was_not_sent() -> None:
    outbox = Outbox(Pending())
    (entry,) = entries(outbox, "a")
    assert outbox.take() is entry
    outbox.confirmed(10**9)
    outbox.on_connection_lost(flushed=10**9)
    assert not entry.maybe_sent
    assert outbox.take() is entry


def test_a_repeatable_message_goes_again_before_those_that_never_went() -> None:
    outbox = Outbox(Pending())
    (again,) = entries(outbox, "a", repeatable=True)
    (new,) = entries(outbox, "b")
    write(outbox, 10)
    outbox.on_connection_lost(flushed=10)
    assert again.maybe_sent
    assert outbox.take() is again
    outbox.on_connection_lost(flushed=0)  # of the next connection
    outbox.close()
    assert (again.outcome, new.outcome) == (U, R)


def test_a_message_withdrawn_is_not_sent_and_one_under_way_stays() -> None:
    outbox = Outbox(Pending())
    first, second = entries(outbox, "a", "b")
    write(outbox, 10)
    outbox.withdraw(first)
    outbox.withdraw(second)
    assert (first.outcome, second.outcome) == (None, R)
    outbox.withdraw(second)
    assert outbox.outcomes[R] == 1


@pytest.mark.parametrize("policy", ["wait", "refuse", "drop_oldest"])
def test_bounds_hold_in_number_and_bytes_and_a_large_one_has_its_turn(policy: str) -> None:
    outbox = Outbox(Pending(max_messages=3, max_bytes=10, when_full=policy))  # type: ignore[arg-type]
    huge = OutboxMessage(b"x" * 50, False)
    assert outbox.accept(huge)
    accepted = outbox.accept(OutboxMessage(b"y", False))
    assert accepted == (policy == "drop_oldest")
    assert huge.outcome is (R if accepted else None)


class OutboxMachine(RuleBasedStateMachine):
    """Any order of sending, writing, confirming and breaking."""

    @initialize(policy=st.sampled_from(("refuse", "drop_oldest")), most=st.integers(1, 6))
    def begin(self, policy: str, most: int) -> None:
        self.outbox = Outbox(Pending(max_messages=most, max_bytes=60, when_full=policy))  # type: ignore[arg-type]
        self.made: list[OutboxMessage] = []
        self.settled: Counter[int] = Counter()
        self.sent: list[OutboxMessage] = []
        self.queued = 0

    def _settled(self, entry: OutboxMessage) -> None:
        self.settled[id(entry)] += 1

    @rule(size=st.integers(1, 30), repeatable=st.booleans())
    def send(self, size: int, repeatable: bool) -> None:
        entry = OutboxMessage(b"x" * size, repeatable, self._settled)
        if self.outbox.accept(entry):
            self.made.append(entry)

    @rule()
    def write(self) -> None:
        entry = self.outbox.take()
        if entry is not None:
            self.queued += len(entry.data)
            entry.end = self.queued
            self.sent.append(entry)

    @rule(share=st.floats(0, 1))
    def confirm(self, share: float) -> None:
        self.outbox.confirmed(int(self.queued * share))

    @rule(share=st.floats(0, 1))
    def break_connection(self, share: float) -> None:
        self.outbox.on_connection_lost(int(self.queued * share))
        self.queued = 0

    @rule(number=st.integers(0, 50))
    def withdraw(self, number: int) -> None:
        if self.made:
            self.outbox.withdraw(self.made[number % len(self.made)])

    @invariant()
    def each_has_one_outcome_and_the_book_is_right(self) -> None:
        if not hasattr(self, "outbox"):
            return
        assert all(count == 1 for count in self.settled.values())
        open_ones = [entry for entry in self.made if entry.outcome is None]
        assert len(self.outbox) == len(open_ones)
        assert self.outbox.nbytes == sum(len(entry.data) for entry in open_ones)
        assert sum(self.outbox.outcomes.values()) == len(self.settled)

    @invariant()
    def first_sendings_keep_their_order_and_no_unrepeatable_one_is_written_twice(self) -> None:
        if not hasattr(self, "outbox"):
            return
        first = list(dict.fromkeys(map(id, self.sent)))
        order = [id(entry) for entry in self.made]
        assert first == [i for i in order if i in set(first)]

    def teardown(self) -> None:
        if hasattr(self, "outbox"):
            self.outbox.close()
            assert all(entry.outcome is not None for entry in self.made)
            assert len(self.outbox) == 0


TestOutbox = OutboxMachine.TestCase
TestOutbox.settings = settings(stateful_step_count=30)
