"""Many requests from one source: outcomes as they finish, or the events of all."""

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import attrs

from streamnursery.aio.calls import AioCallBlock
from streamnursery.aio.waits import Bridge
from streamnursery.bridge.asks import Ask
from streamnursery.bridge.hosting import AsyncHost, Spawned
from streamnursery.bridge.many import OneOfMany, items_of
from streamnursery.bridge.outbox import Mailbox
from streamnursery.bridge.own_calls import OwnCall
from streamnursery.bridge.sources import InFlight, checked_bound, iterator_of
from streamnursery.pipeline.merge import MergedEvent
from streamnursery.scheduler.run.bulk import Requests
from streamnursery.scheduler.run.calls import CallLease
from streamnursery.scheduler.run.own_calls import CallTries, answer
from streamnursery.values.completion import Outcome
from streamnursery.values.errors import (
    EngineClosedError,
    EngineError,
    RequestError,
    StreamCancelledError,
)

if TYPE_CHECKING:
    from streamnursery.scheduler.run.bulk import Work

T = TypeVar("T")

_SECONDS_TO_CLOSE = 1.0
"""What a source's own cleanup may take."""


@attrs.frozen
class _SourceOver:
    """An async source has ended, well or not."""

    error: Exception | None


class AioItems(AsyncIterator[T], Generic[T]):
    """What comes of many requests, as it comes. Iterated by one task."""

    def __init__(self, many: "AioManyBlock[T]") -> None:
        self._many = many

    def __aiter__(self) -> "AioItems[T]":
        return self

    async def __anext__(self) -> T:
        return await self._many.next_item()


AioOutcomes = AioItems[Outcome]
AioMergedEvents = AioItems[MergedEvent]


