"""What was spent, as records: the rows of the ledger and the figures of its accounts."""

from __future__ import annotations

from enum import Enum
from typing import Literal

import attrs

from streamnursery.values.money import Money

Scope = Literal["all", "group", "model", "tenant", "endpoint"]
SCOPES: tuple[Scope, ...] = ("all", "model", "tenant", "endpoint")
"""Those that every attempt is booked into. What a group has spent is the sum of its models."""


class RowState(Enum):
    """What is known of the money of one attempt."""

    SENDING = "sending"
    """Reserved: the attempt may be sent, or is under way."""
    SETTLED = "settled"
    """It cost what `billed` says."""
    RELEASED = "released"
    """It was never sent, and cost nothing."""
    UNCERTAIN = "uncertain"
    """Its end was not seen: it counts with its estimate until it is resolved."""


class Flag(Enum):
    """What is to be said about a row's figures."""

    ESTIMATED = "estimated"
    """The provider gave no usage: the tokens are our own count."""
    REJECTED = "rejected"
    """The provider's usage was nonsense and was not believed."""
    OVERRUN = "overrun"
    """It cost more than was reserved for it."""
    UNPRICED = "unpriced"
    """The model has no price, and counts as free by setting."""


@attrs.frozen
class Payer:
    """Whose budgets an attempt is paid from."""

    model: str
    tenant: str
    """Empty for a request without one."""
    endpoint: str

    def name(self, scope: Scope) -> str:
        """Of one of `SCOPES`."""
        return "" if scope == "all" else str(getattr(self, scope))


@attrs.frozen
class LedgerRow:
    """One attempt in the ledger. Amounts are nano-dollars."""

    id: str
    """Unique over all engines: the owner's name and a number."""
    request: int
    """Number of the request within its engine; its attempts share it."""
    attempt: int
    payer: Payer
    at: float
    """Unix time of the reservation; day and month are those of this moment."""
    day: str
    reserved: int
    """The worst case; 0 once the row has ended."""
    estimate: int
    """What was reserved in all, extensions included."""
    state: RowState = RowState.SENDING
    billed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    flags: frozenset[Flag] = frozenset()
    uncertain: int = 0
    """The estimate, until the cost is known."""

    @property
    def month(self) -> str:
        return self.day[:7]


@attrs.frozen
class Figures:
    """What an account stands at, in nano-dollars."""

    spent: int = 0
    reserved: int = 0
    uncertain: int = 0

    @property
    def total(self) -> int:
        """What no longer can be given to others."""
        return self.spent + self.reserved + self.uncertain

    def __add__(self, other: Figures) -> Figures:
        return Figures(
            self.spent + other.spent,
            self.reserved + other.reserved,
            self.uncertain + other.uncertain,
        )

    def __neg__(self) -> Figures:
        return Figures(-self.spent, -self.reserved, -self.uncertain)

    def text(self) -> str:
        return (
            f"{Money(self.spent)} spent, {Money(self.reserved)} reserved, "
            f"{Money(self.uncertain)} uncertain"
        )


_COUNTS = (  # in the order of the fields of a line
    "attempts",
    "settled",
    "spent",
    "reserved",
    "uncertain",
    "input_tokens",
    "output_tokens",
    *(flag.value for flag in Flag),
)


@attrs.frozen
class SpendingLine:
    """The sum of some attempts. Money is nano-dollars; an empty name is all of them, or none."""

    day: str = ""
    model: str = ""
    tenant: str = ""
    endpoint: str = ""
    attempts: int = 0
    settled: int = 0
    """Attempts whose cost is known."""
    spent: int = 0
    reserved: int = 0
    uncertain: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    estimated: int = 0
    """Attempts whose tokens are our own count."""
    rejected: int = 0
    """Attempts whose provider's usage was not believed."""
    overrun: int = 0
    """Attempts that cost more than was reserved for them."""
    unpriced: int = 0
    """Attempts at models without a price, counted as free."""

    @property
    def key(self) -> tuple[str, str, str, str]:
        return (self.day, self.model, self.tenant, self.endpoint)

    def __add__(self, other: SpendingLine) -> SpendingLine:
        return self._with(other, 1)

    def __sub__(self, other: SpendingLine) -> SpendingLine:
        return self._with(other, -1)

    def _with(self, other: SpendingLine, sign: int) -> SpendingLine:
        sums = {n: getattr(self, n) + sign * getattr(other, n) for n in _COUNTS}
        return attrs.evolve(self, **sums)


@attrs.frozen
class BudgetStanding:
    """Where one window of one budget stands. Money is nano-dollars."""

    scope: Scope
    name: str
    span: str
    """daily or monthly."""
    window: str
    """The day or month it is about."""
    limit: int | None
    """None: nothing is limited, and the figures are for information."""
    spent: int
    reserved: int
    uncertain: int
    held: int
    """For requests of this process that wait for their slot."""
    resets_at: float
    """Unix time."""
    forecast: int | None
    """What will be spent at the end of the window at the pace so far; None in its first percent."""

    @property
    def percent(self) -> float | None:
        """Of the limit, spent or uncertain."""
        if self.limit is None:
            return None
        booked = self.spent + self.uncertain
        if self.limit:
            return 100 * booked / self.limit
        return 100.0 if booked else 0.0


@attrs.frozen
class SpendingReport:
    """What was spent, by whom, and what is left."""

    at: float
    """Unix time."""
    lines: tuple[SpendingLine, ...]
    """One for each day, model, tenant and endpoint."""
    budgets: tuple[BudgetStanding, ...]
    """Of the windows that are now, the widest first."""

    @property
    def total(self) -> SpendingLine:
        """The sum of all lines."""
        return next(iter(self.by()), SpendingLine())

    def by(self, *names: str) -> tuple[SpendingLine, ...]:
        """The lines summed up by some of "day", "model", "tenant" and "endpoint".

        Raises:
            ValueError: another name.
        """
        wrong = set(names) - {"day", "model", "tenant", "endpoint"}
        if wrong:
            names_ = ", ".join(sorted(wrong))
            msg = f"cannot be summed up by {names_}; use day, model, tenant, endpoint"
            raise ValueError(msg)
        sums: dict[tuple[str, ...], SpendingLine] = {}
        for line in self.lines:
            key = tuple(getattr(line, name) for name in names)
            empty = SpendingLine(**dict(zip(names, key, strict=True)))
            sums[key] = sums.get(key, empty) + line
        return tuple(sums[key] for key in sorted(sums))
