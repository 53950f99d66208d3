"""What a request may do."""

import attrs

from engine.core.meter import Meter
from engine.core.route_plan import Plan


@attrs.frozen
class Course:
    """Decided when the request was accepted."""

    model: str
    """The name that limits and statistics go by."""
    plan: Plan
    rank: tuple[int, int]
    meter: Meter

    @property
    def number(self) -> int:
        """The request's number within its engine."""
        return self.rank[1]
