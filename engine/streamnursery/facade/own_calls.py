"""The verbs for calls of the caller's own; `Engine` has them."""

import random
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple, Unpack

import attrs
import trio

from streamnursery.scheduler.run.bulk import answering
from streamnursery.scheduler.run.calls import CallLease, Calls, call_deadline, check_tokens
from streamnursery.scheduler.run.own_calls import CallTries, answer, price_of, reporting, settled
from streamnursery.values.call_options import Call, LeaseOptions
from streamnursery.values.completion import Completion, Outcome
from streamnursery.values.demand import Demand
from streamnursery.values.errors import EngineError, RequestError
from streamnursery.values.policy import Priority, PriorityName, Retries
from streamnursery.values.request import ChatRequest, as_priority
from streamnursery.values.usage import Usage

if TYPE_CHECKING:
    from streamnursery.facade.assembly import Outside
    from streamnursery.scheduler.admission.admission import Admission
    from streamnursery.scheduler.money.spending import Spending
    from streamnursery.scheduler.run.catalogue import Catalogue

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class OwnCalls:
    """What `Engine` is besides a runner of streams."""

    _admission: "Admission"
    _calls: Calls
    _catalogue: "Catalogue"
    _spending: "Spending"
    _outside: "Outside"

    if TYPE_CHECKING:

        async def complete(self, model: ChatRequest) -> Completion: ...

    def lease(
        self,
        model: str,
        *,
        priority: Priority | PriorityName = Priority.INTERACTIVE,
        deadline: float | None = None,
        timeout: float | None = None,
        tenant: str = "",
        input_tokens: int = 0,
        output_tokens: int = 0,
    ) -> AbstractAsyncContextManager[CallLease]:
        """Slots of `model` for a call of your own, for the length of the block.

        The deadline bounds the wait for the slots. Calls obey the same limits, count in the same
        statistics and are waited for by the same drain as streams. `input_tokens` and
        `output_tokens` are what you expect, for limits per minute and budgets; `report` says what
        it was.

        Raises:
            AdmissionError: on entry, when the slots cannot be had.
            BudgetExceededError: on entry, when there is no room for what you expect.
        """
        name = self._own_model(model)
        check_tokens(input_tokens, output_tokens)
        demand = Demand(
            name,
            rank=self._admission.next_rank(as_priority(priority)),
            deadline=call_deadline(deadline, timeout),
            tenant=tenant,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
        )
        return self._calls.lease(demand, self._catalogue.meter(name))

    async def run(
        self,
        model: str,
        async_fn: Callable[[*Ts], Awaitable[T]],
        *args: *Ts,
        **options: Unpack[LeaseOptions],
    ) -> T:
        """Call your own async function under the limits of `model`; its errors are yours. Takes
        the options of `lease`; `Call.report` takes what it has used."""
        try:
            block = self.lease(model, **options)
        except EngineError:
            await trio.lowlevel.checkpoint()
            raise
        async with block as lease:
            with reporting(lease):
                return await async_fn(*args)

    async def _answers(self, index: int, request: ChatRequest | Call) -> Outcome:
        """The outcome of one of many."""
        if isinstance(request, Call):
            return await self._call_outcome(index, request)
        return await answering(self.complete)(index, request)

    async def _call_outcome(self, index: int, call: Call) -> Outcome:
        tries = CallTries(call)
        try:
            value = await answer(tries, self._try, trio.sleep)
        except EngineError as error:
            return settled(index, tries, None, error)
        return settled(index, tries, value, None)

    def _try(self, tries: CallTries) -> AbstractAsyncContextManager[CallLease]:
        """The lease of the next try."""
        call, name = tries.call, self._own_model(tries.call.model)
        check_tokens(call.input_tokens, call.output_tokens)
        if tries.rank is None:
            tries.rank = self._admission.next_rank(as_priority(call.priority))
        demand = Demand(
            name,
            rank=tries.rank,
            tenant=call.tenant,
            input_tokens=call.input_tokens,
            output_tokens=call.output_tokens,
        )
        settings = self._catalogue.config.models.get(name)
        retries = (settings.retries if settings is not None else None) or (
            self._catalogue.config.retries
        )
        book = _CallTally(tries, retries, self._outside.dice, name, self._spending)
        return self._calls.lease(demand, self._catalogue.meter(name), book)

    def _own_model(self, model: str) -> str:
        if not isinstance(model, str) or not model.strip():
            raise RequestError("lease needs a model's name; any name will do for your own calls")
        return self._catalogue.name(model)


@attrs.frozen(eq=False)
class _CallTally:
    """See `scheduler.run.calls.CallBook`."""

    tries: CallTries
    retries: Retries
    dice: random.Random
    model: str
    spending: "Spending"

    def begin(self) -> int:
        self.tries.number += 1
        self.tries.wait = None
        return self.tries.number

    def end(self, usage: Usage | None, error: BaseException | None) -> bool:
        tries = self.tries
        tries.billed(price_of(usage, lambda used: self.spending.call_cost(self.model, used)))
        if error is None:
            return False
        tries.failed(error, self.retries, self.dice.random())
        return tries.wait is not None
