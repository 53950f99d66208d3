"""What an SLO or a check says: `ttft.p99<1s, errors<1%`. Parsed once, every mistake reported.

A threshold is METRIC.STATISTIC for a distribution, METRIC alone for a number, then one of
< <= > >=, then a value with its unit: s, ms, us for times, % or none for shares.
"""

import operator
import re
from collections.abc import Callable, Mapping

import attrs

TIMES: Mapping[str, str] = {
    "queue": "from the intended time to the slots",
    "ttft": "from the intended time to the first token",
    "ttft_send": "from the sending of the request to the first token",
    "second": "from the intended time to the second token",
    "itl": "between content events; events of one read have one gap and zeros",
    "itl_read": "between reads that brought content",
    "tpot": "time per output token: (last - first) / (n - 1)",
    "e2e": "from the intended time to the end",
}
"""Distributions, in seconds."""
NUMBERS: Mapping[str, str] = {
    "errors": "share of requests that failed",
    "rps": "complete answers per second",
    "tokens_per_second": "output tokens per second, all streams together",
    "stream_tokens_per_second": "output tokens per second of a stream, on average",
    "goodput": "answers per second that kept every time of the SLO",
    "cost": "USD",
    "retries": "attempts beyond the first, per request",
}
_ALIASES = {"latency": "e2e", "duration": "e2e", "error_rate": "errors", "inter_token": "itl"}
_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "%": 0.01, "": 1.0}
_TERM = re.compile(
    r"(?P<metric>[a-z0-9_]+)(?:\.(?P<stat>[a-z0-9.]+))?\s*(?P<op><=|>=|<|>)\s*"
    r"(?P<value>[0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*(?P<unit>s|ms|us|%|)"
)
_PERCENTILE = re.compile(r"p([0-9]{1,2}(?:\.[0-9]{1,3})?)")
MAX_TERMS = 50


def shown(seconds: float | None) -> str:
    """A time as people read it."""
    if seconds is None:
        return "-"
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} us"
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms"
    return f"{seconds:.3g} s"


class ThresholdError(ValueError):
    """What is wrong with an expression, one line a mistake."""


@attrs.frozen
class Threshold:
    """One comparison."""

    metric: str
    stat: str
    """mean, min, max or pNN for a distribution; empty for a number."""
    op: str
    value: float
    """In seconds, or as a share."""
    text: str

    def holds(self, found: float) -> bool:
        """Whether `found` satisfies it."""
        return _OPERATORS[self.op](found, self.value)

    def said(self, found: float) -> str:
        """A measured value in the unit that its metric has."""
        if self.metric in TIMES:
            return shown(found)
        return f"{found * 100:.3g} %" if self.metric == "errors" else f"{found:.4g}"

    @property
    def quantile(self) -> float | None:
        """The share that pNN names."""
        return quantile_of(self.stat)


def quantile_of(stat: str) -> float | None:
    """0.99 for p99, 0.999 for p99.9; None for what is not a percentile."""
    match = _PERCENTILE.fullmatch(stat)
    return float(match[1]) / 100 if match else None


def parse(text: str) -> tuple[Threshold, ...]:
    """The thresholds of `text`, separated by commas.

    Raises:
        TermError: every mistake, and what would be right.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    problems: list[str] = []
    if not parts:
        problems.append("is empty; for example ttft.p99<1s")
    if len(parts) > MAX_TERMS:
        problems.append(f"has {len(parts)} thresholds, at most {MAX_TERMS} are taken")
    thresholds = []
    for part in parts[:MAX_TERMS]:
        try:
            thresholds.append(_term(part))
        except ThresholdError as error:
            problems.append(f"{part!r:.60}: {error}")
    if problems:
        raise ThresholdError("\n".join(problems))
    return tuple(thresholds)


def _term(part: str) -> Threshold:
    match = _TERM.fullmatch(part)
    if match is None:
        raise ThresholdError("write METRIC.STATISTIC<VALUE, for example itl.p95<80ms or errors<1%")
    metric = _ALIASES.get(match["metric"], match["metric"])
    stat, unit = match["stat"] or "", match["unit"]
    if metric in TIMES:
        if stat not in ("mean", "min", "max") and quantile_of(stat) is None:
            msg = f"{metric} needs a statistic: {metric}.p50, .p99, .mean, .min or .max"
            raise ThresholdError(msg)
        if unit == "%":
            msg = f"{metric} is a time; write it in s, ms or us"
            raise ThresholdError(msg)
    elif metric in NUMBERS:
        if stat:
            msg = f"{metric} is one number and has no .{stat}"
            raise ThresholdError(msg)
        if unit and unit != "%":
            msg = f"{metric} is no time; leave {unit!r} out"
            raise ThresholdError(msg)
    else:
        known = ", ".join([*TIMES, *NUMBERS])
        msg = f"there is no metric {metric!r}; there is {known}"
        raise ThresholdError(msg)
    return Threshold(metric, stat, match["op"], float(match["value"]) * _UNITS[unit], part)
