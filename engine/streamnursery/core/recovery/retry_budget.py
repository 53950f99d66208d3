"""How many retries an endpoint may be asked to bear: a token bucket.

Rule 1: every request that reaches the endpoint deposits a tenth of a retry; every retry withdraws
        one or more. So a storm costs the endpoint a tenth more than its requests, and the bucket
        once: retries <= ratio * requests + capacity.
Rule 2: where requests are few, `per_second` tops the deposits up to a small steady rate. It is no
        addition to them: what requests deposited lately is taken off it.
Rule 3: a success gives nothing back. Otherwise an endpoint that fails every first attempt would
        be asked for everything twice, for ever.

The ratio with a floor is tower's (`retry/budget/tps_budget.rs`), the bucket that starts full and
the costs that differ are botocore's (`retries/quota.py`, `retries/standard.py`); gRPC's A6 has
the same thought with a threshold.
"""

import attrs
from attrs.validators import ge, gt

# Seconds of the floor that deposits can pay ahead, as long as tower lets a deposit count.
_COVER_SECONDS = 10.0

# Ten deposits of 0.1 are a hair less than 1.
_ROUNDING = 1e-9


@attrs.define(eq=False, on_setattr=attrs.setters.NO_OP)
class RetryBudget:
    """The retries one endpoint has left, counted in tokens: one is an ordinary retry."""

    capacity: float = attrs.field(default=1000.0, validator=gt(0))
    """Tokens at most, and at the start: one retry for each slot of an engine by default, so that
    one short fault under full load loses no request."""
    ratio: float = attrs.field(default=0.1, validator=ge(0))
    """Tokens that a request deposits."""
    per_second: float = attrs.field(default=1.0, validator=ge(0))
    """Tokens per second below which the deposits do not fall."""
    _level: float = attrs.field(init=False)
    _covered: float = attrs.field(default=0.0, init=False)
    """Tokens of the floor that deposits have already paid."""
    _as_of: float | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._level = self.capacity

    def deposit(self, now: float) -> None:
        """A request reaches the endpoint for the first time."""
        self._advance(now)
        self._level = min(self.capacity, self._level + self.ratio)
        self._covered = min(self._covered + self.ratio, self.per_second * _COVER_SECONDS)

    def withdraw(self, now: float, cost: float = 1.0) -> bool:
        """Pay for a retry that will be sent; False, and nothing is taken, when it cannot be."""
        self._advance(now)
        if self._level + _ROUNDING < cost:
            return False
        self._level = max(0.0, self._level - cost)
        return True

    def refund(self, now: float, cost: float = 1.0) -> None:
        """Give back what was paid for a retry that was never sent."""
        self._advance(now)
        self._add(cost)

    def level(self, now: float) -> float:
        """Tokens left."""
        self._advance(now)
        return self._level

    def _add(self, tokens: float) -> None:
        self._level = min(self.capacity, self._level + tokens)

    def _advance(self, now: float) -> None:
        elapsed = 0.0 if self._as_of is None else max(0.0, now - self._as_of)
        self._as_of = now if self._as_of is None else max(self._as_of, now)
        due = elapsed * self.per_second
        paid = min(due, self._covered)
        self._covered -= paid
        self._level = min(self.capacity, self._level + due - paid)
