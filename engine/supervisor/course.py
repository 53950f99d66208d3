"""What a request may do."""

import attrs

from engine.core.meter import Meter
from engine.core.route_plan import Plan, Stop
from engine.values.demand import Demand, Rank


@attrs.frozen
class Course:
    """Decided when the request was accepted."""

    model: str
    """The name that limits and statistics go by."""
    plan: Plan
    rank: Rank
    meter: Meter

    @property
    def number(self) -> int:
        """The request's number within its engine."""
        return self.rank[1]

    def demand(self, stop: Stop, deadline: float) -> Demand:
        """What an attempt at `stop` asks of the admission."""
        return Demand(stop.model, stop.endpoint, self.rank, deadline)
