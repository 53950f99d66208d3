"""Who may start now. The global slot and the model's slot are taken together or not at all.

Rule 1: no hold-and-wait. A request that cannot have both slots holds neither, so a saturated
        model never starves a free one.
Rule 2: whoever releases looks at the queue there and then, and hands both slots to the next
        waiter; nobody slips in between and nobody polls.
Rule 3: a waiter that is cancelled leaves no trace, also when its slots and the cancellation
        arrive in the same instant.
Rule 4: nothing here awaits between looking and taking.
"""

from collections.abc import Mapping
from math import inf

import attrs
import trio

from engine.core.ready_queue import ReadyQueue, Ticket
from engine.scheduler.limiter import Slots
from engine.values.errors import EngineClosedError, OverloadedError, QueueDeadlineError
from engine.values.policy import Priority


@attrs.define(eq=False)
class Lease:
    """Slots held for one attempt or one call, to its end. Leases compare by identity."""

    model: str
    _admission: "Admission"
    released: bool = attrs.field(default=False, init=False)

    def release(self) -> None:
        """Give the slots back; idempotent."""
        if not self.released:
            self.released = True
            self._admission.give_back(self)


@attrs.define(eq=False)
class _Waiter(Ticket):
    granted: trio.Event = attrs.field(factory=trio.Event)
    lease: Lease | None = None


