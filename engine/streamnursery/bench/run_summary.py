"""Numbers out of tallies: quantiles, rates, and how sure repetitions make us of them."""

from collections.abc import Mapping, Sequence
from math import sqrt
from statistics import mean, stdev
from typing import Any

import attrs

from streamnursery.bench.samples import CANCELLED, FAILED, OK, Tally, statistic
from streamnursery.bench.thresholds import NUMBERS, TIMES, Threshold

STATS = ("mean", "p50", "p90", "p95", "p99", "p99.9", "min", "max")
# Two-sided 95 % of Student's t, by degrees of freedom; 1.96 beyond.
_T95 = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13)
ALL = "all"


@attrs.frozen
class LoadRun:
    """One repetition of one phase of load against one target, measured."""

    tallies: Mapping[str, Tally]
    """By model, and `ALL`."""
    seconds: float
    """From the end of the warm-up to the end of the last request that counts."""
    cpu_seconds: float = 0.0
    """Of the client, over the whole phase."""
    wall_seconds: float = 0.0
    lag_p99: float | None = None
    """Seconds by which the client's own timers fired late."""
    max_lateness: float = 0.0
    connections_opened: int | None = None
    leaks: tuple[str, ...] = ()
    """What was still held when everything had ended."""

    def joined(self, other: "LoadRun") -> "LoadRun":
        """Two workers' shares of the same phase as one."""
        tallies = {}
        for name in dict.fromkeys([*self.tallies, *other.tallies]):
            tallies[name] = Tally()
            for part in (self, other):
                if name in part.tallies:
                    tallies[name].merge(part.tallies[name])
        opened = [s.connections_opened for s in (self, other) if s.connections_opened is not None]
        return LoadRun(
            tallies,
            max(self.seconds, other.seconds),
            self.cpu_seconds + other.cpu_seconds,
            max(self.wall_seconds, other.wall_seconds),
            max((lag for lag in (self.lag_p99, other.lag_p99) if lag is not None), default=None),
            max(self.max_lateness, other.max_lateness),
            sum(opened) if opened else None,
            self.leaks + other.leaks,
        )

    def packed(self) -> dict[str, Any]:
        """As JSON values that `unpacked` reads."""
        own = attrs.asdict(self, recurse=False)
        return {**own, "tallies": {name: t.packed() for name, t in self.tallies.items()}}

    @classmethod
    def unpacked(cls, packed: Mapping[str, Any]) -> "LoadRun":
        """The inverse of `packed`."""
        tallies = {name: Tally.unpacked(t) for name, t in packed["tallies"].items()}
        return cls(**{**packed, "tallies": tallies, "leaks": tuple(packed["leaks"])})


def numbers(tally: Tally, seconds: float) -> dict[str, float | None]:
    """The metrics of `thresholds.NUMBERS`; None where there is nothing to divide by."""
    ended = tally.outcomes[OK] + tally.outcomes[FAILED]
    rate = 1 / seconds if seconds > 0 else None
    speed = tally.stream_speed.mean
    return {
        "errors": tally.outcomes[FAILED] / ended if ended else None,
        "rps": tally.outcomes[OK] * rate if rate else None,
        "tokens_per_second": tally.counts["output_tokens"] * rate if rate else None,
        "stream_tokens_per_second": speed * 1000 if speed is not None else None,
        "goodput": tally.good * rate if rate else None,
        "cost": tally.cost_usd if tally.counts["priced"] else None,
        "retries": tally.counts["retries"] / tally.requests if tally.requests else None,
    }


def value_of(threshold: Threshold, tally: Tally, seconds: float) -> float | None:
    """What a threshold speaks of, measured; None where it was not."""
    if threshold.metric in TIMES:
        return statistic(tally.times[threshold.metric], threshold.stat)
    return numbers(tally, seconds)[threshold.metric]


@attrs.frozen
class Spread:
    """A figure over repetitions."""

    value: float
    """The mean of the repetitions' own values."""
    low: float | None = None
    """95 % confidence by Student's t; None with a single repetition."""
    high: float | None = None


def spread(values: Sequence[float]) -> Spread | None:
    """None without any value."""
    if not values:
        return None
    middle = mean(values)
    if len(values) < 2:
        return Spread(middle)
    freedom = len(values) - 1
    t = _T95[freedom - 1] if freedom <= len(_T95) else 1.96
    half = t * stdev(values) / sqrt(len(values))
    return Spread(middle, middle - half, middle + half)


def summary(runs: Sequence[LoadRun], model: str = ALL) -> dict[str, Any]:
    """Every figure of one model over the repetitions of a phase, as JSON values.

    Distributions are over all repetitions together; `ci95` is of the repetitions' own values.
    """
    whole = Tally()
    found = [(s.tallies[model], s.seconds) for s in runs if model in s.tallies]
    for tally, _ in found:
        whole.merge(tally)
    return {
        "requests": whole.requests,
        "ok": whole.outcomes[OK],
        "failed": whole.outcomes[FAILED],
        "cancelled": whole.outcomes[CANCELLED],
        "errors_by_category": dict(whole.categories),
        "first_errors": dict(whole.examples),
        "finish_reasons": dict(whole.finish_reasons),
        "attempts": whole.counts["attempts"],
        "content_events": whole.counts["content_events"],
        "events_per_read": _ratio(whole.counts["content_events"], whole.counts["reads"]),
        "input_tokens": whole.counts["input_tokens"],
        "output_tokens": whole.counts["output_tokens"],
        "requests_with_usage": whole.counts["with_usage"],
        "requests_with_cost": whole.counts["priced"],
        "numbers": {name: _number(name, whole, found) for name in NUMBERS},
        "times": {name: _time(name, whole, found) for name in TIMES},
    }


def _ratio(a: float, b: float) -> float | None:
    return round(a / b, 3) if b else None


def _number(name: str, whole: Tally, found: Sequence[tuple[Tally, float]]) -> dict[str, Any]:
    values = [numbers(tally, seconds)[name] for tally, seconds in found]
    known = [value for value in values if value is not None]
    if name == "cost" and known:
        return {"value": whole.cost_usd, "ci95": None}
    return _spread(spread(known))


def _time(name: str, whole: Tally, found: Sequence[tuple[Tally, float]]) -> dict[str, Any]:
    histogram = whole.times[name]
    medians = [statistic(tally.times[name], "p50") for tally, _ in found]
    tails = [statistic(tally.times[name], "p99") for tally, _ in found]
    return {
        "count": histogram.count,
        "exact": histogram.exact,
        **{stat: _rounded(statistic(histogram, stat)) for stat in STATS},
        "ci95": {
            "p50": _spread(spread([m for m in medians if m is not None]))["ci95"],
            "p99": _spread(spread([t for t in tails if t is not None]))["ci95"],
        },
        "distribution": [[_rounded(at), n] for at, n in histogram.filled()],
    }


def _spread(found: Spread | None) -> dict[str, Any]:
    if found is None:
        return {"value": None, "ci95": None}
    bounds = None if found.low is None else [_rounded(found.low), _rounded(found.high)]
    return {"value": _rounded(found.value), "ci95": bounds}


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")
