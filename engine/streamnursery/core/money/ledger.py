"""Who may still spend: the limits, and what stands against them. Arithmetic only.

Rule 1: every limit that applies to an attempt has to have room for its worst case, beside what is
        spent, reserved, uncertain and held; only then anything is taken, and from all at once.
Rule 2: a hold is memory of this process and belongs to no window: it will be spent whenever its
        attempt gets its slot, so it counts against the window that is now.
Rule 3: a row is booked into the day and month of its reservation, whenever its end is known.
Rule 4: only a settlement may pass a limit; while it does, nothing is admitted.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import tzinfo
from typing import TypeAlias

import attrs

from streamnursery.core.money.windows import SPANS, Span, Window, elapsed, reset_text, window
from streamnursery.values.budgets import Budget, BudgetMode, Budgets
from streamnursery.values.money import Money
from streamnursery.values.spending import SCOPES, BudgetStanding, Figures, LedgerRow, Payer, Scope

Account: TypeAlias = tuple[Scope, str, str]
"""Scope, name within it, and the key of a window."""
FiguresOf: TypeAlias = Callable[[Account], Figures]


@attrs.frozen
class BudgetLimit:
    """What one budget allows in each of its windows."""

    scope: Scope
    name: str
    span: Span
    amount: int
    mode: BudgetMode

    def account(self, key: str) -> Account:
        return (self.scope, self.name, key)

    def __str__(self) -> str:
        whose = f" of {self.scope} {self.name!r}" if self.name else ""
        return f"the {self.span} budget{whose}"


@attrs.frozen
class Shortfall:
    """Why an amount does not fit: the first limit without room for it."""

    limit: BudgetLimit
    window: Window
    figures: Figures
    held: int
    amount: int

    @property
    def hopeless(self) -> bool:
        """No waiting within this window makes room, whatever is given back."""
        booked = self.figures.spent + self.figures.uncertain
        return self.amount + booked > self.limit.amount

    @property
    def never(self) -> bool:
        """It would not fit an empty window either."""
        return self.amount > self.limit.amount

    def text(self, zone: tzinfo) -> str:
        """Window, limit, what stands against it, and what to do."""
        figures = self.figures
        return (
            f"{self.limit} of {Money(self.limit.amount)} has no room for up to "
            f"{Money(self.amount)}: {figures.text()}, {Money(self.held)} held for requests that "
            f"wait; window {self.window.key}, reset at {reset_text(self.window.ends_at, zone)}. "
            "Raise the budget, wait for its reset, or ask for fewer max_tokens"
        )


class BudgetLimits:
    """The limits of a configuration, found by payer."""

    def __init__(self, budgets: Budgets) -> None:
        self.all: tuple[BudgetLimit, ...] = tuple(_limits(budgets))
        self._by_name: dict[tuple[Scope, str], list[BudgetLimit]] = {}
        for limit in self.all:
            self._by_name.setdefault((limit.scope, limit.name), []).append(limit)
        self._groups = budgets.groups
        self._groups_of: dict[str, tuple[str, ...]] = {}

    def of(self, payer: Payer) -> list[BudgetLimit]:
        """Those that `payer` is under, the widest first."""
        found: list[BudgetLimit] = []
        if self.all:
            for account in self.named(payer):
                found += self._by_name.get(account, ())
        return found

    def named(self, payer: Payer) -> list[tuple[Scope, str]]:
        """Every scope and name that a budget of `payer` could have, the widest first."""
        found = [(scope, payer.name(scope)) for scope in SCOPES]
        if self._groups:
            found[1:1] = [("group", name) for name in self.groups_of(payer.model)]
        return found

    def groups_of(self, model: str) -> tuple[str, ...]:
        """The groups with a budget that `model` is in."""
        found = self._groups_of.get(model)
        if found is None:
            found = tuple(name for name, group in self._groups.items() if group.has(model))
            if len(self._groups_of) < _MAX_ACCOUNTS:
                self._groups_of[model] = found
        return found


def _limits(budgets: Budgets) -> Iterator[BudgetLimit]:
    own = Budget(budgets.daily, budgets.monthly, budgets.mode)
    yield from _of_budget("all", "", own, budgets.mode)
    scopes: tuple[tuple[Scope, Mapping[str, Budget]], ...] = (
        ("model", budgets.models),
        ("tenant", budgets.tenants),
        ("endpoint", budgets.endpoints),
        ("group", budgets.groups),
    )
    for scope, by_name in scopes:
        for name, budget in by_name.items():
            yield from _of_budget(scope, name, budget, budgets.mode)


def _of_budget(scope: Scope, name: str, budget: Budget, mode: BudgetMode) -> Iterator[BudgetLimit]:
    for span, amount in (("daily", budget.daily), ("monthly", budget.monthly)):
        if amount is not None:
            yield BudgetLimit(scope, name, span, amount, budget.mode or mode)  # type: ignore[arg-type]


def accounts(row: LedgerRow) -> list[Account]:
    """Where a row is booked: in each of `SCOPES`, in its day and in its month."""
    return [(s, row.payer.name(s), key) for key in (row.day, row.month) for s in SCOPES]


def shortfall(
    limits: Iterable[BudgetLimit],
    amount: int,
    wall: float,
    zone: tzinfo,
    figures_of: FiguresOf,
    held: Callable[[BudgetLimit], int],
) -> Shortfall | None:
    """The first of `limits` that has no room for `amount` now; None when all have."""
    windows: dict[Span, Window] = {}
    for limit in limits:
        now = windows.get(limit.span)
        if now is None:
            now = windows[limit.span] = window(limit.span, wall, zone)
        figures, waiting = figures_of(limit.account(now.key)), held(limit)
        if figures.total + waiting + amount > limit.amount:
            return Shortfall(limit, now, figures, waiting, amount)
    return None


class Ledger:
    """The holds of this process, and the figures of the accounts as far as it knows them."""

    def __init__(self, budgets: Budgets, zone: tzinfo) -> None:
        self.limits = BudgetLimits(budgets)
        self.zone = zone
        self.figures: dict[Account, Figures] = {}
        """Of accounts that something was booked into and that may still be asked about."""
        self.waiting: dict[object, tuple[Payer, int]] = {}
        """The holds, by their keys. They count against the limits through `hold` and `drop`: only
        who has none may write here."""
        self.added_up: Callable[[str], Figures] | None = None
        """Of a window, everything together: in the place of figures that are booked here, where
        there are no limits."""
        self._held: dict[tuple[Scope, str], int] = {}
        # Everything together is always kept, for reports.
        named = ((limit.scope, limit.name) for limit in self.limits.all)
        self._named: set[tuple[Scope, str]] = {_EVERYTHING, *named}
        self._today: Window | None = None

    @property
    def holds(self) -> int:
        """How many holds there are."""
        return len(self.waiting)

    @property
    def held(self) -> int:
        """Nano-dollars held in all."""
        return sum(amount for _, amount in self.waiting.values())

    def figures_of(self, account: Account) -> Figures:
        if self.added_up is not None:
            return self.added_up(account[2])
        return self.figures.get(account, _NOTHING)

    def shortfall(self, payer: Payer, amount: int, wall: float) -> Shortfall | None:
        """Why `amount` may not be taken now; None when it may."""
        if not self.limits.all:
            return None
        limits = self.limits.of(payer)
        return shortfall(limits, amount, wall, self.zone, self.figures_of, self._held_by)

    def hold(self, key: object, payer: Payer, amount: int, wall: float) -> Shortfall | None:
        """Hold `amount` under `key`, or say what stands against it."""
        short = self.shortfall(payer, amount, wall)
        if short is None:
            self.waiting[key] = (payer, amount)
            if self.limits.all:
                self._add_held(payer, amount)
        return short

    def nearly_spent(self, payer: Payer, amount: int, wall: float, percent: int) -> bool:
        """Whether `amount` brings a soft limit that `payer` is under beyond `percent` of it."""
        soft = [limit for limit in self.limits.of(payer) if limit.mode == "soft"]
        return any(
            self.figures_of(limit.account(now.key)).total + self._held_by(limit) + amount
            > limit.amount * percent // 100
            for limit, now in (self.current(soft, wall) if soft else ())
        )

    def drop(self, key: object) -> bool:
        """Give a hold up; idempotent. Whether there was one."""
        payer, amount = self.waiting.pop(key, _NO_HOLD)
        if payer is not None and self.limits.all:
            self._add_held(payer, -amount)
        return payer is not None

    def book(self, row: LedgerRow, change: Figures) -> None:
        """Add `change` to every account of the row that has a limit."""
        if self.added_up is not None or not (change.spent or change.reserved or change.uncertain):
            return
        figures = self.figures
        for account in self.limited(row):
            before = figures.get(account)
            figures[account] = change if before is None else before + change

    def limited(self, row: LedgerRow) -> list[Account]:
        """The accounts of the row that some limit looks at."""
        day, month = row.day, row.day[:7]
        if not self.limits.all:
            return [(*_EVERYTHING, day), (*_EVERYTHING, month)]
        scopes = self._scopes(row.payer)
        return [(*scope, key) for key in (day, month) for scope in scopes]

    def current(
        self, limits: Iterable[BudgetLimit], wall: float
    ) -> list[tuple[BudgetLimit, Window]]:
        """Each limit with its window of now."""
        windows = {span: window(span, wall, self.zone) for span in SPANS}
        return [(limit, windows[limit.span]) for limit in limits]

    def day(self, wall: float) -> str:
        """The key of the day, and a look at what is too old to be asked about again."""
        today = self._today
        if today is None or not today.starts_at <= wall < today.ends_at:
            today = self._today = window("daily", wall, self.zone)
            self._forget(today.key)
        return today.key

    def standing(self, limit: BudgetLimit | None, now: Window, wall: float) -> BudgetStanding:
        """Where a limit stands in a window; of None, everything together without a limit."""
        scope, name = (limit.scope, limit.name) if limit is not None else _EVERYTHING
        figures = self.figures_of((scope, name, now.key))
        over = elapsed(now, wall)
        booked = figures.spent + figures.uncertain
        return BudgetStanding(
            scope=scope,
            name=name,
            span=now.span,
            window=now.key,
            limit=None if limit is None else limit.amount,
            spent=figures.spent,
            reserved=figures.reserved,
            uncertain=figures.uncertain,
            held=self.held if scope == "all" else self._held.get((scope, name), 0),
            resets_at=now.ends_at,
            forecast=int(booked / over) if over >= _EARLY else None,
        )

    def standings(self, wall: float) -> tuple[BudgetStanding, ...]:
        """Of every limit now, everything together first, also where that has no limit."""
        found = [
            self.standing(limit, now, wall) for limit, now in self.current(self.limits.all, wall)
        ]
        limited = {(standing.scope, standing.span) for standing in found}
        unlimited = [span for span in SPANS if ("all", span) not in limited]
        rest = [self.standing(None, window(span, wall, self.zone), wall) for span in unlimited]
        return tuple(sorted([*found, *rest], key=lambda s: _WIDEST_FIRST.index(s.scope)))

    def _forget(self, day: str) -> None:
        # A clock may be set back, and rows of yesterday end today: only empty or old ones go.
        if len(self.figures) > _MAX_ACCOUNTS:
            keep = sorted(self.figures, key=lambda account: account[2])[-_MAX_ACCOUNTS // 2 :]
            kept = {*keep, *(a for a in self.figures if a[2] in (day, day[:7]))}
            self.figures = {account: self.figures[account] for account in kept}

    def _held_by(self, limit: BudgetLimit) -> int:
        return self._held.get((limit.scope, limit.name), 0)

    def _add_held(self, payer: Payer, amount: int) -> None:
        for scope in self._scopes(payer):
            self._held[scope] = self._held.get(scope, 0) + amount

    def _scopes(self, payer: Payer) -> list[tuple[Scope, str]]:
        """The budgets that `payer` is under, and everything together."""
        return [scope for scope in self.limits.named(payer) if scope in self._named]


_NOTHING = Figures()
_NO_HOLD: tuple[Payer | None, int] = (None, 0)
_EVERYTHING: tuple[Scope, str] = ("all", "")
_WIDEST_FIRST: tuple[Scope, ...] = ("all", "group", *SCOPES[1:])
_EARLY = 0.01
"""Share of a window before which its pace says nothing."""
_MAX_ACCOUNTS = 10_000
