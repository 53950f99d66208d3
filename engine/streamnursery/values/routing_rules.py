"""Rules that say which kind of model a task gets. The first that applies counts."""

from __future__ import annotations

import math
from typing import Literal, get_args

import attrs
from attrs.validators import in_, optional

BudgetNeed = Literal["low", "normal", "high"]
Strategy = Literal["cheapest", "fastest", "balanced", "strongest"]


@attrs.frozen
class RoutingRule:
    """What a task must be like, and how its model is chosen then. A condition that is None holds
    for every task; all that are given must hold."""

    choose: Strategy = attrs.field(validator=in_(get_args(Strategy)))
    latency_below: float | None = None
    """Seconds: a first token is wished for within fewer."""
    budget: BudgetNeed | None = attrs.field(
        default=None, validator=optional(in_(get_args(BudgetNeed)))
    )
    complexity_below: float | None = None
    complexity_from: float | None = None

    def applies(self, complexity: float, max_latency: float | None, budget: str) -> bool:
        """Whether a task is what this rule is for."""
        wished = math.inf if max_latency is None else max_latency
        return (
            (self.latency_below is None or wished < self.latency_below)
            and (self.budget is None or budget == self.budget)
            and (self.complexity_below is None or complexity < self.complexity_below)
            and (self.complexity_from is None or complexity >= self.complexity_from)
        )

    def words(self, complexity: float, max_latency: float | None) -> str:
        """Why it applies to a task, for `Decision.rule`."""
        found = []
        if self.latency_below is not None:
            found.append(f"a first token within {max_latency:g} s is wished for")
        if self.budget is not None:
            found.append(f"{self.budget} budget")
        if self.complexity_below is not None:
            found.append(f"complexity {complexity:g} below {self.complexity_below:g}")
        if self.complexity_from is not None:
            found.append(f"complexity {complexity:g}, from {self.complexity_from:g} on")
        return ", ".join(found)


DEFAULT_RULES = (
    RoutingRule("fastest", latency_below=0.3),
    RoutingRule("cheapest", budget="low", complexity_below=7),
    RoutingRule("strongest", complexity_from=8),
)
"""What no rule is for gets the balanced one."""
