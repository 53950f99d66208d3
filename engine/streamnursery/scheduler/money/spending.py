"""Money on its way through a request: held at entry, reserved before sending, settled at the end.

Rule 1: one price function, one price for an attempt: the one of the day of its hold.
Rule 2: an attempt's reservation is written down before its first byte may be sent.
Rule 3: every reservation is settled once; the first news of its end counts.
Rule 4: no request waits for money while it holds a slot.
"""

from collections.abc import Callable, Sequence
from datetime import date, tzinfo
from functools import partial
from typing import TypeAlias

import attrs

from streamnursery.core.measure.meter import Meter
from streamnursery.core.money.ledger import Ledger, Shortfall
from streamnursery.core.money.ledger_row import News, Posting, change, posted
from streamnursery.core.money.pricing import cost, worst_usage
from streamnursery.core.money.settlement import AttemptEnd, Expected, settlement
from streamnursery.core.money.totals import Totals
from streamnursery.scheduler.money.alerts import BudgetAlerts
from streamnursery.scheduler.money.bill import (
    LEAST_GROWTH,
    Bid,
    Bill,
    covers,
    no_price,
    payer_of,
    price_date,
)
from streamnursery.scheduler.money.budget_queue import BudgetQueue
from streamnursery.scheduler.money.ledger_store import LedgerStore, MemoryStore
from streamnursery.scheduler.money.unlimited import UnlimitedAttempt, UnlimitedBooks
from streamnursery.supervisor.ports import Recorder
from streamnursery.values.budgets import Budgets
from streamnursery.values.cost import Cost, RouteEstimate
from streamnursery.values.demand import Demand
from streamnursery.values.errors import BudgetExceededError
from streamnursery.values.money import Money
from streamnursery.values.prices import Price
from streamnursery.values.request import ChatRequest
from streamnursery.values.settings import Route
from streamnursery.values.spending import Flag, LedgerRow, Payer, SpendingReport
from streamnursery.values.usage import Usage

PriceOf: TypeAlias = Callable[[str, Route | None, date], Price | None]

_CAUTION = 4
"""The input is reserved with a quarter more than its estimate."""


