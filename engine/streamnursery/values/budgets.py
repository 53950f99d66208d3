"""Limits on spending, as values."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Literal

import attrs
from attrs.validators import in_

from streamnursery.values.money import Money

BudgetMode = Literal["hard", "soft"]
UnknownPrice = Literal["refuse", "zero"]


@attrs.frozen
class Budget:
    """What may be spent in each window; None is no limit."""

    daily: Money | None = None
    monthly: Money | None = None
    mode: BudgetMode | None = None
    """None: as the budget over everything."""


@attrs.frozen
class GroupBudget(Budget):
    """What may be spent on several models together."""

    models: tuple[str, ...] = ()
    """Names, or patterns of them, as the group has them."""

    def has(self, model: str) -> bool:
        """Whether what is spent on `model` counts."""
        return any(fnmatchcase(model, pattern) for pattern in self.models)


@attrs.frozen
class Budgets:
    """Every limit of an engine, and how they are kept."""

    daily: Money | None = None
    monthly: Money | None = None
    mode: BudgetMode = attrs.field(default="hard", validator=in_(("hard", "soft")))
    """hard refuses; soft goes to a cheaper model, then waits for room, then refuses."""
    soft_at: int = 80
    """Percent of a soft budget from which on the cheaper model is taken."""
    soft_wait: float = 60.0
    """Seconds that a request waits at most for room in a soft budget."""
    models: Mapping[str, Budget] = attrs.field(factory=dict)
    tenants: Mapping[str, Budget] = attrs.field(factory=dict)
    endpoints: Mapping[str, Budget] = attrs.field(factory=dict)
    groups: Mapping[str, GroupBudget] = attrs.field(factory=dict)
    timezone: str = "UTC"
    """Days and months are those of this zone."""
    alerts: tuple[int, ...] = (50, 80, 100)
    """Percentages of a budget at which there is a record, once in each window."""
    unknown_price: UnknownPrice = attrs.field(default="refuse", validator=in_(("refuse", "zero")))
    """What a budget does with a model that has no price."""
    ledger: str = ""
    """Path of the ledger's file; empty keeps it in memory."""
    durable: bool = False
    """The end of an answer is handed out once its cost is on the disk: a kill in that moment
    leaves no answer that was acknowledged and is uncertain."""
    keep_days: int = 90
    """Days after which the rows of attempts are deleted; their sums stay, and so do the rows of the
    windows that are open."""
    uncertain_days: int = 30
    """Days after which an attempt whose end was not seen counts as spent, with its estimate."""

    @property
    def limited(self) -> bool:
        """Whether anything has a limit."""
        scopes: list[Budget] = [*self.models.values(), *self.tenants.values()]
        scopes += [*self.endpoints.values(), *self.groups.values()]
        limits = [self.daily, self.monthly, *(x for b in scopes for x in (b.daily, b.monthly))]
        return any(limit is not None for limit in limits)
