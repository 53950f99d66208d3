"""The border between two threads, under any interleaving of its two actors: nothing is lost,
doubled or reordered, no wake-up is missed, and a sender that was held back goes on."""

from collections import deque

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streamnursery.bridge.channel import Crossings, ForeignChannel
from streamnursery.bridge.outbox import MOST, HostOutbox, Mailbox, Unread
from streamnursery.pipeline.channel import BufferTotal
from streamnursery.values.events import StreamEvent, TextDelta

BOXES = 3


@attrs.define(eq=False)
class Sender:
    """One sender, and what its reader must see of it."""

    box: int
    unread: Unread = attrs.field(factory=lambda: Unread(8, 100))
    put: int = 0
    """Items so far; each is its own number."""
    seen: list[int] = attrs.field(factory=list)
    cut: int | None = None
    """Nothing behind this item may be seen: it was discarded."""
    collected: int = 0


class TwoActors(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.outbox = HostOutbox()
        self.boxes = [Mailbox() for _ in range(BOXES)]
        self.senders = [Sender(n % BOXES) for n in range(2 * BOXES)]
        self.due = 0
        """Sweeps that the host was told to make."""
        self.parked: set[int] = set()
        """Readers that wait."""
        self.ended: set[int] = set()

    def told(self, wake: bool) -> None:
        self.due += wake
        assert self.due <= 1, "one burst, one wake-up"

    # The engine.

    @rule(n=st.integers(0, 2 * BOXES - 1), items=st.integers(1, 5), nbytes=st.integers(0, 60))
    def put(self, n: int, items: int, nbytes: int) -> None:
        sender = self.senders[n]
        if sender.box in self.ended or sender.cut is not None:
            return
        batch = [(n, sender.put + i) for i in range(items)]
        sender.put += items
        wake, done, _ = self.outbox.put(self.boxes[sender.box], sender.unread, batch, nbytes)
        sender.collected += done
        self.told(wake)

    @rule(n=st.integers(0, 2 * BOXES - 1), watch=st.booleans())
    def collect(self, n: int, watch: bool) -> None:
        sender = self.senders[n]
        sender.collected += self.outbox.collect(sender.unread, watch=watch)[0]

    @rule(n=st.integers(0, 2 * BOXES - 1))
    def discard(self, n: int) -> None:
        sender = self.senders[n]
        if sender.cut is None:
            self.outbox.discard(self.boxes[sender.box], sender.unread)
            sender.cut = len(sender.seen)

    @rule(box=st.integers(0, BOXES - 1), over=st.booleans())
    def end(self, box: int, over: bool) -> None:
        if box not in self.ended:
            self.ended.add(box)
            self.told(self.outbox.end(self.boxes[box], None))
        if over:
            self.told(self.outbox.finish(self.boxes[box]))

    # The host.

    @rule(box=st.integers(0, BOXES - 1))
    def park(self, box: int) -> None:
        """A reader that waits does nothing else; park again is a spurious wake-up."""
        news = bool(self.boxes[box].batches) or box in self.ended
        assert self.outbox.park(self.boxes[box]) is not news
        if not news:
            self.parked.add(box)

    @precondition(lambda self: self.due)
    @rule()
    def sweep(self) -> None:
        self.due = 0
        found, more = self.outbox.sweep()
        assert not more
        for box in found:
            self.parked.discard(self.boxes.index(box))

    @rule(box=st.integers(0, BOXES - 1))
    def ask(self, box: int) -> None:
        """A reader that is done with what it took, and waits if there is nothing."""
        news = bool(self.boxes[box].batches) or box in self.ended
        assert self.outbox.ask(self.boxes[box])[0] is not news
        if not news:
            self.parked.add(box)
        assert self.boxes[box].taken == []

    @rule(box=st.integers(0, BOXES - 1))
    def take(self, box: int) -> None:
        if box in self.parked:
            return
        batches, _ = self.outbox.take(self.boxes[box])
        self.see(batches)

    def see(self, batches: list[tuple[Unread | None, list[tuple[int, int]]]]) -> None:
        for unread, batch in batches:
            for n, item in batch:
                assert self.senders[n].unread is unread
                self.senders[n].seen.append(item)

    # What must hold.

    @invariant()
    def what_is_seen_is_what_was_put_in_order(self) -> None:
        for sender in self.senders:
            assert sender.seen == list(range(len(sender.seen)))
            assert sender.cut is None or len(sender.seen) == sender.cut

    @invariant()
    def a_parked_reader_with_news_has_a_sweep_due(self) -> None:
        for box in self.parked:
            if self.boxes[box].batches or box in self.ended:
                assert self.due

    @invariant()
    def the_books_agree(self) -> None:
        for sender in self.senders:
            if sender.cut is None:
                unread = sender.unread
                assert 0 <= unread.items == sender.put - sender.collected - unread.let_go_items

    def teardown(self) -> None:
        if self.due:
            self.sweep()
        for number, box in enumerate(self.boxes):
            if number not in self.parked:
                while found := self.outbox.take(box)[0]:
                    self.see(found)
        for sender in self.senders:
            if sender.cut is None and sender.box not in self.parked:
                assert len(sender.seen) == sender.put


TestTwoActors = TwoActors.TestCase
TestTwoActors.settings = settings(stateful_step_count=40)


class _Host:
    def __init__(self, border: object) -> None:
        self.outbox = HostOutbox(border)  # type: ignore[arg-type]
        self.wakes = 0

    def wake(self) -> None:
        self.wakes += 1


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["put", "take", "report", "leave"]),
        st.integers(0, 3),
        st.integers(1, 9),
    ),
    max_size=60,
)


