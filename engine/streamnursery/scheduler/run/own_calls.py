"""Own calls among the requests of `settle` and `as_completed`: tried again, and settled once.

Rule 1: each try has its own lease; no slot is held through a backoff.
Rule 2: a call counts once in its model's statistics, whatever the number of its tries, and keeps
        its place in the queue through all of them.
Rule 3: only what the function itself raises is tried again, and only what `retry_on` names.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any

import attrs

from streamnursery.core.recovery import backoff
from streamnursery.scheduler.run.calls import CallLease
from streamnursery.values.call_options import Call, running_call
from streamnursery.values.completion import Outcome
from streamnursery.values.cost import NO_ATTEMPT, Cost, total_cost
from streamnursery.values.demand import Rank
from streamnursery.values.errors import CallbackError, EngineError
from streamnursery.values.policy import Retries
from streamnursery.values.usage import Usage

OpenLease = Callable[["CallTries"], AbstractAsyncContextManager[CallLease]]


@attrs.define(eq=False)
class CallTries:
    """The tries of one call; written by the engine."""

    call: Call
    number: int = attrs.field(default=0, init=False)
    """Of the latest try, from 1."""
    rank: Rank | None = attrs.field(default=None, init=False)
    wait: float | None = attrs.field(default=None, init=False)
    """Seconds until the next try; None: there is none."""
    bills: list["Bill"] = attrs.field(factory=list, init=False)

    def failed(self, error: BaseException, retries: Retries, dice: float) -> None:
        """The function has raised `error`."""
        self.wait = None
        if self.number >= retries.attempts or not isinstance(error, self.call.retry_on):
            return
        asked = error.retry_after if isinstance(error, EngineError) else None
        if asked is not None and asked > retries.retry_after_cap:
            return
        self.wait = backoff.pushback(retries, asked or 0.0, self.number, dice)

    def billed(self, cost: Cost) -> None:
        """What a try cost."""
        self.bills.append(Bill(cost))

    @property
    def cost(self) -> Cost:
        return total_cost(self.bills) if self.bills else NO_ATTEMPT


@attrs.frozen
class Bill:
    """Of one try."""

    cost: Cost


@contextmanager
def reporting(lease: CallLease) -> Iterator[None]:
    """Inside, `Call.report` is for `lease`."""
    token = running_call.set(lease)
    try:
        yield
    finally:
        running_call.reset(token)


async def answer(
    tries: CallTries, open_lease: OpenLease, sleep: Callable[[float], Awaitable[object]]
) -> Any:
    """What the call returns in the end.

    Raises:
        EngineError: what ended it.
    """
    call = tries.call
    while True:
        try:
            async with open_lease(tries) as lease:
                with reporting(lease):
                    return await call.async_fn(*call.args)
        except Exception as error:  # noqa: BLE001 - an outcome, or tried again
            wait = tries.wait
            if wait is None:
                raise engine_error(call, error)  # noqa: B904 - has its cause
        await sleep(wait)


def engine_error(call: Call, error: Exception) -> EngineError:
    """What a function has raised, as an outcome has it."""
    if isinstance(error, EngineError):
        return error
    failure = CallbackError(f"{call.name} failed: {type(error).__name__}: {error!s:.200}")
    failure.model = call.model
    failure.__cause__ = error
    return failure


def settled(index: int, tries: CallTries, value: Any, error: EngineError | None) -> Outcome:
    """The outcome of a call."""
    return Outcome(index, tries.call, error=error, value=value, call_cost=tries.cost)


def price_of(usage: Usage | None, cost: Callable[[Usage], Cost]) -> Cost:
    """What a try cost; not known without a report."""
    if usage is None:
        return Cost(None, "the call reported no tokens: Call.report() inside of its function")
    return cost(usage)
