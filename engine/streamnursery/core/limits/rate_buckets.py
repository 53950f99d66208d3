"""The buckets of one party, a model or an endpoint: what one demand takes from each of them."""

from collections.abc import Callable, Iterator

import attrs

from streamnursery.core.limits.bucket import Bucket, Taken
from streamnursery.values.demand import Demand
from streamnursery.values.rates import Rates
from streamnursery.values.statistics import RateStatistics
from streamnursery.values.usage import Usage

KINDS = ("rpm", "tpm", "input_tpm", "output_tpm")


@attrs.frozen
class Shortage:
    """A bucket that has not enough."""

    kind: str
    limit: int
    units: int
    """What was asked of it."""
    date: float
    """When it has enough if no other takes any; `inf` for more than the limit."""

    def __str__(self) -> str:
        return f"{self.kind} = {self.limit}"


@attrs.frozen
class RateReservation:
    """What a demand took from one bucket."""

    kind: str
    bucket: Bucket
    taken: Taken
    units: int

    def settle(self, demand: Demand, usage: Usage | None, now: float, /) -> None:
        """Correct it to what was used; what `usage` does not know keeps its estimate.

        Input that was read from the provider's cache does not count towards a limit of input alone,
        which Anthropic has; towards a limit of all tokens it does.
        """
        if usage is None:
            return
        inputs = demand.input_tokens if usage.input_tokens is None else usage.input_tokens
        outputs = demand.output_tokens if usage.output_tokens is None else usage.output_tokens
        if self.kind == "input_tpm" and usage.input_tokens is not None:
            inputs -= min(inputs, usage.cached_tokens or 0)
        self._correct(units(self.kind, inputs, outputs), now)

    def void(self, now: float) -> None:
        """Give all of it back: nothing was sent."""
        self._correct(0, now)

    def _correct(self, used: int, now: float) -> None:
        if used != self.units:
            self.bucket.correct(self.taken, used - self.units, now)


class RateBuckets:
    """Up to one bucket for requests, tokens, input tokens and output tokens."""

    def __init__(self, rates: Rates) -> None:
        self.rates = rates
        self.buckets: dict[str, Bucket] = {}
        for kind, limit in _limits(rates):
            self.buckets[kind] = Bucket(limit, rates.burst)

    def change(self, rates: Rates, now: float) -> None:
        """Other limits from now on; a bucket that stays remembers what was used."""
        self.rates = rates
        before, self.buckets = self.buckets, {}
        for kind, limit in _limits(rates):
            bucket = before.get(kind)
            if bucket is None:
                bucket = Bucket(limit, rates.burst)
            else:
                bucket.change(limit, rates.burst, now)
            self.buckets[kind] = bucket

    def shortage(self, demand: Demand, now: float) -> Shortage | None:
        """The bucket that `demand` waits for longest; None: there is enough in all of them."""
        worst: Shortage | None = None
        for kind, bucket in self.buckets.items():
            wanted = units(kind, demand.input_tokens, demand.output_tokens)
            date = bucket.date(wanted, now)
            if date > (now if worst is None else worst.date):
                worst = Shortage(kind, bucket.limit, wanted, date)
        return worst

    def reserve(self, demand: Demand, now: float) -> Iterator[RateReservation]:
        """Take what `demand` needs from every bucket."""
        for kind, bucket in self.buckets.items():
            wanted = units(kind, demand.input_tokens, demand.output_tokens)
            yield RateReservation(kind, bucket, bucket.take(wanted, now), wanted)

    def keep(self, now: float) -> Callable[[], tuple[RateStatistics, ...]]:
        """What `statistics` says now, for later; limits of one's own are few."""
        if not self.buckets:
            return tuple
        statistics = self.statistics(now)
        return lambda: statistics

    def statistics(self, now: float) -> tuple[RateStatistics, ...]:
        return tuple(
            RateStatistics(kind, bucket.limit, bucket.used(now))
            for kind, bucket in self.buckets.items()
        )

    def impossible(self, demand: Demand, /) -> Shortage | None:
        """The limit that `demand` alone is above of."""
        for kind, bucket in self.buckets.items():
            wanted = units(kind, demand.input_tokens, demand.output_tokens)
            if wanted > bucket.limit:
                return Shortage(kind, bucket.limit, wanted, float("inf"))
        return None


_ONE, _ALL, _INPUT, _OUTPUT = (1, 0, 0), (0, 1, 1), (0, 1, 0), (0, 0, 1)
_WEIGHTS = {"rpm": _ONE, "rph": _ONE, "rpd": _ONE, "tpm": _ALL, "tph": _ALL, "tpd": _ALL}


def weights(kind: str) -> tuple[int, int, int]:
    """What a request, a token of its input and one of its output take from a bucket of `kind`."""
    return _WEIGHTS.get(kind) or (_INPUT if kind == "input_tpm" else _OUTPUT)


def units(kind: str, input_tokens: int, output_tokens: int) -> int:
    """What one request with so many tokens takes from the bucket of that kind."""
    request, per_input, per_output = weights(kind)
    return request + per_input * input_tokens + per_output * output_tokens


def _limits(rates: Rates) -> Iterator[tuple[str, int]]:
    for kind in KINDS:
        limit: int | None = getattr(rates, kind)
        if limit is not None:
            yield kind, limit
