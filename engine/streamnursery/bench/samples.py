"""What is known of each request, and what all of them come to.

Rule 1: a truncated answer, an error inside a 200 and a refusal by our own limits are failures,
        and only complete answers count as throughput.
Rule 2: what is not known is None and never zero.
Rule 3: a tally has bounded memory, and two of them merge: workers in other processes send theirs.
"""

from array import array
from collections import Counter
from collections.abc import Mapping
from typing import Any

import attrs

from streamnursery.bench.distribution import ExactQuantiles
from streamnursery.bench.thresholds import TIMES, Threshold

OK, FAILED, CANCELLED = "ok", "failed", "cancelled"
SLOT = 1.0
"""Seconds of the load that are counted together over time."""
MAX_SLOTS = 7200
"""What ends later counts into the last of them."""


@attrs.define
class Sample:
    """One request. Times are seconds on the run's clock, from the start of its load."""

    index: int
    model: str
    intended_at: float
    """When it should have begun: its date, or in a closed loop when its user was free."""
    started_at: float
    """When it did: later than intended when the client was late."""
    outcome: str = FAILED
    category: str | None = None
    error: str | None = None
    """The message of its error, where it failed."""
    admitted_at: float | None = None
    sent_at: float | None = None
    """When the attempt that answered was begun."""
    first_at: float | None = None
    second_at: float | None = None
    last_at: float | None = None
    ended_at: float | None = None
    content_events: int = 0
    reads: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    """From the provider's usage; None where it reported none."""
    attempts: int = 0
    cost_usd: float | None = None
    finish_reason: str | None = None
    request_id: str | None = None
    gaps: "array[float]" = attrs.field(factory=lambda: array("d"), repr=False)
    """Seconds between reads with content; the zeros within a read are not listed."""

    @property
    def tokens(self) -> int:
        """Output tokens by the provider's count, else content events."""
        return self.content_events if self.output_tokens is None else self.output_tokens

    def times(self) -> dict[str, float]:
        """The single times that are known, in seconds, by the names of `thresholds.TIMES`."""
        since = {"queue": self.admitted_at, "ttft": self.first_at, "second": self.second_at}
        found = {name: at - self.intended_at for name, at in since.items() if at is not None}
        if self.first_at is not None and self.sent_at is not None:
            found["ttft_send"] = self.first_at - self.sent_at
        if self.first_at is not None and self.last_at is not None and self.tokens > 1:
            found["tpot"] = (self.last_at - self.first_at) / (self.tokens - 1)
        if self.outcome == OK and self.ended_at is not None:
            found["e2e"] = self.ended_at - self.intended_at
        return found

    def line(self) -> dict[str, Any]:
        """As a JSON object, without its gaps."""
        skip = attrs.filters.exclude("gaps")
        return {
            name: round(value, 6) if isinstance(value, float) else value
            for name, value in attrs.asdict(self, filter=skip).items()
        }


