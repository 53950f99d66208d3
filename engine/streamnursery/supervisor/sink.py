"""Body bytes in, one batch of events per read out. Synchronous: runs inside the reader.

Rule 1: what comes before the first content is held back, so that an attempt that fails before it
        commits leaves no trace in the stream. With it the attempt claims the stream, which another
        attempt may own by then.
Rule 2: the clocks are fed by content alone, and stand still while the consumer is behind. Before
        the first content, anything at all is a sign of work where the model may think unseen.
Rule 3: after the end mark or a failure nothing counts any more; but where the head has told the
        body's length, `Finished` waits until the body ends there (RFC 9112 6.3): a body that is
        cut is not whole, whatever it says of itself.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import trio

from streamnursery.core.measure.meter import Meter
from streamnursery.core.recovery.patience import PatienceClock
from streamnursery.pipeline.delivery import Delivery
from streamnursery.supervisor.allowance import Allowance
from streamnursery.values.errors import EngineError, TooLargeError
from streamnursery.values.events import CONTENT, Finished, StreamEvent, UsageReport
from streamnursery.values.http import HttpHead
from streamnursery.wire.dialect import StreamDecoder

if TYPE_CHECKING:
    from streamnursery.values.usage import Usage

_CONTENT = frozenset(CONTENT)
_LARGE = 64 * 1024
"""Bytes of an event on its way from which they are counted: a read has as many."""


class SinkOwner(Protocol):
    """What an attempt's sink tells it, each in the step in which it happens."""

    @property
    def current_time(self) -> Callable[[], float]:
        """Of trio's clock."""

    def claim(self) -> list[StreamEvent] | None:
        """The first content is there: what comes before it; None: the stream is not to be had."""

    def first_token(self, now: float) -> None:
        """The first content counts."""

    def finish(self) -> None:
        """The answer is whole; its last event cannot be read yet."""

    def mark_unreusable(self) -> None:
        """More came than the answer."""

    def rearm(self) -> None:
        """The clocks' next date has changed."""

    def wake(self) -> None:
        """The sink takes nothing more."""


