"""Runs each stream as a task of the engine's nursery.

Rule 1: an expected failure ends its own stream alone; it travels in-band.
Rule 2: an unexpected failure is a bug and brings the engine down, loudly; every open stream then
        ends with `EngineClosedError` caused by the bug.
Rule 3: leaving a stream's block cancels its task and waits, shielded, until it is over. What it
        does on the way out is synchronous, or bounded by 50 ms after a complete answer. The one
        exception is asked for: with `on_abort="drain"` an attempt under way is read on, without
        a reader, to the bounds of `DrainBounds`. Quiescence waits for it, closing ends it.
Rule 4: cancel scopes follow the nursery and not the caller, so the caller's deadline crosses over
        as a value.
Rule 5: Ctrl-C never strikes inside our own steps: it reaches the main task instead, whose block
        then ends in order.
"""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeAlias

import trio

from streamnursery.core import buggify
from streamnursery.pipeline.channel import BufferTotal, Channel
from streamnursery.pipeline.delivery import Delivery, DrainBounds
from streamnursery.pipeline.policies import stream_channel
from streamnursery.pipeline.stream import TokenStream
from streamnursery.scheduler.admission.admission import Admission
from streamnursery.scheduler.admission.nesting import asker, holdings
from streamnursery.scheduler.run.outcome_counts import count_outcome
from streamnursery.scheduler.run.snapshot import stream_snapshots
from streamnursery.scheduler.run.stream_task import StreamTask
from streamnursery.supervisor.course import Course
from streamnursery.supervisor.ports import Recorder
from streamnursery.supervisor.supervisor import Supervisor
from streamnursery.values.errors import (
    EngineClosedError,
    EngineError,
    RequestError,
    StreamCancelledError,
)
from streamnursery.values.events import StreamEvent
from streamnursery.values.lifecycle import StreamStarted
from streamnursery.values.policy import WhenBehind
from streamnursery.values.request import ChatRequest
from streamnursery.values.snapshot import StreamSnapshot

Runner: TypeAlias = Callable[[Delivery, Course], Awaitable[None]]
"""Brings a request to its answer, or raises what ended it."""
RunsTask: TypeAlias = Callable[[StreamTask, Delivery, Course], Coroutine[Any, Any, None]]
"""The same within the task that was started for it."""
ChannelMaker: TypeAlias = Callable[[int, int, BufferTotal], Channel[StreamEvent]]
"""A channel from the most events and bytes that it may hold, and the bound over all channels."""
Begin: TypeAlias = Callable[[ChannelMaker | None], Delivery]


class Runs(Protocol):
    """A `Supervisor`, or what stands for one."""

    def run(self, delivery: Delivery, course: Course) -> Awaitable[None]: ...


