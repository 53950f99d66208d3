"""What a demand waits for, or would wait for, in words and with a date where there is one."""

from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import TypeAlias

import trio

from streamnursery.scheduler.admission.lane import Lane, LaneTable
from streamnursery.scheduler.admission.queue import AdmissionQueue
from streamnursery.scheduler.admission.slots import UNLIMITED, Slots
from streamnursery.values.admission import Explanation
from streamnursery.values.demand import Demand
from streamnursery.values.lazy import LazySequence
from streamnursery.values.snapshot import LimitSnapshot
from streamnursery.values.statistics import RateStatistics

_Taken: TypeAlias = tuple[
    str, int, int, int, Callable[[], str | None] | None, Callable[[], tuple[RateStatistics, ...]]
]
"""Name, slots that are taken, slots, how many wait, what for, and its rates."""


def explain(demand: Demand, lane: Lane, line: AdmissionQueue, total: Slots) -> Explanation:
    """Of a demand that waits, or of a new one like it."""
    limit, date = _binding(demand, lane, line, total)
    now = trio.current_time()
    return Explanation(
        demand.model,
        demand.endpoint,
        limit,
        earliest=max(0.0, date - now) if date < inf else None,
        ahead=line.waiting(lane),
        input_tokens=demand.input_tokens,
        output_tokens=demand.output_tokens,
    )


def _binding(
    demand: Demand, lane: Lane, line: AdmissionQueue, total: Slots
) -> tuple[str | None, float]:
    now = trio.current_time()
    blocked = lane.blocked_by(demand, now)
    if blocked is not None:
        return str(blocked), blocked.date
    if not total.free:
        return f"a global slot ({total.taken} of {total.max_slots} taken)", inf
    head = line.head(lane)
    if head is None:
        return None, now
    behind = f"its turn behind {line.waiting(lane)} others for model {demand.model!r}"
    first = lane.blocked_by(head.demand, now)
    if first is None:
        return behind, inf
    return f"{behind}, the first of whom waits for {first}", first.date


def limit_snapshots(
    lanes: LaneTable, line: AdmissionQueue, total: Slots
) -> Sequence[LimitSnapshot]:
    """Every limit, the engine's first: taken at once, and put into words where it is read."""
    now, queued = trio.current_time(), line.length
    through = lanes.by_limit() if queued else {}
    taken: list[_Taken] = [("engine", total.taken, total.limit, queued, None, tuple)]
    for limit in lanes.all():
        length, waits_for = 0, None
        if limit in through:
            length = sum(map(line.waiting, through[limit]))
            waits_for = partial(_waits_for, through[limit], line, total)
        slots, rates = limit.slots, limit.rates
        kept = rates.keep(now) if rates.buckets else tuple
        taken.append((limit.name, slots.taken, slots.limit, length, waits_for, kept))
    return LazySequence(taken, _made)


def _made(kept: _Taken) -> LimitSnapshot:
    name, taken, slots, queued, waits_for, rates = kept
    return LimitSnapshot(
        name.removeprefix("of ").removeprefix("that "),
        taken,
        None if slots == UNLIMITED else slots,
        queued,
        waits_for=waits_for() if waits_for is not None else None,
        rates=rates(),
    )


def _waits_for(lanes: Sequence[Lane], line: AdmissionQueue, total: Slots) -> str | None:
    for lane in lanes:
        head = line.head(lane)
        if head is not None:
            return explain(head.demand, lane, line, total).waits_for
    return None