class StreamSink:
    """Takes the body of one attempt."""

    __slots__ = (
        "_allowance",
        "_clock",
        "_delimited",
        "_delivery",
        "_finish",
        "_held",
        "_held_bytes",
        "_hold",
        "_meter",
        "_missing",
        "_now",
        "_owner",
        "_partial",
        "_waited_for",
        "_working",
        "body_ended",
        "claimed",
        "committed",
        "content_events",
        "decoder",
        "ended",
        "failure",
        "finished",
        "first_token_at",
        "usage",
    )

    def __init__(
        self,
        decoder: StreamDecoder,
        delivery: Delivery,
        clock: PatienceClock,
        meter: Meter,
        head: HttpHead,
        *,
        hold: bool,
        owner: SinkOwner,
        allowance: Allowance,
    ) -> None:
        self.ended = False
        """The attempt is over, well or not."""
        self.decoder = decoder
        self.failure: EngineError | None = None
        self.body_ended = False
        """The message was read to its end: its connection can be reused."""
        self.finished = False
        self.claimed = False
        """Something was put into the stream."""
        self.committed = False
        self.first_token_at: float | None = None
        self.usage: Usage | None = None
        self.content_events = 0
        self._delivery = delivery
        self._clock = clock
        self._working = clock.reasoning
        """Whatever comes before the first content is a sign of work."""
        self._now = owner.current_time
        self._meter = meter
        self._hold = hold
        self._owner = owner
        self._allowance = allowance
        self._held: list[StreamEvent] | None = None
        self._held_bytes = 0
        self._waited_for: str | Callable[[], str] | None = None
        self._missing, self._delimited = head.framing()
        """Bytes of the body that have not come, and whether it says where it ends."""
        self._partial = False
        """Bytes of an event that has not come whole are counted."""
        self._finish: Finished | None = None
        """The answer's end, until the body has ended as well."""

    def feed(self, data: bytes) -> bool:
        if self.ended:
            return False
        if self._finish is not None:  # nothing counts any more, until `end`
            return self.rest is None or self.rest(data)
        if self._working:
            self._clock.working(self._now())
        events = self.decoder.feed(data)
        if self._missing is not None:
            self._count_down(len(data), events)
        room = self._deliver(events, len(data)) if events else True
        if self.ended:
            return False
        if self.decoder.done or self.decoder.failure is not None:
            return self._decided() and room
        # After the events before it, which a bound that is passed must not lose.
        if (self._partial or not events) and not self._keep_partial():
            return False
        return room

    def _count_down(self, nbytes: int, events: list[StreamEvent]) -> None:
        """So much of the stated length has come; `Finished` is held back until all has."""
        assert self._missing is not None
        self._missing -= nbytes
        if self._missing > 0 and events and isinstance(finish := events[-1], Finished):
            self._finish = finish
            del events[-1]

    def _decided(self) -> bool:
        """The decoder takes nothing more: over, unless the body has to end first."""
        if self.decoder.trailing:
            self._owner.mark_unreusable()
        if self._finish is None:
            self._over(self.decoder.failure)
        return self._finish is not None

    @property
    def rest(self) -> Callable[[bytes], bool] | None:
        """Takes what stands behind the answer, where it is wanted."""
        return None

    def end(self, error: EngineError | None) -> None:
        self.body_ended = error is None
        if self.ended:
            return
        if error is None:
            finish = self._finish
            events: list[StreamEvent] = (
                self.decoder.end(delimited=self._delimited) if finish is None else [finish]
            )
            if events:
                self._deliver(events, 0)
            error = self.decoder.failure
        if not self.ended:
            self._over(error)

    def room(self) -> None:
        """The consumer has caught up: the clocks run again."""
        self._clock.resume(self._now())
        self._delivery.waits = self._waited_for
        self._owner.rearm()

    def give_up(self) -> None:
        """Take nothing more, and wake the attempt."""
        if not self.ended:
            self._over(None)

    def _keep_partial(self) -> bool:
        """Count what the decoder keeps of a large event, in the bound over all streams."""
        nbytes = self.decoder.buffered
        if nbytes < _LARGE and not self._partial:
            return True
        self._partial = nbytes >= _LARGE
        if self._delivery.channel.keep_partial(nbytes if self._partial else 0):
            return True
        msg = (
            "events that have not come whole take more than engine.max_buffered_bytes over all "
            "streams; raise it, or run fewer streams at once"
        )
        self._over(TooLargeError(msg, status=200, retryable=False))
        return False

    def let_go(self) -> None:
        """Nothing more is fed."""
        # Who owns it holds it: a circle, and dozens of objects of each stream, are left otherwise
        # for the collector to find.
        self._owner = _NOBODY
        if self._partial:
            self._partial = False
            self._delivery.channel.keep_partial(0)

    def _over(self, failure: EngineError | None) -> None:
        self.failure = failure
        self.ended = True
        self._owner.wake()

    def _deliver(self, events: list[StreamEvent], nbytes: int) -> bool:
        count = 0
        for event in events:
            if type(event) in _CONTENT:
                count += 1
            else:
                self._take_note(event)
        if not self.claimed:
            if self._hold and not count and not self.finished:
                self._hold_back(events, nbytes)
                return True
            events = self._with_beginning(events)
            if not events:
                return False
            nbytes += self._held_bytes
        if count:
            self._count(count)
        if self.finished:
            # The consumer may read on from here before the attempt's task runs again.
            self._owner.finish()
            events = self._allowance.without_end(events)
            return not events or self._delivery.put(events, nbytes)
        room = self._delivery.put(events, nbytes)
        if self.content_events >= self._allowance.look_at and self._outgrown():
            return False
        if not room:
            self._wait_for_consumer()
        return room

    def _outgrown(self) -> bool:
        """Whether the stream has to stop, since there is no money for more."""
        refused = self._allowance.outgrown(self.content_events)
        if refused is not None:
            self._over(refused)
        return refused is not None

    def _take_note(self, event: StreamEvent) -> None:
        if isinstance(event, UsageReport):
            self.usage = event.usage
        elif type(event) is Finished:
            self.finished = True

    def _hold_back(self, events: list[StreamEvent], nbytes: int) -> None:
        held = self._held
        if held is None:
            held = self._held = []
        for event in events:
            if held and type(event) is UsageReport and type(held[-1]) is UsageReport:
                held[-1] = event  # the last one counts; a provider may send one with every ping
            else:
                held.append(event)
        self._held_bytes += nbytes

    def _with_beginning(self, events: list[StreamEvent]) -> list[StreamEvent]:
        """Claim the stream; all that is to be put, unless another attempt has it."""
        before = self._owner.claim()
        if before is None:
            self._over(None)
            return []
        self.claimed = True
        held, self._held = self._held or (), None
        return [*before, *held, *events]

    def _wait_for_consumer(self) -> None:
        self._clock.pause(self._now())
        self._waited_for = self._delivery.waits
        self._delivery.waits = "the consumer"

    def _count(self, count: int) -> None:
        now = self._now()
        delivery = self._delivery
        self.content_events += count
        delivery.content_events += count
        if delivery.first_token_at is None:
            delivery.committed = True
            delivery.first_token_at = now
            self._meter.first_content(now - delivery.started_at, count)
        else:
            self._meter.more_content(now - (delivery.last_token_at or now), count)
        delivery.last_token_at = now
        if not self.committed:
            self.committed = True
            self.first_token_at = now
            self._working = False
            self._owner.first_token(now)
        if self._clock.content(now):
            self._owner.rearm()


class _Nobody:
    """The owner of a sink whose attempt is over: what a late reader says is heard by nobody."""

    current_time = staticmethod(trio.current_time)

    def claim(self) -> None:
        """It is not to be had."""

    def first_token(self, now: float) -> None:
        """See above."""

    def finish(self) -> None:
        """See above."""

    mark_unreusable = rearm = wake = finish


_NOBODY = _Nobody()