class AioManyBlock(AbstractAsyncContextManager[AioItems[T]], Generic[T]):
    """`async with` around them; leaving it ends what still runs, and closes the source."""

    def __init__(
        self, bridge: Bridge, requests: Requests, max_in_flight: int | None, *, merge: bool
    ) -> None:
        self._bridge = bridge
        self._requests = requests
        self._asked = max_in_flight
        self._merge = merge
        self._host: AsyncHost | None = None
        self._flight: InFlight | None = None
        self._async_source: AsyncIterator[Work] | None = None
        self._source: Any = None
        self._feeder: Spawned | None = None
        self._room = Mailbox()
        """Parked by the feeder until there is room."""

    async def __aenter__(self) -> AioItems[T]:
        if self._host is not None:
            raise RequestError("this block can be entered once")
        self._host = host = self._bridge.hosts.current()
        bound = self._asked
        if bound is None:
            question = Ask(host, lambda engine: engine._in_flight(None))
            bound = await self._bridge.answered(host, question)
        flight = self._flight = InFlight(
            host,
            self._post,
            merge=self._merge,
            max_in_flight=checked_bound(bound),
            asked=self._asked,
            run_call=self._run_call,
        )
        if isinstance(self._requests, AsyncIterable):
            self._source = self._async_source = aiter(self._requests)
            self._feeder = host.spawn(self._feed)
        else:
            self._source = iterator_of(self._requests)
            flight.pull(self._source)
        return AioItems(self)

    async def next_item(self) -> T:
        host, flight = self._in_block()
        checked = False
        while True:
            if flight.items:
                if not checked:
                    await host.checkpoint()
                item: T = flight.hand_out()
                self._go_on(flight)
                return item
            if flight.error is not None:
                raise flight.error
            if flight.over:
                await host.checkpoint()
                raise StopAsyncIteration
            parked, report = host.outbox.ask(flight.box)
            if report:
                self._bridge.report(flight.box)
            if parked:
                await host.wait(flight.box)
                checked = True
            batches, _ = host.outbox.take(flight.box)
            self._absorb(flight, items_of(batches))

    async def __aexit__(self, *_: object) -> None:
        host, flight = self._in_block()
        try:
            if self._feeder is not None:
                await self._feeder.stop(_SECONDS_TO_CLOSE)
        finally:  # also when a cancel comes meanwhile
            await self._leave(host, flight)
        close = getattr(self._source, "close", None)
        if close is not None:
            close()
        aclose = getattr(self._source, "aclose", None)
        if aclose is not None:
            await self._close_source(host, aclose)

    async def _leave(self, host: AsyncHost, flight: InFlight) -> None:
        """End what runs."""
        leave = flight.leaving()
        if flight.running:

            def over() -> bool:
                batches, _ = host.outbox.take(flight.box)
                self._absorb(flight, items_of(batches))
                return not flight.running

            self._bridge.tell(leave)
            await self._bridge.wait_over(host, flight.box, over, for_over=False)
        host.outbox.drop(flight.box)

    @staticmethod
    async def _close_source(host: AsyncHost, aclose: Callable[[], Awaitable[object]]) -> None:
        """The source's own cleanup: it may wait, though not for ever."""
        errors: list[Exception] = []

        async def close() -> None:
            try:
                await aclose()
            except Exception as error:  # noqa: BLE001 - raised below: a task must not
                errors.append(error)

        await host.spawn(close).wait(_SECONDS_TO_CLOSE)
        if errors:
            raise errors[0]

    def _in_block(self) -> tuple[AsyncHost, InFlight]:
        if self._host is None or self._flight is None:
            raise RequestError("enter the block first: `async with`")
        return self._host, self._flight

    def _absorb(self, flight: InFlight, items: list[Any]) -> None:
        ends = [item for item in items if isinstance(item, _SourceOver)]
        flight.absorb([item for item in items if not isinstance(item, _SourceOver)])
        for end in ends:
            flight.exhausted, flight.error = True, flight.error or end.error
        self._go_on(flight)

    def _go_on(self, flight: InFlight) -> None:
        """Take more from the source if there is room."""
        if self._async_source is None:
            flight.pull(self._source)
        elif flight.room and self._room.notify is not None:
            self._room.notify()

    def _run_call(self, own: OwnCall) -> None:
        host, _ = self._in_block()
        own.stop = host.spawn(partial(self._answer, host, own)).cancel

    async def _answer(self, host: AsyncHost, own: OwnCall) -> None:
        """A call to its end, in its own task."""
        own.started = True
        try:
            own.value = await answer(own.tries, self._try, partial(host.wait, Mailbox()))
        except EngineError as error:
            own.error = error
        except BaseException:  # its task was cancelled
            own.error = StreamCancelledError("the task of the call was cancelled")
            raise
        finally:
            own.tell_over()

    def _try(self, tries: CallTries) -> AbstractAsyncContextManager[CallLease]:
        return AioCallBlock(self._bridge, lambda _: lambda engine: engine._try(tries))

    def _post(self, half: OneOfMany) -> None:
        try:
            self._bridge.thread.post(half)
        except EngineClosedError as error:
            half.fail(error)

    async def _feed(self) -> None:
        """Pull an async source, in its own task: it may wait while outcomes come."""
        host, flight = self._in_block()
        assert self._async_source is not None
        error: Exception | None = None
        try:
            while True:
                while not flight.room:
                    host.outbox.park(self._room)
                    await host.wait(self._room)
                flight.begin(await anext(self._async_source))
        except StopAsyncIteration:
            pass
        except Exception as raised:  # noqa: BLE001 - for the consumer
            error = raised
        if host.outbox.tell(flight.box, [_SourceOver(error)]):
            host.wake()


async def settled(bridge: Bridge, requests: Requests, max_in_flight: int | None) -> list[Outcome]:
    """The outcome of every request, in the order of the source."""
    block: AioManyBlock[Outcome] = AioManyBlock(bridge, requests, max_in_flight, merge=False)
    async with block as outcomes:
        found = [outcome async for outcome in outcomes]
    found.sort(key=lambda outcome: outcome.index)
    return found