class Tally:
    """The samples of one model, or of all, in one phase of load."""

    def __init__(self) -> None:
        self.times = {name: ExactQuantiles() for name in TIMES}
        self.stream_speed = ExactQuantiles()
        """Output tokens per second of each complete stream, recorded as 1/1000 of its value."""
        self.outcomes: Counter[str] = Counter()
        self.categories: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        """Of each category the first error, in words."""
        self.finish_reasons: Counter[str] = Counter()
        self.good = 0
        """Complete answers that kept every time of the SLO."""
        self.counts: Counter[str] = Counter()
        self.cost_usd = 0.0
        self.ends: dict[str, Counter[str]] = {OK: Counter(), FAILED: Counter(), "tokens": Counter()}
        """What ended in each `SLOT` seconds of the load, by the number of the slot as text."""

    @property
    def requests(self) -> int:
        return sum(self.outcomes.values())

    def add(self, sample: Sample, slo: tuple[Threshold, ...] = ()) -> None:
        """Count one request."""
        self.outcomes[sample.outcome] += 1
        if sample.outcome == FAILED:
            category = sample.category or "engine_error"
            self.categories[category] += 1
            self.examples.setdefault(category, sample.error or "")
        self._add_counts(sample)
        self._add_end(sample)
        times = sample.times()
        for name, seconds in times.items():
            self.times[name].add(seconds)
        for gap in sample.gaps:
            self.times["itl_read"].add(gap)
            self.times["itl"].add(gap)
        within = sample.content_events - sample.reads
        if within > 0:
            self.times["itl"].add(0.0, within)
        if sample.outcome != OK:
            return
        self.finish_reasons[sample.finish_reason or "none"] += 1
        if times.get("tpot"):
            self.stream_speed.add(1e-3 / times["tpot"])
        self.good += keeps(sample, times, slo)

    def _add_counts(self, sample: Sample) -> None:
        counts = self.counts
        counts["content_events"] += sample.content_events
        counts["reads"] += sample.reads
        counts["output_tokens"] += sample.tokens
        counts["with_usage"] += sample.output_tokens is not None
        counts["input_tokens"] += sample.input_tokens or 0
        counts["attempts"] += sample.attempts
        counts["retries"] += max(0, sample.attempts - 1)
        if sample.cost_usd is not None:
            counts["priced"] += 1
            self.cost_usd += sample.cost_usd

    def _add_end(self, sample: Sample) -> None:
        if sample.ended_at is None or sample.outcome == CANCELLED:
            return
        slot = str(min(MAX_SLOTS, int(sample.ended_at / SLOT)))
        self.ends[sample.outcome][slot] += 1
        self.ends["tokens"][slot] += sample.tokens

    def merge(self, other: "Tally") -> None:
        """Add what `other` has counted."""
        for name, histogram in self.times.items():
            histogram.merge(other.times[name])
        self.stream_speed.merge(other.stream_speed)
        for name in ("outcomes", "categories", "finish_reasons", "counts"):
            getattr(self, name).update(getattr(other, name))
        for name, slots in self.ends.items():
            slots.update(other.ends[name])
        self.examples = {**other.examples, **self.examples}
        self.good += other.good
        self.cost_usd += other.cost_usd

    def packed(self) -> dict[str, Any]:
        """As JSON values that `unpacked` reads, for another process."""
        return {
            "times": {name: h.packed() for name, h in self.times.items()},
            "stream_speed": self.stream_speed.packed(),
            **{
                name: dict(getattr(self, name))
                for name in ("outcomes", "categories", "finish_reasons", "counts")
            },
            "ends": {name: dict(slots) for name, slots in self.ends.items()},
            "examples": self.examples,
            "good": self.good,
            "cost_usd": self.cost_usd,
        }

    @classmethod
    def unpacked(cls, packed: Mapping[str, Any]) -> "Tally":
        """The inverse of `packed`."""
        tally = cls()
        tally.times = {name: ExactQuantiles.unpacked(h) for name, h in packed["times"].items()}
        tally.stream_speed = ExactQuantiles.unpacked(packed["stream_speed"])
        for name in ("outcomes", "categories", "finish_reasons", "counts"):
            getattr(tally, name).update(packed[name])
        for name, slots in packed["ends"].items():
            tally.ends[name].update(slots)
        tally.examples.update(packed["examples"])
        tally.good, tally.cost_usd = packed["good"], packed["cost_usd"]
        return tally


def keeps(sample: Sample, times: Mapping[str, float], slo: tuple[Threshold, ...]) -> bool:
    """Whether one complete answer keeps every time of `slo` by itself.

    Of a time that each request has once, its own value is compared and the statistic is left
    aside; of gaps, the statistic over its own. Terms that are not times do not speak of a request.
    """
    for threshold in slo:
        if threshold.metric in ("itl", "itl_read"):
            gaps = ExactQuantiles()
            for gap in sample.gaps:
                gaps.add(gap)
            if threshold.metric == "itl" and sample.content_events > sample.reads:
                gaps.add(0.0, sample.content_events - sample.reads)
            found = statistic(gaps, threshold.stat)
        elif threshold.metric in TIMES:
            found = times.get(threshold.metric)
        else:
            continue
        if found is not None and not threshold.holds(found):
            return False
    return True


def statistic(found: ExactQuantiles, stat: str, *, rough: bool = False) -> float | None:
    """`stat` of a distribution, in constant time if `rough`; None where nothing was recorded."""
    if not found.count:
        return None
    match stat:
        case "mean":
            return found.mean
        case "min":
            return found.smallest
        case "max":
            return found.largest
        case _:
            q = float(stat[1:]) / 100
            return found.rough_quantile(q) if rough else found.quantile(q)
