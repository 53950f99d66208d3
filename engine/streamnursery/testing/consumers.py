"""What each consumer was handed: the receive end, with a memory."""

from typing import TYPE_CHECKING

import attrs
import trio

from streamnursery.pipeline.delivery import StreamOutcome
from streamnursery.pipeline.relayed import RelayDelivery, is_handed_on
from streamnursery.pipeline.stream import TokenStream
from streamnursery.testing.trace import Trace
from streamnursery.values.errors import EngineError
from streamnursery.values.events import Finished, StreamEvent, TextDelta

if TYPE_CHECKING:
    from streamnursery.pipeline.delivery import Delivery

TOLERANCE = 0.001
"""Seconds by which a deadline may be missed."""


@attrs.define(eq=False)
class ConsumerRecord:
    """One stream, as its consumer met it."""

    number: int
    """From 1, in the order in which the streams were opened in this world."""
    stream: TokenStream
    deadline: float
    """On trio's clock; `inf` for none."""
    events: list[StreamEvent] = attrs.field(factory=list, repr=False)
    """Everything that was handed out, in order."""
    error: EngineError | None = None
    """What reading raised, if it did."""
    problems: list[str] = attrs.field(factory=list, repr=False)
    """What was wrong with single readings."""

    @property
    def text(self) -> str:
        """The text of choice 0 that was handed out."""
        return "".join(e.text for e in self.events if type(e) is TextDelta and e.index == 0)

    @property
    def finished(self) -> bool:
        """`Finished` was handed out."""
        return bool(self.events) and type(self.events[-1]) is Finished

    @property
    def over(self) -> bool:
        """The request has ended and its task is gone."""
        delivery = delivery_of(self.stream)
        return delivery.outcome is not None and delivery.over

    def __str__(self) -> str:
        return f"stream {self.number} ({self.stream.request.model})"


class RecordedStream(TokenStream):
    """A `TokenStream` whose record grows with each reading."""

    __slots__ = ("_record", "_timed", "_trace")

    def __init__(self, delivery: "Delivery", number: int, trace: Trace) -> None:
        super().__init__(delivery)
        # One that has passed already ends the request at once.
        deadline = max(delivery.deadline, delivery.started_at)
        self._record = ConsumerRecord(number, self, deadline)
        self._timed = delivery.deadline < float("inf")
        self._trace = trace

    @property
    def record(self) -> ConsumerRecord:
        return self._record

    async def __anext__(self) -> StreamEvent:
        began = trio.current_time() if self._timed else 0.0
        try:
            event = await super().__anext__()
        except EngineError as error:
            self._failed(error, began)
            raise
        except StopAsyncIteration:
            self._told_the_end()
            raise
        self._handed([event])
        return event

    async def receive(self) -> list[StreamEvent]:
        began = trio.current_time() if self._timed else 0.0
        try:
            events = await super().receive()
        except EngineError as error:
            self._failed(error, began)
            raise
        except trio.EndOfChannel:
            self._told_the_end()
            raise
        self._handed(events)
        return events

    def _handed(self, events: list[StreamEvent]) -> None:
        record = self._record
        record.events += [event for event in events if not is_handed_on(event)]
        for event in events:
            self._trace.add((record.number, event))
        delivery = delivery_of(self)
        if delivery.revoked:
            record.problems.append("an event was handed out after the stream had been ended")
        # What was delivered before a failure may be read at leisure: the request is over.
        elif self._late() and delivery.outcome is not StreamOutcome.FAILED:
            record.problems.append(f"an event was handed out {_after(record.deadline)}")

    def _late(self) -> bool:
        return self._timed and trio.current_time() > self._record.deadline + TOLERANCE

    def _told_the_end(self) -> None:
        # Of a relay the bytes are handed out, and not the events beside them.
        whole = isinstance(delivery_of(self), RelayDelivery) and delivery_of(self).finished
        if not (self._record.finished or whole):
            self._record.problems.append("reading ended without Finished and without an error")

    def _failed(self, error: EngineError, began: float) -> None:
        record = self._record
        if record.error is not None and record.error is not error:
            record.problems.append(f"reading raised {error!r} after {record.error!r}")
        record.error = error
        # A call after the deadline is answered after it.
        if self._timed and trio.current_time() > max(began, record.deadline) + TOLERANCE:
            record.problems.append(f"reading ended {_after(record.deadline)}")


def delivery_of(stream: TokenStream) -> "Delivery":
    """The engine's own side of a stream."""
    return stream._delivery


def _after(deadline: float) -> str:
    return f"{trio.current_time() - deadline:.3f} s after the deadline"
