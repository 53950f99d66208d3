"""The caller's own calls under the engine's limits.

A call goes through the same admission as a stream, is counted in the same statistics, and a drain
waits for it. It runs in the caller's task: what it raises is the caller's.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf

import attrs
import trio

from engine.core.meter import Meter
from engine.scheduler.admission import Admission
from engine.values.demand import Demand
from engine.values.errors import EngineError, RequestError, StreamCancelledError
from engine.values.usage import Usage


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

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._scopes: dict[trio.CancelScope, str] = {}

    @asynccontextmanager
    async def lease(self, demand: Demand, meter: Meter) -> AsyncIterator[CallLease]:
        """Slots for the block. The demand's deadline bounds the wait for them and not the block.

        Raises:
            AdmissionError: the call was not admitted.
            StreamCancelledError: `cancel_all` ended it.
        """
        self._admission.check_open()
        meter.requests += 1
        call = CallLease(demand.model)
        scope = trio.CancelScope()
        self._scopes[scope] = ""
        try:
            with scope:
                async with self._held(call, meter, demand):
                    yield call
        finally:
            why = self._scopes.pop(scope)
        if scope.cancelled_caught:
            raise StreamCancelledError(why)

    @asynccontextmanager
    async def _held(self, call: CallLease, meter: Meter, demand: Demand) -> AsyncIterator[None]:
        started = trio.current_time()
        try:
            lease = await self._admission.acquire(demand)
            meter.queue_time.add(trio.current_time() - started)
            try:
                yield
            finally:
                lease.settle(call.usage)
                lease.release()
                meter.input_tokens += call.input_tokens
                meter.output_tokens += call.output_tokens
        except BaseException as error:
            _count_failure(meter, error)
            raise
        meter.succeeded += 1
        meter.latency.add(trio.current_time() - started)

    def cancel_all(self, why: str) -> int:
        """End every call; how many there were."""
        for scope in self._scopes:
            self._scopes[scope] = why
            scope.cancel()
        return len(self._scopes)


def _count_failure(meter: Meter, error: BaseException) -> None:
    # A Cancelled is the caller's wish; KeyboardInterrupt and the like are no verdict on the call.
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