class Dispatcher:
    """Starts streams, knows the live ones, and ends them."""

    def __init__(
        self,
        nursery: trio.Nursery,
        supervisor: Supervisor,
        admission: Admission,
        buffers: BufferTotal,
        recorder: Recorder,
        drain: DrainBounds,
    ) -> None:
        self._nursery = nursery
        self._supervisor = supervisor
        self.admission = admission
        self._buffers = buffers
        self._recorder = recorder
        self._drain = drain
        self.handle: Callable[[Delivery], TokenStream] = TokenStream
        """Makes what a consumer holds; a simulated world's remembers what was read."""
        self._on_settled = self._settled
        """Kept, so that not every stream has a bound method of its own."""
        self._now = trio.lowlevel.current_clock().current_time
        self._live: dict[Delivery, Course] = {}
        self._open: dict[Delivery, None] = {}
        self._bug: BaseException | None = None
        self._idle: trio.Event | None = None

    @property
    def live(self) -> tuple[Delivery, ...]:
        """Deliveries whose task has not ended."""
        return tuple(self._live)

    def find(self, number: int) -> Delivery | None:
        """The live delivery with this request's number; the latest are looked at first."""
        return next((d for d in reversed(self._live) if d.number == number), None)

    def snapshot(self, now: float) -> Sequence[StreamSnapshot]:
        """The live streams, the oldest first."""
        return stream_snapshots(self._live.items(), now)

    def stream(
        self,
        request: ChatRequest,
        course: Course,
        *,
        deadline: float,
        buffer_events: int,
        buffer_bytes: int,
        supervisor: Runs | None = None,
        buffers: BufferTotal | None = None,
        when_behind: WhenBehind = "block",
        kind: type[Delivery] = Delivery,
    ) -> "StreamBlock":
        """A running stream for the length of a block.

        A session's streams have a `supervisor` and `buffers` of their own, a relay's another
        `kind` of delivery, the caller's own streams a `supervisor`.
        """
        total = buffers or self._buffers
        run: RunsTask = self._supervisor.run_in
        if supervisor is not None:
            run = partial(_run_within, supervisor.run)
        bounds = (buffer_events, buffer_bytes, total)
        begin = partial(self._begin, run, kind, request, course, deadline, when_behind, bounds)
        return StreamBlock(self, begin)

    def _begin(
        self,
        run: RunsTask,
        kind: type[Delivery],
        request: ChatRequest,
        course: Course,
        deadline: float,
        when_behind: WhenBehind,
        bounds: tuple[int, int, BufferTotal],
        make: ChannelMaker | None,
    ) -> Delivery:
        around = trio.current_effective_deadline()
        started_at = self._now()
        delivery = kind(
            request,
            stream_channel(when_behind, *bounds) if make is None else make(*bounds),
            deadline=min(deadline, around),
            started_at=started_at,
            on_settled=self._on_settled,
            on_interrupt=course.plan.on_interrupt,
            drain=self._drain if course.plan.on_abort == "drain" else None,
            number=course.rank[1],
            callers_scope=around < deadline,
        )
        self._start(run, delivery, course)
        if self._recorder.listening:
            about = (started_at, course.number, course.model)
            self._recorder.emit(StreamStarted(*about, request.tenant))
        return delivery

    def cancel_all(self, why: str) -> int:
        """End every live stream with `StreamCancelledError`; how many there were."""
        for delivery in self._live:
            if delivery.draining:
                delivery.scope.cancel()
        live = [d for d in self._live if d.outcome is None]
        for delivery in live:
            delivery.revoke(StreamCancelledError(why))
            delivery.scope.cancel()
        return len(live)

    async def wait_idle(self) -> None:
        """Until no stream's task runs."""
        while self._live:
            if self._idle is None:
                self._idle = trio.Event()
            await self._idle.wait()
        if buggify.world is not None:
            await buggify.world.pause("drain.idle")

    def close(self, bug: BaseException | None) -> None:
        """Settle every stream that may still be read."""
        self._bug = self._bug or bug
        for delivery in self._open:
            if delivery.outcome is None:
                delivery.revoke(self.closed_error())

    def _start(self, run: RunsTask, delivery: Delivery, course: Course) -> None:
        self.admission.check_open()
        course.meter.requests += 1
        self._live[delivery] = course
        self._open[delivery] = None
        task = StreamTask(self, delivery, course)
        start = partial(self._nursery.start_soon, run, task, delivery, course)
        name = f"stream {course.model}"
        if holdings.get():
            context = copy_context()
            if asker.get() is None:
                context.run(asker.set, trio.lowlevel.current_task())
            context.run(start, name=name)
        else:
            start(name=name)

    def leave(self, delivery: Delivery) -> None:
        """The consumer has gone: what still runs of the stream ends now."""
        if delivery.finished:
            # Whole: let the task read the last bytes, so that the connection can be reused.
            if delivery.outcome is None:
                delivery.complete()
        elif not delivery.draining and not delivery.leave_to_drain():
            delivery.abandon()
            delivery.scope.cancel()
        if not delivery.revoked:
            # What is left will not be read: without this it would count as buffered for ever.
            delivery.channel.discard()
        del self._open[delivery]

    def _settled(self, delivery: Delivery) -> None:
        count_outcome(self._live[delivery], self._recorder, delivery)

    def forget(self, delivery: Delivery) -> None:
        """For `StreamTask` alone: its task is over."""
        del self._live[delivery]
        delivery.end()
        if not self._live and self._idle is not None:
            self._idle.set()
            self._idle = None

    def broke(self, bug: Exception) -> None:
        """For `StreamTask` alone: it is about to raise `bug` in the nursery (rule 2)."""
        self._bug = self._bug or bug
        self.admission.close("the engine was closed by a bug", self._bug, waiting_too=True)

    def closed_error(self) -> EngineClosedError:
        """What ends a stream that the engine leaves without an outcome."""
        error = EngineClosedError("the engine was closed while the stream was running")
        error.__cause__ = self._bug
        return error


@trio.lowlevel.enable_ki_protection
async def _run_within(run: Runner, task: StreamTask, delivery: Delivery, course: Course) -> None:
    """A stream that something else than the engine's supervisor runs."""
    with task:
        await run(delivery, course)
        if delivery.counts_when_taken:
            await delivery.wait_settled()


_USAGE = "`async with eng.stream(...) as stream:`, then `async for event in stream:`"


class StreamBlock(AbstractAsyncContextManager[TokenStream]):
    """`async with` around one stream: it is over, and all it held is free, when the block has
    been left. A class, because the steps of a generator's exit cannot be kept from Ctrl-C.

    `begin` and `leave` are the same for readers that are not tasks of this run, such as those of
    another event loop: neither waits."""

    __slots__ = ("_begin", "_delivery", "_dispatcher")

    def __init__(self, dispatcher: Dispatcher, begin: Begin) -> None:
        self._dispatcher = dispatcher
        self._begin: Begin | None = begin
        self._delivery: Delivery | None = None

    def begin(
        self, make_channel: ChannelMaker | None = None, on_over: Callable[[], None] | None = None
    ) -> Delivery:
        """Start the stream; its events go into the channel of `make_channel`. `on_over` is called
        once, when the stream's task has ended and holds nothing more; it must not raise.

        Raises:
            RequestError: this block's stream has been begun before.
            EngineClosedError: the engine is closed or draining.
        """
        # Let go of at once: what it holds would stay for as long as the stream.
        begin, self._begin = self._begin, None
        if begin is None:
            raise RequestError("a stream's block can be entered once; call stream() again")
        self._delivery = delivery = begin(make_channel)
        delivery.on_over = on_over
        return delivery

    def leave(self) -> None:
        """The reader has gone: what still runs of the stream ends, and then `on_over` is called.
        Once, after `begin`."""
        assert self._delivery is not None
        self._dispatcher.leave(self._delivery)

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> TokenStream:
        try:
            delivery = self.begin()
        except EngineError:
            await trio.lowlevel.checkpoint()
            raise
        return self._dispatcher.handle(delivery)

    if not TYPE_CHECKING:

        def __aiter__(self) -> NoReturn:
            msg = f"a stream is read inside its block: {_USAGE}"
            raise RequestError(msg)

        def __getattr__(self, name: str) -> NoReturn:
            msg = f"a stream's block has no attribute {name!r}; it gives the stream: {_USAGE}"
            raise AttributeError(msg)

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(self, *_: object) -> None:
        self.leave()
        assert self._delivery is not None
        if self._delivery.draining:
            await trio.lowlevel.cancel_shielded_checkpoint()
            return
        await self._delivery.wait_over()