class Spending:
    """The money of an engine."""

    def __init__(
        self,
        budgets: Budgets,
        ledger: Ledger,
        store: LedgerStore,
        *,
        price_of: PriceOf,
        meter: Callable[[str], Meter],
        wall: Callable[[], float],
        now: Callable[[], float],
        recorder: Recorder,
        max_queued: int,
    ) -> None:
        self.budgets = budgets
        self.ledger = ledger
        self.store = store
        store.extension_refused = self.extension_refused
        self.totals = Totals()
        self.open: dict[str, AttemptReservation] = {}
        """Reservations that are not settled."""
        self._queue = BudgetQueue(
            budgets.soft_wait, max_queued, wall, store.refresh if store.shared else None
        )
        self._price_of = price_of
        self._meter = meter
        self.wall = wall
        self._alerts = BudgetAlerts(budgets.alerts, ledger, store, recorder, now)
        self._rows = 0
        plain = type(store) is MemoryStore and not ledger.limits.all
        self.unlimited = UnlimitedBooks(ledger, self.totals, meter, wall) if plain else None
        """Of the attempts, where nothing limits them."""

    @property
    def reservations(self) -> int:
        """Those that are not settled."""
        return len(self.open) + (0 if self.unlimited is None else len(self.unlimited.open))

    @property
    def zone(self) -> tzinfo:
        return self.ledger.zone

    @property
    def waiting(self) -> int:
        """Requests that wait for room in a soft budget."""
        return self._queue.waiting

    def bid(self, request: ChatRequest, demand: Demand, route: Route) -> Bid:
        """What an attempt at `route` may cost.

        Raises:
            BudgetExceededError: the price is not known, and a limit applies.
        """
        payer = payer_of(demand.model, demand.tenant, route.endpoint)
        day = date.fromisoformat(self.ledger.day(self.wall()))
        price = self._price_of(demand.model, route, day)
        if (
            price is None
            and self.unlimited is None
            and self.budgets.unknown_price == "refuse"
            and self.ledger.limits.of(payer)
        ):
            msg = (
                f"model {demand.model!r} has no price, so its budget cannot be kept: write one, "
                f'[models."{demand.model}"] price = {{ input = "...", output = "..." }}, install '
                'genai-prices, or set budgets.unknown_price = "zero"'
            )
            raise BudgetExceededError(msg)
        most = self._meter(demand.model).most_output(request)
        spent = demand.input_tokens
        bounded = request.max_tokens is not None
        return Bid(demand.rank[1], payer, price, spent, spent + spent // _CAUTION, most, bounded)

    def estimate(self, request: ChatRequest, demand: Demand, route: Route) -> RouteEstimate:
        """What `request` may cost at `route`."""
        day = date.fromisoformat(self.ledger.day(self.wall()))
        price = self._price_of(demand.model, route, day)
        if price is None:
            return RouteEstimate(str(route), None, None)
        spent, most = demand.input_tokens, self._meter(demand.model).most_output(request)
        rates = price.rates_for(spent)
        from_cache = rates.cached_input is not None and rates.cached_input < rates.input
        least = Usage(spent, min(1, most), spent if from_cache else None)
        high = cost(price, worst_usage(price, spent + spent // _CAUTION, most))
        low = min(cost(price, least), high)
        return RouteEstimate(str(route), Money(low), Money(high), price_date(price), price.source)

    def price(self, model: str, day: date) -> Price | None:
        """What a model costs wherever it is asked for."""
        return self._price_of(model, None, day)

    def call_cost(self, model: str, usage: Usage) -> Cost:
        """What a call of the caller's own cost, which used so much of `model`."""
        price = self.price(model, date.fromisoformat(self.ledger.day(self.wall())))
        if price is None:
            return Cost(None, no_price(model))
        return Cost(Money(cost(price, usage)), price_date=price_date(price), source=price.source)

    def cheaper(self, request: ChatRequest, choices: Sequence[tuple[Demand, Route]]) -> int | None:
        """Which of `choices` to take in the place of the first, whose soft budget is nearly spent:
        the cheapest other model that has room; None to stay."""
        if not any(limit.mode == "soft" for limit in self.ledger.limits.all):
            return None
        wall, percent = self.wall(), self.budgets.soft_at
        bids = [self._priced(request, demand, route) for demand, route in choices]
        first = bids[0]
        if first is None or not self.ledger.nearly_spent(first.payer, first.worst, wall, percent):
            return None
        found = [
            (bid.worst, place)
            for place, bid in enumerate(bids)
            if bid is not None
            and bid.payer.model != first.payer.model
            and bid.worst < first.worst
            and self.ledger.shortfall(bid.payer, bid.worst, wall) is None
        ]
        return min(found)[1] if found else None

    def dearer(
        self, request: ChatRequest, here: tuple[Demand, Route], there: tuple[Demand, Route]
    ) -> bool:
        """Whether the worst case of an attempt is higher `there`; False without a price."""
        bids = [self._priced(request, demand, route) for demand, route in (here, there)]
        return bids[0] is not None and bids[1] is not None and bids[1].worst > bids[0].worst

    def _priced(self, request: ChatRequest, demand: Demand, route: Route) -> Bid | None:
        try:
            return self.bid(request, demand, route)
        except BudgetExceededError:
            return None

    def hold_nowait(
        self, request: ChatRequest, demand: Demand, route: Route
    ) -> "BudgetHold | UnlimitedAttempt":
        bid = self.bid(request, demand, route)
        if self.unlimited is not None:
            return self.unlimited.hold(bid)
        hold = BudgetHold(self, bid)
        short = self._take(hold)
        if short is not None:
            raise self.refusal(short, bid)
        return hold

    async def hold(
        self, request: ChatRequest, demand: Demand, route: Route
    ) -> "BudgetHold | UnlimitedAttempt":
        bid = self.bid(request, demand, route)
        if self.unlimited is not None:
            return self.unlimited.hold(bid)
        return await self.hold_bid(bid, demand)

    async def hold_bid(self, bid: Bid, demand: Demand) -> "BudgetHold":
        """Hold the worst case of `bid`, waiting for room where its budget is soft.

        Raises:
            BudgetExceededError: there is none.
        """
        hold = BudgetHold(self, bid)
        if self.store.shared and self._soft(bid.payer):
            # A request that finds at its reservation that others were quicker does not wait again.
            await self.store.refresh()
        short = self._take(hold)
        if short is not None and self.store.shared:
            # Others may have given back what our figures still have as taken.
            await self.store.refresh()
            short = self._take(hold)
        if short is not None and short.limit.mode == "soft" and not short.never:
            short = await self._queue.wait(partial(self._take, hold), short, demand)
        if short is not None:
            raise self.refusal(short, bid)
        return hold

    def refusal(self, short: Shortfall, bid: Bid) -> BudgetExceededError:
        wall = self.wall()
        error = BudgetExceededError(short.text(self.zone))
        error.standing = self.ledger.standing(short.limit, short.window, wall)
        self._alerts.refused(short, bid.number, bid.payer.model, wall)
        return error

    def begin(self, bid: Bid, attempt: int) -> LedgerRow:
        """A new row, in no book yet."""
        self._rows += 1
        wall = self.wall()
        return LedgerRow(
            id=f"{self.store.owner}{self._rows}",
            request=bid.number,
            attempt=attempt,
            payer=bid.payer,
            at=wall,
            day=self.ledger.day(wall),
            reserved=bid.worst,
            estimate=bid.worst,
        )

    def enter(self, reservation: "AttemptReservation") -> None:
        self.open[reservation.row.id] = reservation
        self.totals.put(None, reservation.row)

    def post(self, reservation: "AttemptReservation", posting: Posting) -> None:
        """Book news of a reservation that is open."""
        before = reservation.row
        after = reservation.row = posted(before, posting)
        self.totals.put(before, after)
        if after.billed != before.billed:
            self._meter(after.payer.model).billed += after.billed - before.billed
        self.store.post(after, change(before, after), posting)
        if posting.news is not News.EXTEND:
            del self.open[after.id]
            self._alerts.settled(after, self.wall())
            self.freed()

    def extension_refused(self, row: str, amount: int, short: Shortfall) -> None:
        """Another process took the money that an extension was to have."""
        reservation = self.open.get(row)
        if reservation is not None:
            before = reservation.row
            reservation.row = attrs.evolve(
                before, reserved=before.reserved - amount, estimate=before.estimate - amount
            )
            self.totals.put(before, reservation.row)
            reservation.refuse(short)

    def freed(self) -> None:
        """Money may be there again for those who wait."""
        self._queue.wake()

    def report(self) -> SpendingReport:
        """What this engine has spent, and where its budgets stand."""
        wall = self.wall()
        return SpendingReport(wall, self.totals.lines(), self.ledger.standings(wall))

    def _soft(self, payer: Payer) -> bool:
        return any(limit.mode == "soft" for limit in self.ledger.limits.of(payer))

    def _take(self, hold: "BudgetHold") -> Shortfall | None:
        return self.ledger.hold(hold, hold.bid.payer, hold.bid.worst, self.wall())


@attrs.define(eq=False)
class BudgetHold:
    """See `supervisor.ports.Hold`."""

    _spending: Spending
    bid: Bid

    async def reserve(self, attempt: int) -> "AttemptReservation":
        spending = self._spending
        row = spending.begin(self.bid, attempt)
        short = await spending.store.reserve(row)
        spending.ledger.drop(self)
        if short is not None:
            raise spending.refusal(short, self.bid)
        reservation = AttemptReservation(spending, self.bid, row, self.bid.output_tokens)
        spending.enter(reservation)
        return reservation

    def drop(self) -> None:
        if self._spending.ledger.drop(self):
            self._spending.freed()


@attrs.define(eq=False)
class AttemptReservation:
    """See `supervisor.ports.Reservation`."""

    _spending: Spending
    bid: Bid
    row: LedgerRow
    covered: int
    """Output tokens that are reserved for."""
    look_at: int = attrs.field(init=False)
    _refused: BudgetExceededError | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._cover(self.covered)

    def grow(self, output_tokens: int) -> BudgetExceededError | None:
        if output_tokens < self.look_at or self._refused is not None:
            return self._refused
        if self.bid.price is None:
            self._cover(2 * output_tokens)
            return None
        short: Shortfall | None = None
        for growth in (max(LEAST_GROWTH, self.covered // 2), LEAST_GROWTH // 4):
            short = self._extend(max(self.covered, output_tokens) + growth)
            if short is None:
                return None
        if output_tokens < self.covered or short is None:
            self.look_at = self.covered  # the rest of what is covered may still be used
            return None
        return self._spending.refusal(short, self.bid)

    def refuse(self, short: Shortfall) -> None:
        """Another process took the money that an extension was to have."""
        self._refused = self._spending.refusal(short, self.bid)
        self.look_at = 0

    @property
    def durable(self) -> bool:
        return self._spending.budgets.durable

    async def written(self) -> None:
        # Entries are written in their order: the answer to a later one stands for the earlier.
        await self._spending.store.refresh()

    def bill(self, received_tokens: int) -> Bill:
        return Bill(self.bid, self.covered, received_tokens)

    def settle(self, ending: AttemptEnd, received_tokens: int) -> None:
        if self.row.id not in self._spending.open:
            return
        expected = Expected(self.bid.expected_input, self.covered, received_tokens)
        found = settlement(ending, self.bid.price, expected)
        usage = found.usage
        tokens = (usage.input_tokens or 0, usage.output_tokens or 0)
        self.post(found.news, found.amount, tokens, found.flags)

    def post(
        self,
        news: News,
        amount: int = 0,
        tokens: tuple[int, int] = (0, 0),
        flags: frozenset[Flag] = frozenset(),
    ) -> None:
        """The attempt's end, as it is to be booked; the first news counts."""
        if self.row.id in self._spending.open:
            self._spending.post(self, Posting(self.row.id, news, amount, *tokens, flags))

    def _extend(self, output_tokens: int) -> Shortfall | None:
        spending, bid = self._spending, self.bid
        total = bid.amount(output_tokens)
        more = max(0, total - self.row.reserved)
        # It is booked where the row is, whatever day it may be by now.
        short = spending.ledger.shortfall(bid.payer, more, self.row.at)
        if short is None:
            spending.post(self, Posting(self.row.id, News.EXTEND, total))
            self._cover(output_tokens)
        return short

    def _cover(self, output_tokens: int) -> None:
        self.covered, self.look_at = covers(self.bid, output_tokens)