class _Stream:
    """A sender that obeys its channel, and a reader."""

    def __init__(self, crossings: Crossings, host: _Host, total: BufferTotal) -> None:
        self.box = Mailbox()
        self.channel = ForeignChannel(
            crossings, host, self.box, max_items=4, max_bytes=20, total=total
        )
        self.channel.on_room = self.on_room
        self.held_back = False
        self.left = False

    def on_room(self) -> None:
        assert self.held_back, "on_room is for a sender that was told to stop"
        self.held_back = False

    def put(self, items: int) -> None:
        if not self.held_back and not self.left:
            batch: list[StreamEvent] = [TextDelta("x")] * items
            self.held_back = not self.channel.put(batch, items)


class _Engine:
    """Four streams under one bound, and the reports that their host has posted."""

    def __init__(self) -> None:
        self.total, self.crossings = BufferTotal(25), Crossings()
        self.host = _Host(self.crossings.border)
        self.streams = [_Stream(self.crossings, self.host, self.total) for _ in range(4)]
        self.reports: deque[_Stream] = deque()

    def act(self, action: str, stream: _Stream, amount: int) -> None:
        if action == "put":
            stream.put(amount)
        elif action == "take":
            self.take(stream)
        elif action == "report":
            self.report()
        elif not stream.left:
            stream.left = True
            stream.channel.discard()
        assert self.total.current_bytes >= 0

    def take(self, stream: _Stream) -> bool:
        """As readers do: done with what was taken, wait for news, take all that is there."""
        if self.host.outbox.ask(stream.box)[1]:
            self.reports.append(stream)
        return bool(self.host.outbox.take(stream.box)[0])

    def report(self) -> None:
        if self.reports:
            self.reports.popleft().channel.collect()
            if self.total.held_back or self.crossings.border.report_all:
                self.crossings.reported(self.total)

    def read_all(self) -> None:
        while True:
            found = [self.take(stream) for stream in self.streams]
            if not any(found) and not self.reports:
                return
            self.report()


@given(ACTIONS)
def test_a_sender_that_was_held_back_goes_on_when_its_reader_has_read(
    actions: list[tuple[str, int, int]],
) -> None:
    engine = _Engine()
    for action, n, amount in actions:
        engine.act(action, engine.streams[n], amount)
    engine.read_all()
    assert [s for s in engine.streams if s.held_back and not s.left] == []
    engine.crossings.collect()
    assert engine.total.current_bytes == 0
    assert all(s.channel.statistics().current_items == 0 for s in engine.streams)


class _EagerHost(_Host):
    """Its reader takes everything, and is done with it, in the middle of the sender's `put`."""

    def __init__(self, border: object, box: Mailbox) -> None:
        super().__init__(border)
        self._box = box
        self.reports = 0

    def wake(self) -> None:
        self.outbox.sweep()
        while self.outbox.take(self._box)[0]:
            self.reports += self.outbox.ask(self._box)[1]


def test_a_reader_that_is_done_before_the_sender_looks_holds_nobody_back() -> None:
    box, crossings = Mailbox(), Crossings()
    host = _EagerHost(crossings.border, box)
    total = BufferTotal(1000)
    channel = ForeignChannel(crossings, host, box, max_items=2, max_bytes=100, total=total)
    for _ in range(5):
        assert host.outbox.ask(box)[0] or box.parked
        assert channel.put([TextDelta("x")] * 3, 3)
    assert (host.reports, total.current_bytes) == (0, 0)
    assert not channel.statistics().sender_waiting


def test_a_sweep_names_a_thousand_readers_at_most_and_says_that_there_are_more() -> None:
    outbox = HostOutbox()
    boxes = [Mailbox() for _ in range(MOST + 1)]
    wakes = 0
    for box in boxes:
        assert outbox.park(box)
        wakes += outbox.tell(box, ["news"])
    assert wakes == 1
    first, more = outbox.sweep()
    assert (len(first), more) == (MOST, True)
    assert not outbox.tell(boxes[0], ["more"])
    second, more = outbox.sweep()
    assert (second, more) == (boxes[MOST:], False)


def test_a_take_brings_a_thousand_items_or_one_batch() -> None:
    outbox, box = HostOutbox(), Mailbox()
    for size in (600, 600, 3000, 1):
        outbox.tell(box, [0] * size)
    sizes = []
    while batches := outbox.take(box)[0]:
        sizes.append([len(batch) for _, batch in batches])
    assert sizes == [[600], [600], [3000], [1]]


def test_the_end_comes_behind_what_was_put() -> None:
    outbox, box = HostOutbox(), Mailbox()
    outbox.tell(box, ["a"])
    outbox.end(box, ValueError("end"))
    assert not outbox.park(box)
    assert outbox.take(box)[0] == [(None, ["a"])]
    assert outbox.take(box)[0] == []
    assert box.ended
    assert isinstance(box.error, ValueError)
