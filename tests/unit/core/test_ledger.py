"""Who may still spend, and the life of one row."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from streamnursery.core.money.ledger import Ledger
from streamnursery.core.money.ledger_row import (
    TRANSITIONS,
    News,
    Posting,
    change,
    figures_of,
    posted,
)
from streamnursery.core.money.totals import Totals
from streamnursery.values.budgets import Budget, Budgets
from streamnursery.values.money import Money
from streamnursery.values.spending import Figures, Flag, LedgerRow, Payer, RowState

NOON = datetime(2026, 6, 15, 12, tzinfo=UTC).timestamp()
DAY = 86_400.0
ACME = Payer("gpt-4.1", "acme", "main")
OTHER = Payer("gpt-4.1", "other", "main")


def ledger(**budgets: object) -> Ledger:
    return Ledger(Budgets(**budgets), UTC)  # type: ignore[arg-type]


def row(amount: int, payer: Payer = ACME, at: float = NOON, name: str = "1") -> LedgerRow:
    day = datetime.fromtimestamp(at, UTC).date().isoformat()
    return LedgerRow(name, 1, 1, payer, at, day, amount, amount)


def test_a_hold_counts_until_it_is_dropped() -> None:
    money = ledger(daily=Money(10))
    assert money.hold("a", ACME, 6, NOON) is None
    assert money.hold("b", OTHER, 5, NOON) is not None
    assert money.drop("a")
    assert not money.drop("a")
    assert money.hold("b", OTHER, 5, NOON) is None
    assert (money.holds, money.held) == (1, 5)


def test_every_budget_an_attempt_is_under_has_to_have_room() -> None:
    money = ledger(
        daily=Money(100),
        tenants={"acme": Budget(daily=Money(10))},
        models={"gpt-4.1": Budget(monthly=Money(50))},
        endpoints={"main": Budget(daily=Money(80), mode="soft")},
    )
    short = money.shortfall(ACME, 11, NOON)
    assert short is not None
    assert (short.limit.scope, short.limit.name, short.limit.span) == ("tenant", "acme", "daily")
    short = money.shortfall(OTHER, 51, NOON)
    assert short is not None and str(short.limit) == "the monthly budget of model 'gpt-4.1'"
    money.book(row(45, OTHER), Figures(0, 45, 0))
    assert money.hold("x", ACME, 6, NOON) is not None, "nothing is taken from some and not all"
    assert money.held == 0


def test_a_refusal_names_window_limit_figures_and_reset() -> None:
    money = Ledger(Budgets(daily=Money.parse("1")), ZoneInfo("Europe/Berlin"))
    money.book(row(0), Figures(300_000_000, 200_000_000, 100_000_000))
    money.hold("waiting", ACME, 50_000_000, NOON)
    short = money.shortfall(ACME, 400_000_000, NOON)
    assert short is not None
    assert short.text(money.zone) == (
        "the daily budget of 1.00 USD has no room for up to 0.40 USD: 0.30 USD spent, 0.20 USD "
        "reserved, 0.10 USD uncertain, 0.05 USD held for requests that wait; window 2026-06-15, "
        "reset at 2026-06-16 00:00 CEST. Raise the budget, wait for its reset, or ask for fewer "
        "max_tokens"
    )


def test_g4_a_clock_set_back_over_midnight_hands_no_budget_out_twice() -> None:
    money = ledger(daily=Money(10))
    before, after = NOON, NOON + DAY
    money.book(row(10, at=before), Figures(10, 0, 0))
    money.book(row(7, at=after), Figures(7, 0, 0))
    for _ in range(3):
        assert money.shortfall(ACME, 1, before) is not None
        assert money.shortfall(ACME, 3, after) is None
        assert money.shortfall(ACME, 4, after) is not None


def test_g4_the_cost_lands_in_the_day_of_the_reservation() -> None:
    money = ledger(daily=Money(10))
    late = datetime(2026, 6, 30, 23, 59, tzinfo=UTC).timestamp()
    first = row(8, at=late)
    money.book(first, figures_of(first))
    settled = posted(first, Posting("1", News.SETTLE, 5))
    money.book(settled, change(first, settled))
    assert money.figures_of(("all", "", "2026-06-30")) == Figures(5, 0, 0)
    assert money.figures_of(("all", "", "2026-06")) == Figures(5, 0, 0)
    assert money.figures_of(("all", "", "2026-07-01")) == Figures()
    assert money.shortfall(ACME, 10, late + 60) is None


def test_the_pace_of_a_window_gives_its_forecast() -> None:
    money = ledger(daily=Money(100))
    money.book(row(0), Figures(20, 0, 5))
    (daily, monthly) = (s for s in money.standings(NOON) if s.scope == "all")
    assert (daily.forecast, daily.percent, daily.limit) == (50, 25.0, 100)
    assert (monthly.limit, monthly.percent, monthly.window) == (None, None, "2026-06")
    midnight = datetime(2026, 6, 15, 0, 1, tzinfo=UTC).timestamp()
    assert money.standings(midnight)[0].forecast is None


def test_a_budget_of_nothing_admits_what_costs_nothing() -> None:
    money = ledger(daily=Money(0))
    assert money.shortfall(ACME, 0, NOON) is None
    short = money.shortfall(ACME, 1, NOON)
    assert short is not None and short.never and short.hopeless


def test_news_of_a_row_changes_it_once() -> None:
    first = row(10)
    settled = posted(first, Posting("1", News.SETTLE, 7, 3, 4))
    assert (settled.state, settled.billed, settled.reserved) == (RowState.SETTLED, 7, 0)
    for news in News:
        assert posted(settled, Posting("1", news, 99)) is settled, "late news is ignored"


def test_an_uncertain_row_keeps_its_estimate_until_it_is_resolved() -> None:
    first = posted(row(10), Posting("1", News.EXTEND, 15))
    assert figures_of(first) == Figures(0, 15, 0)
    doubtful = posted(first, Posting("1", News.DOUBT))
    assert figures_of(doubtful) == Figures(0, 0, 15)
    assert change(first, doubtful) == Figures(0, -15, 15)
    assert figures_of(posted(doubtful, Posting("1", News.SETTLE, 3))) == Figures(3, 0, 0)
    assert figures_of(posted(doubtful, Posting("1", News.RELEASE))) == Figures()


def test_an_extension_is_the_same_when_it_is_told_twice() -> None:
    posting = Posting("1", News.EXTEND, 15)
    assert posted(posted(row(10), posting), posting).reserved == 15
    assert posted(row(10), Posting("1", News.EXTEND, 5)).reserved == 10


def test_a_settlement_above_its_reservation_is_booked_in_full_and_flagged() -> None:
    settled = posted(row(10), Posting("1", News.SETTLE, 25))
    assert settled.billed == 25
    assert settled.flags == {Flag.OVERRUN}


@pytest.mark.parametrize("state", [RowState.SETTLED, RowState.RELEASED])
def test_nothing_leads_out_of_an_end(state: RowState) -> None:
    assert not [key for key in TRANSITIONS if key[0] is state]


def test_totals_put_names_together_when_there_are_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streamnursery.core.money.totals.MAX_LINES", 100)
    totals = Totals()
    for number in range(150):
        totals.put(None, row(1, Payer("m", f"tenant {number}", "main"), name=str(number)))
    lines = totals.lines()
    assert len(lines) == 101
    assert sum(line.reserved for line in lines) == 150
