"""What one attempt, or one call of the caller's own, asks of the admission."""

from math import inf
from typing import TypeAlias

import attrs

Rank: TypeAlias = tuple[int, int]
"""(priority, number of the request): lower goes first."""


@attrs.frozen
class Demand:
    """Everything the decision "may this start now" is made from."""

    model: str
    """The name that limits and statistics go by."""
    endpoint: str | None = None
    """None: a call of the caller's own, which goes to no endpoint that the engine knows."""
    rank: Rank = (0, 0)
    """A request keeps it through all its attempts."""
    deadline: float = inf
    """On trio's clock; bounds the wait."""
    tenant: str = ""
    """On whose behalf; the empty name is a tenant like any other."""
    input_tokens: int = 0
    """Estimated; what is reserved until `settle` says what it really was."""
    output_tokens: int = 0
