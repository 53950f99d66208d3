"""The money of calls of the caller's own: reserved by what the caller expects, settled by what the
function reports.

Rule 1: a report is believed. It is the caller's own, and there is nothing to compare it with.
Rule 2: without one, a call that returned has cost what was expected of it, and one that failed or
        was cancelled is uncertain. Of a call that expects nothing, nothing is known and nothing is
        booked.
Rule 3: a model without a price is never refused: the engine cannot know whether a function of the
        caller's costs anything.
"""

from datetime import date

from streamnursery.core.money.ledger_row import News
from streamnursery.core.money.pricing import cost
from streamnursery.scheduler.money.bill import Bid, payer_of
from streamnursery.scheduler.money.spending import AttemptReservation, BudgetHold, Spending
from streamnursery.scheduler.money.unlimited import UnlimitedAttempt
from streamnursery.values.demand import Demand
from streamnursery.values.spending import Flag
from streamnursery.values.usage import Usage

ENDPOINT = "own"
"""What reports have in the place of an endpoint."""
_PRICED: frozenset[Flag] = frozenset()
_UNPRICED = frozenset({Flag.UNPRICED})


async def hold_for_call(spending: Spending, demand: Demand) -> BudgetHold | UnlimitedAttempt:
    """Hold what is expected of a call.

    Raises:
        BudgetExceededError: there is no room for it.
    """
    day = date.fromisoformat(spending.ledger.day(spending.wall()))
    price = spending.price(demand.model, day)
    payer = payer_of(demand.model, demand.tenant, ENDPOINT)
    spent, made = demand.input_tokens, demand.output_tokens
    bid = Bid(demand.rank[1], payer, price, spent, spent, made, bounded=True)
    if spending.unlimited is not None:
        return spending.unlimited.hold(bid)
    return await spending.hold_bid(bid, demand)


def settle_call(
    reservation: AttemptReservation | UnlimitedAttempt, usage: Usage | None, *, failed: bool
) -> None:
    """The block of the call has ended."""
    bid = reservation.bid
    flags = _PRICED if bid.price is not None else _UNPRICED
    if usage is None and not (bid.expected_input or bid.output_tokens):
        reservation.post(News.RELEASE)
    elif usage is None and failed:
        reservation.post(News.DOUBT, flags=flags)
    else:
        if usage is None:
            usage = Usage(bid.expected_input, bid.output_tokens)
            flags |= {Flag.ESTIMATED}
        amount = 0 if bid.price is None else cost(bid.price, usage)
        tokens = (usage.input_tokens or 0, usage.output_tokens or 0)
        reservation.post(News.SETTLE, amount, tokens, flags)
