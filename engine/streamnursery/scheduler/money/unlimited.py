"""The money of an attempt where nothing limits it and no ledger is kept: counters are all there is.

Rule 1: what is reckoned is the same as under a budget, by the same functions; only the rows, the
        accounts and the queue are left out, which nobody would ask.
"""

from collections.abc import Callable

import attrs

from streamnursery.core.measure.meter import Meter
from streamnursery.core.money.ledger import Ledger
from streamnursery.core.money.ledger_row import News
from streamnursery.core.money.settlement import AttemptEnd, Expected, settlement
from streamnursery.core.money.totals import Totals, count_flags
from streamnursery.scheduler.money.bill import LEAST_GROWTH, Bid, Bill, covers
from streamnursery.values.spending import Figures, Flag, Payer

_NO_LINE: list[int] = []
_OVERRUN = frozenset({Flag.OVERRUN})


@attrs.define(eq=False)
class UnlimitedAttempt:
    """See `supervisor.ports.Hold` and `Reservation`: it is one after the other."""

    _books: "UnlimitedBooks"
    bid: Bid
    covered: int = 0
    """Output tokens that are reserved for."""
    look_at: int = 0
    reserved: int = 0
    """Nano-dollars."""
    _line: list[int] = _NO_LINE

    durable = False

    async def reserve(self, attempt: int) -> "UnlimitedAttempt":  # noqa: ARG002 - no row tells it
        books, bid = self._books, self.bid
        books.holds.pop(self, None)
        books.open[self] = None
        self._line = line = books.line(bid.payer)
        line[0] += 1
        self.reserved = bid.worst
        line[3] += bid.worst
        self.covered, self.look_at = covers(bid, bid.output_tokens)
        return self

    def drop(self) -> None:
        self._books.holds.pop(self, None)

    def grow(self, output_tokens: int) -> None:
        if output_tokens < self.look_at:
            return
        more = output_tokens if self.bid.price is None else max(LEAST_GROWTH, self.covered // 2)
        self.covered, self.look_at = covers(self.bid, max(self.covered, output_tokens) + more)
        total = max(self.reserved, self.bid.amount(self.covered))
        self._line[3] += total - self.reserved
        self.reserved = total

    async def written(self) -> None:
        """Nothing is."""

    def bill(self, received_tokens: int) -> Bill:
        return Bill(self.bid, self.covered, received_tokens)

    def settle(self, ending: AttemptEnd, received_tokens: int) -> None:
        if self in self._books.open:
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
        """The attempt's end; the first news counts."""
        if self not in self._books.open:
            return
        del self._books.open[self]
        line = self._line
        line[3] -= self.reserved
        if news is News.SETTLE:
            line[1] += 1
            line[2] += amount
            line[5] += tokens[0]
            line[6] += tokens[1]
            if amount > self.reserved:
                flags |= _OVERRUN
            if amount:
                self._books.meter(self.bid.payer.model).billed += amount
        elif news is News.DOUBT:
            line[4] += self.reserved
        if flags:
            count_flags(line, flags)


@attrs.define(eq=False)
class UnlimitedBooks:
    """What such attempts are counted in. Figures of the accounts are added up from the lines of the
    report when somebody asks."""

    ledger: Ledger
    totals: Totals
    meter: Callable[[str], Meter]
    wall: Callable[[], float]
    open: dict[UnlimitedAttempt, None] = attrs.field(factory=dict, init=False)
    """Those that are reserved and not settled."""
    holds: dict[object, tuple[Payer, int]] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.ledger.added_up = self._added_up
        self.holds = self.ledger.waiting

    def hold(self, bid: Bid) -> UnlimitedAttempt:
        """Always to be had."""
        hold = UnlimitedAttempt(self, bid)
        self.holds[hold] = (bid.payer, bid.worst)
        return hold

    def line(self, payer: Payer) -> list[int]:
        """The counters of today."""
        return self.totals.line(self.ledger.day(self.wall()), payer)

    def _added_up(self, window: str) -> Figures:
        """Of everything in a day or a month."""
        lines = [line for line in self.totals.lines() if line.day.startswith(window)]
        return Figures(
            sum(line.spent for line in lines),
            sum(line.reserved for line in lines),
            sum(line.uncertain for line in lines),
        )
