"""What requests cost, by the prices that the target's configuration has."""

import datetime
from collections.abc import Sequence

from streamnursery.config.prices import price_source
from streamnursery.core.money.pricing import cost
from streamnursery.values.errors import AttemptRecord, AttemptState
from streamnursery.values.money import NANOS_PER_DOLLAR
from streamnursery.values.settings import EngineConfig, Route


class Costs:
    """Prices attempts as an engine of this configuration books them on that day."""

    def __init__(self, config: EngineConfig, day: datetime.date) -> None:
        self._price_of = price_source(config)
        self._day = day

    def of(self, model: str, attempts: Sequence[AttemptRecord]) -> float | None:
        """US dollars of all attempts of one request for `model`.

        None where there is no price, or where an answer came without its usage: a guess is no
        measurement. An attempt that brought nothing costs nothing.
        """
        total = 0
        for attempt in attempts:
            endpoint, _, name = attempt.route.partition("/")
            price = self._price_of(model, Route(endpoint, name), self._day)
            if price is None or (attempt.usage is None and attempt.state is AttemptState.DONE):
                return None
            if attempt.usage is not None:
                total += cost(price, attempt.usage)
        return total / NANOS_PER_DOLLAR
