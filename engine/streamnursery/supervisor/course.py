"""What a request may do."""

import attrs

from streamnursery.core.limits.token_estimate import TokenEstimates
from streamnursery.core.measure.meter import Meter
from streamnursery.core.routing.route_plan import PlannedRoute, RoutePlan
from streamnursery.supervisor.resume import Asking
from streamnursery.values.demand import Demand, Rank
from streamnursery.values.request import ChatRequest
from streamnursery.values.usage import Usage


@attrs.frozen
class Course:
    """Decided when the request was accepted."""

    model: str
    """The name that limits and statistics go by."""
    plan: RoutePlan
    rank: Rank
    meter: Meter
    request: ChatRequest
    estimates: TokenEstimates
    raw_tokens: float
    """Of its input, as `core/limits/token_estimate` counts them."""
    asking: Asking | None = None
    """How it is asked; None: as the engine's own requests are."""

    @property
    def number(self) -> int:
        """The request's number within its engine."""
        return self.rank[1]

    def demand(self, stop: PlannedRoute, deadline: float) -> Demand:
        """What an attempt at `stop` asks of the admission."""
        tokens = self.estimates.tokens(stop.model, self.request, self.raw_tokens)
        return Demand(
            stop.model,
            stop.route.endpoint,
            self.rank,
            deadline,
            self.request.tenant,
            input_tokens=tokens[0],
            output_tokens=tokens[1],
        )

    def learn(self, stop: PlannedRoute, usage: Usage) -> None:
        """An attempt at `stop` has used so much in all."""
        self.estimates.learn(stop.model, self.raw_tokens, usage)
