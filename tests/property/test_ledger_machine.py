"""The ledger against a checker that keeps every row and adds up anew: G1, G4."""

import os
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from streamnursery.core.money.ledger import Ledger
from streamnursery.core.money.ledger_row import News, Posting, change, figures_of, posted
from streamnursery.core.money.totals import Totals
from streamnursery.values.budgets import Budget, Budgets, GroupBudget
from streamnursery.values.money import Money
from streamnursery.values.spending import Flag, LedgerRow, Payer, RowState

START = datetime(2026, 3, 28, 22, tzinfo=UTC).timestamp()
"""The evening before the clocks of Europe leap."""
PAYERS = [Payer(m, t, "main") for m in ("big", "small") for t in ("acme", "")]
amounts = st.integers(0, 60)
ENOUGH = {"test": (60, 30), "proof": (400, 50), "soak": (2000, 50)}
EXAMPLES, STEPS = ENOUGH[os.environ.get("STREAMNURSERY_TIER", "test")]


@attrs.define
class Kept:
    """A row as the checker has it: plain figures, no arithmetic of the ledger."""

    payer: Payer
    date: str
    state: str
    amount: int
    overrun: bool = False


class LedgerMachine(RuleBasedStateMachine):
    """Hold, reserve, extend, settle, abort, crash, and clocks that jump."""

    def __init__(self) -> None:
        super().__init__()
        self.zone: tzinfo = ZoneInfo("Europe/Berlin")
        self.now = START
        self.number = 0
        self.holds: dict[int, tuple[Payer, int]] = {}
        self.rows: dict[str, LedgerRow] = {}
        self.kept: dict[str, Kept] = {}
        self.totals = Totals()

    @initialize(daily=st.integers(50, 200), monthly=st.integers(100, 400), own=st.integers(20, 90))
    def open(self, daily: int, monthly: int, own: int) -> None:
        self.budgets = Budgets(
            daily=Money(daily),
            monthly=Money(monthly),
            models={"big": Budget(daily=Money(own))},
            tenants={"acme": Budget(monthly=Money(2 * own))},
            groups={
                "s": GroupBudget(Money(own + 10), models=("s*",)),
                "any": GroupBudget(monthly=Money(daily + own), models=("big", "sm?ll")),
            },
        )
        self.limits = {
            ("all", "", 10): daily,
            ("all", "", 7): monthly,
            ("model", "big", 10): own,
            ("tenant", "acme", 7): 2 * own,
            ("group", "s", 10): own + 10,
            ("group", "any", 7): daily + own,
        }
        self.ledger = Ledger(self.budgets, self.zone)

    @rule(payer=st.sampled_from(PAYERS), amount=amounts)
    def hold(self, payer: Payer, amount: int) -> None:
        self.number += 1
        fits = self.fits(payer, amount)
        short = self.ledger.hold(self.number, payer, amount, self.now)
        assert (short is None) == fits
        if short is None:
            self.holds[self.number] = (payer, amount)

    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        if self.holds:
            key = data.draw(st.sampled_from(sorted(self.holds)))
            del self.holds[key]
            assert self.ledger.drop(key)
            assert not self.ledger.drop(key)

    @rule(data=st.data())
    def reserve(self, data: st.DataObject) -> None:
        """A hold becomes a row; after a change of the day it may find no room any more."""
        if not self.holds:
            return
        key = data.draw(st.sampled_from(sorted(self.holds)))
        payer, amount = self.holds.pop(key)
        self.ledger.drop(key)
        if not self.fits(payer, amount, held=False):
            assert self.ledger.shortfall(payer, amount, self.now) is not None
            return
        name = f"r{key}"
        row = LedgerRow(name, key, 1, payer, self.now, self.ledger.day(self.now), amount, amount)
        self.rows[name] = row
        self.kept[name] = Kept(payer, self.date(), "open", amount)
        self.ledger.book(row, figures_of(row))
        self.totals.put(None, row)

    @rule(data=st.data(), more=st.integers(0, 30))
    def extend(self, data: st.DataObject, more: int) -> None:
        name = self.some(data, "open")
        if name is None:
            return
        kept = self.kept[name]
        short = self.ledger.shortfall(kept.payer, more, self.rows[name].at)
        assert (short is None) == self.fits(kept.payer, more, date=kept.date)
        if short is None:
            self.post(name, Posting(name, News.EXTEND, kept.amount + more))
            kept.amount += more

    @rule(data=st.data(), amount=st.integers(0, 120))
    def settle(self, data: st.DataObject, amount: int) -> None:
        name = self.some(data, "open", "uncertain")
        if name is not None:
            kept = self.kept[name]
            kept.overrun = amount > kept.amount
            self.post(name, Posting(name, News.SETTLE, amount))
            kept.state, kept.amount = "settled", amount

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        name = self.some(data, "open", "uncertain")
        if name is not None:
            self.post(name, Posting(name, News.RELEASE))
            self.kept[name].state = "released"

    @rule(data=st.data())
    def abort(self, data: st.DataObject) -> None:
        name = self.some(data, "open")
        if name is not None:
            self.post(name, Posting(name, News.DOUBT))
            self.kept[name].state = "uncertain"

    @rule(data=st.data(), news=st.sampled_from(News), amount=amounts)
    def late_news(self, data: st.DataObject, news: News, amount: int) -> None:
        name = self.some(data, "settled", "released")
        if name is not None:
            before = self.rows[name]
            assert posted(before, Posting(name, news, amount)) is before

    @rule()
    def crash(self) -> None:
        """Holds are gone, rows under way are uncertain, and the figures are read anew."""
        self.holds.clear()
        for name, kept in self.kept.items():
            if kept.state == "open":
                self.post(name, Posting(name, News.DOUBT))
                kept.state = "uncertain"
        self.ledger = Ledger(self.budgets, self.zone)
        for row in self.rows.values():
            self.ledger.book(row, figures_of(row))

    @rule(
        seconds=st.one_of(
            st.floats(0, 5000),
            st.sampled_from([-3600.0, 3600.0, 86_400.0, -86_400.0, 31 * 86_400.0]),
        )
    )
    def clock(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def nothing_drifts(self) -> None:
        if not hasattr(self, "ledger"):
            return
        assert self.ledger.held == sum(amount for _, amount in self.holds.values())
        for (scope, name, length), limit in self.limits.items():
            for date in {self.date(), *(kept.date for kept in self.kept.values())}:
                figures = self.ledger.figures_of((scope, name, date[:length]))  # type: ignore[arg-type]
                mine = [k for k in self.kept.values() if self.within(k, scope, name, date[:length])]
                assert figures.spent == sum(k.amount for k in mine if k.state == "settled")
                assert figures.reserved == sum(k.amount for k in mine if k.state == "open")
                assert figures.uncertain == sum(k.amount for k in mine if k.state == "uncertain")
                if not any(k.overrun for k in mine):
                    assert figures.total <= limit
        assert sum(line.spent for line in self.totals.lines()) == sum(
            k.amount for k in self.kept.values() if k.state == "settled"
        )
        for name, kept in self.kept.items():
            assert (Flag.OVERRUN in self.rows[name].flags) == kept.overrun

    def teardown(self) -> None:
        states = {row.state for row in self.rows.values()}
        assert states <= set(RowState)

    def post(self, name: str, posting: Posting) -> None:
        before = self.rows[name]
        after = self.rows[name] = posted(before, posting)
        self.ledger.book(after, change(before, after))
        self.totals.put(before, after)

    def some(self, data: st.DataObject, *states: str) -> str | None:
        names = sorted(name for name, kept in self.kept.items() if kept.state in states)
        return data.draw(st.sampled_from(names)) if names else None

    def date(self) -> str:
        return datetime.fromtimestamp(self.now, self.zone).strftime("%Y-%m-%d")

    def within(self, kept: Kept, scope: str, name: str, key: str) -> bool:
        return kept.date.startswith(key) and self.concerns(kept.payer, scope, name)

    def concerns(self, payer: Payer, scope: str, name: str) -> bool:
        if scope == "group":
            return name == "any" or payer.model == "small"
        return scope == "all" or getattr(payer, scope) == name

    def fits(
        self, payer: Payer, amount: int, *, held: bool = True, date: str | None = None
    ) -> bool:
        for (scope, name, length), limit in self.limits.items():
            if not self.concerns(payer, scope, name):
                continue
            key = (date or self.date())[:length]
            taken = sum(
                kept.amount
                for kept in self.kept.values()
                if kept.state != "released" and self.within(kept, scope, name, key)
            )
            waiting = sum(a for p, a in self.holds.values() if self.concerns(p, scope, name))
            if taken + waiting * held + amount > limit:
                return False
        return True


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None)
