"""The caller's own calls under the engine's limits.

A call goes through the same admission as a stream, is counted in the same statistics, and a drain
waits for it. It runs in the caller's task: what it raises is the caller's.
"""

from contextlib import AbstractAsyncContextManager
from math import inf
from typing import TYPE_CHECKING, Protocol

import attrs
import trio

from streamnursery.core.measure.meter import Meter
from streamnursery.scheduler.admission.admission import Admission
from streamnursery.scheduler.admission.nesting import Holding, hold, let_go
from streamnursery.scheduler.money.call_money import hold_for_call, settle_call
from streamnursery.scheduler.money.spending import AttemptReservation, Spending
from streamnursery.scheduler.money.unlimited import UnlimitedAttempt
from streamnursery.values.admission import AdmissionOutcome
from streamnursery.values.demand import Demand
from streamnursery.values.errors import (
    BudgetExceededError,
    EngineError,
    RequestError,
    StreamCancelledError,
)
from streamnursery.values.usage import Usage

if TYPE_CHECKING:
    from streamnursery.scheduler.admission.lease import Lease


@attrs.define(eq=False)
class CallLease:
    """Slots held for the length of a block."""

    model: str
    input_tokens: int = attrs.field(default=0, init=False)
    output_tokens: int = attrs.field(default=0, init=False)
    usage: Usage | None = attrs.field(default=None, init=False)
    """The last report."""

    def report(self, *, input_tokens: int = 0, output_tokens: int = 0) -> None:
        """What the call really used; the last report before the block ends counts."""
        check_tokens(input_tokens, output_tokens)
        self.input_tokens = input_tokens
        self.output_tokens = output_tokens
        self.usage = Usage(input_tokens, output_tokens)


class Calls:
    """The calls that wait or run."""

    def __init__(self, admission: Admission, spending: Spending) -> None:
        self.admission = admission
        self._spending = spending
        self._scopes: dict[trio.CancelScope, str] = {}

    @property
    def live(self) -> int:
        """Calls that wait or run."""
        return len(self._scopes)

    def lease(self, demand: Demand, meter: Meter, book: "CallBook | None" = None) -> "CallBlock":
        """Slots for a block. The demand's deadline bounds the wait for them and not the block."""
        return CallBlock(self, meter, demand, book)

    async def admit(
        self, demand: Demand, attempt: int
    ) -> tuple["Lease", AttemptReservation | UnlimitedAttempt]:
        """Money and slots for a call; either both or nothing.

        Raises:
            AdmissionError, BudgetExceededError, StorageError: one of them cannot be had.
        """
        since = trio.current_time()
        try:
            held = await hold_for_call(self._spending, demand)
        except BudgetExceededError:
            waited = trio.current_time() - since
            self.admission.refused(demand, AdmissionOutcome.REJECTED_BUDGET, waited)
            await trio.lowlevel.cancel_shielded_checkpoint()
            raise
        try:
            lease = await self._slots(demand)
        except BaseException:
            held.drop()
            raise
        try:
            return lease, await held.reserve(attempt)
        except BaseException:
            held.drop()
            lease.release()
            raise

    async def _slots(self, demand: Demand) -> "Lease":
        """A checkpoint in any case; one that waited has passed it."""
        await trio.lowlevel.checkpoint_if_cancelled()
        lease: Lease | None = None
        try:
            lease = self.admission.acquire_nowait(demand)
        except trio.WouldBlock:
            pass  # and let go of, before a wait that may be long
        except EngineError:
            await trio.lowlevel.cancel_shielded_checkpoint()
            raise
        if lease is None:
            return await self.admission.acquire(demand)
        try:
            await trio.lowlevel.cancel_shielded_checkpoint()
        except BaseException:
            lease.release()
            raise
        return lease

    def enter(self, scope: trio.CancelScope) -> None:
        self.admission.check_open()
        self._scopes[scope] = ""

    def leave(self, scope: trio.CancelScope) -> str:
        """Why `cancel_all` ended the call, if it did."""
        return self._scopes.pop(scope)

    def cancel_all(self, why: str) -> int:
        """End every call; how many there were."""
        for scope in self._scopes:
            self._scopes[scope] = why
            scope.cancel()
        return len(self._scopes)


