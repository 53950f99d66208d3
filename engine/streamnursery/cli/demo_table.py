"""The demo's figures as cells: one row per model and one for all of them."""

from collections.abc import Sequence

import attrs

from streamnursery.cli.demo_load import Load
from streamnursery.cli.tables import aligned
from streamnursery.core.limits.rate_buckets import KINDS
from streamnursery.core.measure.histogram import Histogram
from streamnursery.values.statistics import EngineStatistics, ModelStatistics

ALL = "all"


@attrs.frozen
class Column:
    """A column of the table."""

    key: str
    title: str
    """Two lines at most."""
    wide: int = 0
    """Shown from this many columns of the terminal on."""


LIVE = (
    Column("model", "model"),
    Column("slots", "in flight\n/limit"),
    Column("queued", "queued"),
    Column("done", "done"),
    Column("failed", "failed"),
    Column("backoff", "backing\noff", 100),
    Column("retries", "re-\ntries", 90),
    Column("fallbacks", "fall-\nbacks", 90),
    Column("queue", "in queue s\np50/p99", 120),
    Column("ttft", "TTFT s\np50/p99", 60),
    Column("speed", "tokens/s", 70),
    Column("limited", "limited by", 78),
)
FINAL = (
    Column("model", "model"),
    Column("peak", "peak\n/limit"),
    Column("done", "done"),
    Column("failed", "failed"),
    Column("retries", "re-\ntries", 70),
    Column("fallbacks", "fall-\nbacks", 70),
    Column("queue", "in queue s\np50/p99", 80),
    Column("ttft", "TTFT s\np50/p99"),
    Column("speed", "tokens/s"),
)
_TITLES = 25
"""Columns of a terminal that titles on one line cost."""
CAPTION = "TTFT counts from the first slot on, retries included. tokens/s: all streams."


@attrs.frozen
class Row:
    """One model, or all of them."""

    name: str
    statistics: ModelStatistics
    done: int
    failed: int
    first_token: Histogram
    limited_by: str
    tokens_per_second: float


class Speeds:
    """Tokens per second over the last second or so, by model; counted in content events."""

    def __init__(self) -> None:
        self._seen: dict[str, list[tuple[float, int]]] = {}

    def now(self, name: str, seconds: float, events: int) -> float:
        """The speed at `seconds`, when `events` have come in all."""
        seen = self._seen.setdefault(name, [(0.0, 0)])
        seen.append((seconds, events))
        while len(seen) > 2 and seen[1][0] <= seconds - 1:
            del seen[0]
        before, count = seen[0]
        return (events - count) / (seconds - before) if seconds > before else 0.0


def rows(load: Load, speeds: Speeds | None = None) -> list[Row]:
    """Where the load stands; without `speeds` the average of the whole run, by usage."""
    statistics = load.statistics
    if statistics is None:
        return []
    together = Histogram()
    found = []
    for model in load.plan.limits:
        together.merge(load.first_token[model])
        # A model that was not used yet has no figures.
        own = statistics.models.get(model, ModelStatistics(max_streams=load.plan.limits[model]))
        limited = limited_by(model, own, statistics)
        first = load.first_token[model]
        speed = _speed(load, model, own, speeds)
        found.append(
            Row(model, own, load.finished[model], load.failed[model], first, limited, speed)
        )
    total = statistics.total
    speed = _speed(load, ALL, total, speeds)
    done, failed = sum(load.finished.values()), len(load.errors)
    found.append(Row(ALL, total, done, failed, together, "", speed))
    return found


def _speed(load: Load, name: str, own: ModelStatistics, speeds: Speeds | None) -> float:
    if speeds is not None:
        return speeds.now(name, load.seconds, own.content_events)
    return own.output_tokens / load.seconds if load.seconds else 0.0


def limited_by(model: str, own: ModelStatistics, statistics: EngineStatistics) -> str:
    """What keeps a model from running more streams right now."""
    for name, route in statistics.routes.items():
        if name.partition("/")[2] == model:
            if route.circuit != "closed":
                return "breaker"
            if route.paused_until is not None:
                return "its 429"
    if not own.queued:
        return ""
    if own.active >= own.max_streams:
        return "own limit"
    for kind in KINDS:
        if own.limit is not None and own.limit.startswith(f"{kind} = "):
            return kind
    total = statistics.total
    return "all models" if total.active >= total.max_streams else "its turn"


def cell(row: Row, key: str) -> str:
    """What stands in the column `key`."""
    own = row.statistics
    first = row.first_token
    cells = {
        "model": row.name,
        "slots": f"{own.active}/{own.max_streams}",
        "peak": f"{own.peak_active}/{own.max_streams}",
        "queued": str(own.queued),
        "done": str(row.done),
        "failed": str(row.failed),
        "backoff": str(_backing_off(own)),
        "retries": str(own.retries),
        "fallbacks": str(own.reroutes),
        "queue": _pair(own.queue_time.p50, own.queue_time.p99),
        "ttft": _pair(first.quantile(0.5), first.quantile(0.99)),
        "speed": f"{row.tokens_per_second:.0f}",
        "limited": row.limited_by,
    }
    return cells[key]


def _backing_off(own: ModelStatistics) -> int:
    """Requests that have not ended and hold no slot and wait for none."""
    ended = own.succeeded + own.failed + own.cancelled
    # Below zero where a model answers for others: slots go by who answers, the rest by who was
    # asked.
    return max(0, own.requests - ended - own.active - own.queued)


def _pair(p50: float | None, p99: float | None) -> str:
    return "-" if p50 is None or p99 is None else f"{p50:.2f}/{p99:.2f}"


def columns(all_columns: Sequence[Column], width: int) -> list[Column]:
    """Those that a terminal of this width has room for."""
    return [column for column in all_columns if column.wide <= width]


def plain_table(load: Load, width: int) -> str:
    """The final table as aligned text, the first column to the left and the others to the right.

    Titles take one line here, and with it more of the `width`.
    """
    shown = columns(FINAL, width - _TITLES)
    titles = [column.title.replace("-\n", "").replace("\n/", "/") for column in shown]
    lines = [[title.replace("\n", " ") for title in titles]]
    lines += [[cell(row, column.key) for column in shown] for row in rows(load)]
    return aligned(lines, right=range(1, len(shown)))
