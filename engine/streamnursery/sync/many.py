"""Many requests from one source: outcomes as they finish, or the events of all."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from streamnursery.bridge.many import OneOfMany, items_of
from streamnursery.bridge.own_calls import OwnCall
from streamnursery.bridge.sources import InFlight, checked_bound, iterator_of
from streamnursery.sync.own_calls import run_call
from streamnursery.sync.waits import SyncBridge
from streamnursery.values.completion import Outcome
from streamnursery.values.errors import EngineClosedError

if TYPE_CHECKING:
    from streamnursery.bridge.hosts import SyncHost

T = TypeVar("T")


class SyncItems(AbstractContextManager["SyncItems[T]"], Iterator[T], Generic[T]):
    """What comes of many requests, as it comes: iterate it, in a `with` block or without one.
    Leaving the block, `close()` or the end of the iteration ends what still runs."""

    def __init__(
        self, bridge: SyncBridge, requests: object, max_in_flight: int | None, *, merge: bool
    ) -> None:
        self._bridge = bridge
        self._requests = requests
        self._asked = max_in_flight
        self._merge = merge
        self._host: SyncHost
        self._flight: InFlight | None = None
        self._source: Any = None
        self._closed = False
        if max_in_flight is not None:
            checked_bound(max_in_flight)

    def __enter__(self) -> "SyncItems[T]":
        self._begun()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> "SyncItems[T]":
        return self

    def __next__(self) -> T:
        flight = self._begun()
        try:
            return self._next(flight)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End what still runs, and close the source; idempotent."""
        if self._closed:
            return
        self._closed = True
        flight = self._flight
        if flight is None:
            return
        outbox, box = self._host.outbox, flight.box
        leave = flight.leaving()
        if flight.running:

            def over() -> bool:
                flight.absorb(items_of(outbox.take(box)[0]))
                return not flight.running

            self._bridge.tell(leave)
            self._bridge.wait_over(self._host, box, over, for_over=False)
        outbox.drop(box)
        close = getattr(self._source, "close", None)
        if close is not None:
            close()

    def _begun(self) -> InFlight:
        if self._flight is None:
            bound = self._asked
            if bound is None:
                bound = self._bridge.ask(lambda engine: engine._in_flight(None))
            self._host = self._bridge.host()
            self._source = iterator_of(self._requests)
            self._flight = InFlight(
                self._host,
                self._post,
                merge=self._merge,
                max_in_flight=checked_bound(bound),
                asked=self._asked,
                run_call=self._run_call,
            )
            self._flight.pull(self._source)
        return self._flight

    def _next(self, flight: InFlight) -> T:
        host = self._host
        while True:
            if flight.items:
                item: T = flight.hand_out()
                flight.pull(self._source)
                return item
            if flight.error is not None:
                raise flight.error
            if flight.over or self._closed:
                raise StopIteration
            host.wait_to_read(flight.box, self._bridge.report)
            batches, _ = host.outbox.take(flight.box)
            flight.absorb(items_of(batches))
            flight.pull(self._source)

    def _run_call(self, own: OwnCall) -> None:
        context = copy_context()
        run = partial(context.run, run_call, self._bridge, own)
        own.started = True
        threading.Thread(target=run, name=f"call {own.call.model}", daemon=True).start()

    def _post(self, half: OneOfMany) -> None:
        try:
            self._bridge.thread.post(half)
        except EngineClosedError as error:
            half.fail(error)


def settled(bridge: SyncBridge, requests: object, max_in_flight: int | None) -> list[Outcome]:
    """The outcome of every request, in the order of the source."""
    outcomes: SyncItems[Outcome] = SyncItems(bridge, requests, max_in_flight, merge=False)
    with outcomes:
        found = list(outcomes)
    found.sort(key=lambda outcome: outcome.index)
    return found