class CallBook(Protocol):
    """Of a call whose blocks are its tries."""

    def begin(self) -> int:
        """A block begins; which of the call's it is, from 1."""

    def end(self, usage: Usage | None, error: BaseException | None) -> bool:
        """The code of the block has ended; whether another block is to follow."""


class CallBlock(AbstractAsyncContextManager[CallLease]):
    """`async with` around one call. A class, because the steps of a generator's exit cannot be
    kept from Ctrl-C."""

    def __init__(
        self, calls: Calls, meter: Meter, demand: Demand, book: CallBook | None = None
    ) -> None:
        self._calls = calls
        self._book = book
        self._again = False
        self._meter = meter
        self._demand = demand
        self._scope = trio.CancelScope()
        self._call = CallLease(demand.model)
        self.lease: Lease | None = None
        self._money: AttemptReservation | UnlimitedAttempt | None = None
        self._holding: Holding | None = None
        self._started_at = 0.0

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> CallLease:
        """Wait for the slots.

        Raises:
            AdmissionError: the call was not admitted.
            BudgetExceededError: a budget has no room for what is expected of it.
            StreamCancelledError: `cancel_all` ended it.
        """
        try:
            self._calls.enter(self._scope)
        except EngineError:
            await trio.lowlevel.checkpoint()
            raise
        attempt = 1 if self._book is None else self._book.begin()
        if attempt == 1:
            self._meter.requests += 1
        self._started_at = trio.current_time()
        self._scope.__enter__()
        try:
            self.lease, self._money = await self._calls.admit(self._demand, attempt)
        except BaseException as error:
            self._end(error)
            raise
        self._meter.queue_time.add(trio.current_time() - self._started_at)
        self._holding = hold(trio.lowlevel.current_task(), lambda: self.lease)
        return self._call

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> bool:
        assert self.lease is not None
        assert self._money is not None
        assert self._holding is not None
        let_go(self._holding)
        settle_call(self._money, self._call.usage, failed=error is not None)
        self.lease.settle(self._call.usage)
        self.lease.release()
        self._meter.input_tokens += self._call.input_tokens
        self._meter.output_tokens += self._call.output_tokens
        if self._book is not None:
            ended = error if not self._scope.cancel_called else None
            self._again = self._book.end(self._call.usage, ended)
        self._end(error)
        return False

    def _end(self, error: BaseException | None) -> None:
        """Count what became of the call.

        Raises:
            StreamCancelledError: `cancel_all` ended it.
        """
        if self._again:
            self._meter.retries += 1
        elif error is None:
            self._meter.succeeded += 1
            self._meter.latency.add(trio.current_time() - self._started_at)
        else:
            _count_failure(self._meter, error)
        why = self._calls.leave(self._scope)
        kind = None if error is None else type(error)
        self._scope.__exit__(kind, error, None if error is None else error.__traceback__)
        if self._scope.cancelled_caught:
            raise StreamCancelledError(why) from None


def _count_failure(meter: Meter, error: BaseException) -> None:
    # A Cancelled is the caller's wish; KeyboardInterrupt and the like are not a verdict on the
    # call.
    if isinstance(error, Exception):
        meter.failed += 1
        category = error.category if isinstance(error, EngineError) else "callback_error"
        meter.errors[category] += 1
    else:
        meter.cancelled += 1


def check_tokens(input_tokens: object, output_tokens: object) -> None:
    """Raise `RequestError` unless both are whole numbers, 0 or more."""
    for name, value in (("input_tokens", input_tokens), ("output_tokens", output_tokens)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            msg = f"{name} must be a whole number >= 0, not {value!r}"
            raise RequestError(msg)


def call_deadline(deadline: float | None, timeout: float | None) -> float:
    """The earlier of the two, on trio's clock; `inf` for none.

    Raises:
        RequestError: NaN, or a negative timeout.
    """
    for name, value in (("deadline", deadline), ("timeout", timeout)):
        if value is None:
            continue
        if not isinstance(value, int | float) or isinstance(value, bool) or value != value:
            msg = f"{name} must be a number of seconds, not {value!r}"
            raise RequestError(msg)
        if name == "timeout" and value < 0:
            msg = f"timeout must be 0 or more seconds, not {value!r}; deadline= is absolute"
            raise RequestError(msg)
    return min(
        inf if deadline is None else deadline,
        inf if timeout is None else trio.current_time() + timeout,
    )