class Admission:
    """The limits of the engine, and the queue in front of them."""

    def __init__(
        self,
        *,
        max_streams: int,
        max_queued: int,
        default_max_streams: int,
        model_max_streams: Mapping[str, int],
    ) -> None:
        self.total = Slots(max_streams)
        self.max_queued = max_queued
        self.default_max_streams = default_max_streams
        self._models = {name: Slots(n) for name, n in model_max_streams.items()}
        self._queue = ReadyQueue()
        self._sequence = 0
        self._closed: str | None = None
        self._shut = False
        self._bug: BaseException | None = None
        self._waiters: dict[_Waiter, None] = {}
        self._idle: trio.Event | None = None

    def next_rank(self, priority: Priority) -> tuple[int, int]:
        """A place at the end of the queue; a request keeps it through its retries."""
        self._sequence += 1
        return (priority, self._sequence)

    def slots(self, model: str) -> Slots:
        """The model's slots; a model nobody has named gets the default limit."""
        slots = self._models.get(model)
        if slots is None:
            slots = self._models[model] = Slots(self.default_max_streams)
        return slots

    @property
    def models(self) -> tuple[str, ...]:
        """Models that have been named or used."""
        return tuple(self._models)

    @property
    def queued(self) -> int:
        return self._queue.live

    def queued_for(self, model: str) -> int:
        return self._queue.waiting(model)

    def acquire_nowait(self, model: str) -> Lease:
        """Both slots now, or `trio.WouldBlock`. Does not pass those who wait for this model."""
        if self._shut:
            self.check_open()
        if self._queue.waiting(model):
            raise trio.WouldBlock
        return self._take(model)

    async def acquire(self, model: str, rank: tuple[int, int], deadline: float = inf) -> Lease:
        """Both slots, waiting behind every lower rank.

        Raises:
            OverloadedError: `max_queued` requests wait already.
            QueueDeadlineError: `deadline` passed before the slots were there.
            EngineClosedError: the engine was closed while this waited.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            lease = self.acquire_nowait(model)
        except trio.WouldBlock:
            return await self._wait_turn(model, rank, deadline)
        try:
            await trio.lowlevel.cancel_shielded_checkpoint()
        except BaseException:
            lease.release()
            raise
        return lease

    @trio.lowlevel.enable_ki_protection
    def give_back(self, lease: Lease) -> None:
        """For `Lease.release` alone."""
        self._models[lease.model].give_back(lease)
        self.total.give_back(lease)
        self._queue.wake(lease.model)
        self._hand_out()
        self._tell_idle()

    def set_limit(self, model: str | None, max_streams: int) -> None:
        """Change the limit of a model, or the global one with None, under load."""
        if model is None:
            self.total.max_slots = max_streams
        else:
            self.slots(model).max_slots = max_streams
            self._queue.wake(model)
        self._hand_out()

    def close(self, why: str, bug: BaseException | None = None, *, waiting_too: bool) -> None:
        """Accept nothing new. What was accepted goes on, its retries included, unless
        `waiting_too` turns away whoever has no slots yet."""
        self._closed = why
        self._shut = self._shut or waiting_too
        self._bug = bug
        if waiting_too:
            for waiter in tuple(self._waiters):
                if waiter.lease is None:
                    self._leave_queue(waiter)
                    waiter.granted.set()

    def check_open(self) -> None:
        """Raise `EngineClosedError`, caused by the bug if one closed the engine."""
        if self._closed is not None:
            raise EngineClosedError(self._closed) from self._bug

    async def wait_idle(self) -> None:
        """Until no slot is taken and nobody waits."""
        while self.total.taken or self._queue.live:
            if self._idle is None:
                self._idle = trio.Event()
            await self._idle.wait()

    def binding_limit(self, model: str) -> str:
        """Which limit a new request for `model` would wait for, in words."""
        slots = self.slots(model)
        if not slots.free:
            return f"a slot of model {model!r} ({slots.taken} of {slots.max_slots} taken)"
        if not self.total.free:
            return f"a global slot ({self.total.taken} of {self.total.max_slots} taken)"
        return f"its turn behind {self._queue.waiting(model)} others for model {model!r}"

    def deadline_message(self, model: str) -> str:
        """What to tell a request whose deadline passed in the queue."""
        return (
            f"the deadline passed while the request waited for {self.binding_limit(model)}; "
            f"{self._queue.live} requests are waiting. Allow more time or raise the limit"
        )

    @trio.lowlevel.enable_ki_protection
    def _take(self, model: str) -> Lease:
        slots = self.slots(model)
        if not (slots.free and self.total.free):
            raise trio.WouldBlock
        lease = Lease(model, self)
        slots.take_nowait(lease)
        self.total.take_nowait(lease)
        return lease

    async def _wait_turn(self, model: str, rank: tuple[int, int], deadline: float) -> Lease:
        if self._queue.live >= self.max_queued:
            msg = (
                f"{self._queue.live} requests wait already, the limit is max_queued = "
                f"{self.max_queued}; send fewer at once, or raise it"
            )
            raise OverloadedError(msg)
        waiter = _Waiter(model, rank)
        self._waiters[waiter] = None
        self._queue.push(waiter)
        try:
            with trio.CancelScope(deadline=deadline):
                await waiter.granted.wait()
            return self._outcome(waiter)
        except BaseException:
            self._forget(waiter)
            raise
        finally:
            del self._waiters[waiter]

    def _outcome(self, waiter: _Waiter) -> Lease:
        if waiter.lease is not None:
            return waiter.lease
        if waiter.granted.is_set():
            self.check_open()
        raise QueueDeadlineError(self.deadline_message(waiter.model))

    def _forget(self, waiter: _Waiter) -> None:
        if waiter.lease is not None:
            waiter.lease.release()
        elif not waiter.cancelled:
            self._leave_queue(waiter)

    def _leave_queue(self, waiter: _Waiter) -> None:
        self._queue.cancel(waiter)
        self._tell_idle()

    def _tell_idle(self) -> None:
        if self._idle is not None and not self.total.taken and not self._queue.live:
            self._idle.set()
            self._idle = None

    def _hand_out(self) -> None:
        while self.total.free:
            ticket = self._queue.pop(lambda model: self._models[model].free)
            if ticket is None:
                return
            assert isinstance(ticket, _Waiter)
            ticket.lease = self._take(ticket.model)
            ticket.granted.set()
