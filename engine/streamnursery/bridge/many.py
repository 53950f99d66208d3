"""Requests of which a host wants the outcome, or the events of all in one box.

What is put into the box: of a `CollectHalf` itself, once it is over; of a `MergeHalf` pairs of its
number and an event, and itself behind them.
"""

from collections import Counter
from typing import Any

import attrs

from streamnursery.bridge.channel import Asks, ForeignChannel
from streamnursery.bridge.outbox import Mailbox
from streamnursery.bridge.streams import Half, OpenBlock
from streamnursery.bridge.thread import EngineThread
from streamnursery.pipeline.channel import BufferTotal, Channel
from streamnursery.pipeline.delivery import Delivery
from streamnursery.pipeline.merge import MergedEvent
from streamnursery.values.completion import Completion
from streamnursery.values.errors import EngineError
from streamnursery.values.events import Failed, StreamEvent


@attrs.define(eq=False)
class Watch:
    """How many requests of one call run, by model: to say which limit holds them back."""

    asked: int | None
    """`max_in_flight`, where a number was given."""
    running: Counter[str] = attrs.field(factory=Counter, init=False)


class SinkChannel(Channel[StreamEvent]):
    """Keeps nothing: the transcript has what a whole answer is made of."""

    __slots__ = ()

    def put(self, items: list[StreamEvent], nbytes: int) -> bool:  # noqa: ARG002 - Channel's
        return True


class OneOfMany(Half):
    """A request that notifies its box when it is over, by itself or because it was left."""

    def __init__(
        self,
        host: Asks,
        box: Mailbox,
        open_block: OpenBlock,
        number: int = 0,
        watch: Watch | None = None,
    ) -> None:
        super().__init__(host, box, open_block)
        self.error: BaseException | None = None
        self.number = number
        """Among those of its box."""
        self._watch = watch
        self._told = False
        self._counted: str | None = None
        """The model that it counts for in `watch`."""

    def fail(self, error: BaseException) -> None:
        self.error = error
        self._tell_over()

    def _begin(self, thread: EngineThread) -> None:
        super()._begin(thread)
        watch = self._watch
        if watch is not None and watch.asked is not None and self.delivery is not None:
            model = self._counted = self.delivery.request.model
            watch.running[model] += 1
            thread.engine._held_back.look(watch.running, model, watch.asked)

    def _over(self) -> None:
        if not self.left:
            self.left = True
            assert self._block is not None
            self._block.leave()
        self._tell_over()

    def _tell_over(self) -> None:
        if self._told:  # a drained one is over twice
            return
        self._told = True
        if self._counted is not None and self._watch is not None:
            self._watch.running[self._counted] -= 1
        self._tell([self])


class CollectHalf(OneOfMany):
    """Of a request whose whole answer is wanted."""

    def completion(self) -> Completion:
        """The whole answer, once it is over; on any thread.

        Raises:
            EngineError: what ended it.
        """
        if self.error is not None:
            raise self.error
        assert self.delivery is not None
        return self.delivery.completion()

    def _channel(self, max_items: int, max_bytes: int, total: BufferTotal) -> Channel[StreamEvent]:
        return SinkChannel(max_items=max_items, max_bytes=max_bytes, total=total)

    def _end(self, delivery: Delivery) -> None:
        self.error = delivery.error


class MergeHalf(OneOfMany):
    """Of one stream among others that are read together."""

    merging: "dict[MergeHalf, None]"
    """Those of the same box that run; kept in the engine's thread."""

    def _begin(self, thread: EngineThread) -> None:
        super()._begin(thread)
        self.merging[self] = None

    def fail(self, error: BaseException) -> None:
        if isinstance(error, EngineError):
            self._tell([(self.number, Failed(error))])
        super().fail(error)

    def _channel(self, max_items: int, max_bytes: int, total: BufferTotal) -> Channel[StreamEvent]:
        assert self._thread is not None
        self._total = total
        self._foreign = ForeignChannel(
            self._thread.crossings,
            self.host,
            self.box,
            max_items=max_items,
            max_bytes=max_bytes,
            total=total,
            tag=self._pair,
        )
        return self._foreign

    def _pair(self, event: StreamEvent) -> MergedEvent:
        return self.number, event

    def _end(self, delivery: Delivery) -> None:
        if delivery.error is not None:
            self._tell([(self.number, Failed(delivery.error))])

    def _over(self) -> None:
        # Read to its end or given up: what is unread is the box's, and not to be discarded.
        self._foreign.hand_over()
        self.merging.pop(self, None)
        super()._over()

    def report(self) -> None:
        """The reader has done with something; in the engine's thread."""
        assert self._thread is not None
        self._foreign.collect()
        crossings = self._thread.crossings
        if self._total.held_back or crossings.border.report_all:
            crossings.reported(self._total)


def items_of(batches: list[tuple[Any, list[Any]]]) -> list[Any]:
    """What the batches of a take hold, in order."""
    return [item for _, batch in batches for item in batch]
