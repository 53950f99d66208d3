"""What a demand waits for, or would wait for, in words and with a date where there is one."""

from math import inf

import trio

from streamnursery.scheduler.admission.lane import Lane, LaneLimit
from streamnursery.scheduler.admission.queue import AdmissionQueue
from streamnursery.scheduler.admission.slots import UNLIMITED, Slots
from streamnursery.values.admission import Explanation
from streamnursery.values.demand import Demand
from streamnursery.values.snapshot import LimitSnapshot


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


def limit_snapshot(
    limit: LaneLimit, lanes: list[Lane], line: AdmissionQueue, total: Slots
) -> LimitSnapshot:
    """One limit, and those who wait in the `lanes` that lead through it."""
    slots, waits_for = limit.slots, None
    heads = [(lane, head) for lane in lanes if (head := line.head(lane)) is not None]
    if heads:
        lane, head = heads[0]
        waits_for = explain(head.demand, lane, line, total).waits_for
    return LimitSnapshot(
        limit.name.removeprefix("of ").removeprefix("that "),
        slots.taken,
        None if slots.max_slots == UNLIMITED else slots.max_slots,
        queued=sum(line.waiting(lane) for lane in lanes),
        waits_for=waits_for,
        rates=limit.rates.statistics(trio.current_time()),
    )
