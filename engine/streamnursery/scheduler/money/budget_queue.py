"""Requests that wait for room in a soft budget. They hold nothing.

Rule 1: those who wait for the same limit go in order of their rank; the first of each limit is
        woken when money comes back, and wakes the next only when it has had its own.
Rule 2: no request waits longer than `soft_wait` or the deadline, nor for a window that ends later
        than both when what is spent already leaves no room.
Rule 3: there is no polling, but for a ledger shared with other processes, which cannot wake us.
"""

import heapq
from collections.abc import Awaitable, Callable
from itertools import count

import attrs
import trio

from streamnursery.core import buggify
from streamnursery.core.money.ledger import BudgetLimit, Shortfall
from streamnursery.values.demand import Demand, Rank
from streamnursery.values.errors import OverloadedError
from streamnursery.values.refused import MANY_AT_ONCE

_LOOK_EVERY = 1.0
"""Seconds between looks at a ledger that others share."""


@attrs.define(order=True)
class _BudgetWaiter:
    rank: Rank
    number: int
    woken: trio.Event = attrs.field(factory=trio.Event, order=False)
    gone: bool = attrs.field(default=False, order=False)


class BudgetQueue:
    """One queue for each limit that is waited for."""

    def __init__(
        self,
        longest: float,
        max_waiting: int,
        wall: Callable[[], float],
        refresh: Callable[[], Awaitable[None]] | None,
    ) -> None:
        self.waiting = 0
        self._longest = longest
        self._max = max_waiting
        self._wall = wall
        self._refresh = refresh
        self._queues: dict[BudgetLimit, list[_BudgetWaiter]] = {}
        self._numbers = count()

    async def wait(
        self, take: Callable[[], Shortfall | None], short: Shortfall, demand: Demand
    ) -> Shortfall | None:
        """Try `take` until it succeeds; what stood against it when the time was up.

        Raises:
            OverloadedError: as many as may wait do.
        """
        if self.waiting >= self._max:
            msg = (
                f"{self.waiting} requests wait already for room in a budget, the limit is "
                f"max_queued = {self._max}; {MANY_AT_ONCE}"
            )
            raise OverloadedError(msg)
        until = min(demand.deadline, trio.current_time() + self._longest)
        found: Shortfall | None = short
        self.waiting += 1
        try:
            while found is not None and not self._vain(found, until):
                limit = found.limit
                in_time = await self._turn(found, demand.rank, until)
                if self._refresh is not None:
                    await self._refresh()
                found = take()
                if found is None:
                    self._wake_next(limit)
                if not in_time:
                    break
            return found
        finally:
            self.waiting -= 1

    def wake(self) -> None:
        """Money has come back: the first of every limit may try again."""
        for limit in tuple(self._queues):
            self._wake_next(limit)

    def _vain(self, short: Shortfall, until: float) -> bool:
        resets_in = short.window.ends_at - self._wall()
        return short.never or (short.hopeless and trio.current_time() + resets_in > until)

    async def _turn(self, short: Shortfall, rank: Rank, until: float) -> bool:
        """Wait to be woken or for the window to end; False when the time is up."""
        waiter = _BudgetWaiter(rank, next(self._numbers))
        queue = self._queues.setdefault(short.limit, [])
        if len(queue) > 2 * self.waiting:
            queue[:] = [other for other in queue if not other.gone]
            heapq.heapify(queue)
        heapq.heappush(queue, waiter)
        reset = trio.current_time() + max(0.0, short.window.ends_at - self._wall())
        if self._refresh is not None:
            reset = min(reset, trio.current_time() + _LOOK_EVERY)
        if buggify.world is not None and buggify.world.strikes("budget.woken"):
            reset = min(reset, trio.current_time() + 0.01)
        try:
            with trio.CancelScope(deadline=min(until, reset)):
                await waiter.woken.wait()
        except BaseException:
            if waiter.woken.is_set():  # woken and cancelled in the same instant
                self._wake_next(short.limit)
            raise
        finally:
            waiter.gone = True
        return trio.current_time() < until

    def _wake_next(self, limit: BudgetLimit) -> None:
        queue = self._queues.get(limit, [])
        while queue:
            waiter = heapq.heappop(queue)
            if not waiter.gone:
                waiter.woken.set()
                break
        if not queue:
            self._queues.pop(limit, None)
