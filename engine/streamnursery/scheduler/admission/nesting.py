"""Leases inside of leases: waits that can never end are found when the last of them begins.

Who waits inside of a block that holds slots keeps those slots from others until it has its own. If
all holders of what it waits for are such blocks, nothing is ever given back.

Rule 1: only what cannot end counts. A block holds its slots until its own task, and the tasks of
        nurseries that were opened inside of it, have gone on; tasks elsewhere prove nothing. What
        waits for a date, a running stream, and a wait with a deadline all end.
Rule 2: the newest wait is refused; with its block the others go on.
Rule 3: of tasks outside of trio it is known who began them, and not who waits for them. Where all
        holders are blocks in which waits like it were begun, a warning says so once for each limit.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from math import inf
from typing import TYPE_CHECKING, TypeAlias

import attrs
import trio

from streamnursery.values.errors import NestedLeaseError

if TYPE_CHECKING:
    from streamnursery.scheduler.admission.lease import Lease
    from streamnursery.scheduler.admission.queue import QueuedDemand
    from streamnursery.scheduler.admission.slots import Slots

_log = logging.getLogger("streamnursery")

FindLease: TypeAlias = "Callable[[], Lease | None]"


@attrs.frozen(eq=False)
class Holding:
    """A block that holds slots."""

    owner: object
    """The task or thread that has entered it."""
    nurseries: int
    """That the task had open before."""
    lease: FindLease


holdings: ContextVar[tuple[Holding, ...]] = ContextVar("holdings", default=())
"""Blocks around the current code, and around that which has started its task."""
asker: ContextVar[object] = ContextVar("asker", default=None)
"""The task or thread that has asked for a stream or a lease and is inside of its block."""


def hold(owner: object, lease: FindLease) -> Holding:
    """`owner` has entered a block; call `let_go` when it is left."""
    depth = len(owner.child_nurseries) if isinstance(owner, trio.lowlevel.Task) else 0
    holding = Holding(owner, depth, lease)
    holdings.set((*holdings.get(), holding))
    return holding


def let_go(holding: Holding) -> None:
    """Its block is left. Contexts that were copied meanwhile keep it: its lease is released."""
    found = holdings.get()
    if holding in found:
        holdings.set(tuple(one for one in found if one is not holding))


def held_around() -> tuple["Lease", ...]:
    """The leases that cannot be released before the current task, or who has asked for it, has
    gone on."""
    found = holdings.get()
    if not found:
        return ()
    askers = (trio.lowlevel.current_task(), asker.get())
    return _unreleased(one for one in found if any(_inside(one, each) for each in askers))


def _unreleased(found: Iterable[Holding]) -> tuple["Lease", ...]:
    leases = (one.lease() for one in found)
    return tuple(lease for lease in leases if lease is not None and not lease.released)


def _inside(holding: Holding, task: object) -> bool:
    if task is holding.owner:
        return True
    while isinstance(task, trio.lowlevel.Task) and task.parent_nursery is not None:
        nursery = task.parent_nursery
        task = nursery.parent_task
        if task is holding.owner:
            return nursery in task.child_nurseries[holding.nurseries :]
    return False


@attrs.define(eq=False)
class Nesting:
    """The waits of an admission that hold something."""

    total: "Slots"
    _waits: dict["QueuedDemand", tuple["Lease", ...]] = attrs.field(factory=dict, init=False)
    _begun_inside: dict["QueuedDemand", tuple["Lease", ...]] = attrs.field(factory=dict, init=False)
    """Waits of other event loops and threads, with all leases of the blocks around them."""
    _warned: set[str] = attrs.field(factory=set, init=False)

    def enter(self, waiter: "QueuedDemand") -> NestedLeaseError | None:
        """`waiter` is about to wait; why it must not. To be called in its own task."""
        who = asker.get()
        if waiter.demand.deadline != inf or (who is not None and _is_cut_short(waiter)):
            return None
        held = held_around()
        if held:
            self._waits[waiter] = held
            lacking = self._never(waiter, self._waits)
            if lacking is not None:
                del self._waits[waiter]
                return _error(waiter, lacking, len(held))
        if who is not None and not isinstance(who, trio.lowlevel.Task):
            self._begun_inside[waiter] = _unreleased(holdings.get())
        if self._begun_inside:
            self._warn(waiter)
        return None

    def leave(self, waiter: "QueuedDemand") -> None:
        """It waits no more."""
        self._waits.pop(waiter, None)
        self._begun_inside.pop(waiter, None)

    def _warn(self, newest: "QueuedDemand") -> None:
        lacking = self._never(newest, {**self._waits, **self._begun_inside})
        if lacking is None or lacking in self._warned:
            return
        self._warned.add(lacking)
        _log.warning(
            "%s: this may wait for ever. It was begun inside of a block with slots of this engine, "
            "and all %s are held by blocks in which others were begun that wait like it: it goes "
            "on only if such a block ends without them",
            newest.demand.model,
            lacking,
        )

    def _never(
        self, newest: "QueuedDemand", waits: Mapping["QueuedDemand", tuple["Lease", ...]]
    ) -> str | None:
        """What `newest` will never get, if that is so."""
        stuck = {waiter: held for waiter, held in waits.items() if waiter.lease is None}
        while newest in stuck:
            pinned = {lease for held in stuck.values() for lease in held}
            ends = [waiter for waiter in stuck if self._full(waiter, pinned) is None]
            if not ends:
                return self._full(newest, pinned)
            for waiter in ends:
                del stuck[waiter]
        return None

    def _full(self, waiter: "QueuedDemand", pinned: Iterable["Lease"]) -> str | None:
        """A limit all slots of which are pinned; None: it may get what it waits for."""
        limits: Mapping[str, Slots] = {
            **{limit.name: limit.slots for limit in waiter.path.limits},
            "of the engine": self.total,
        }
        for name, slots in limits.items():
            if slots.taken and not slots.free and set(slots.holders()) <= set(pinned):
                return f"{slots.max_slots} slots {name}"
        return None


def _is_cut_short(waiter: "QueuedDemand") -> bool:
    """Whether a stream's wait ends before the stream: it goes elsewhere then."""
    return trio.current_effective_deadline() < waiter.demand.deadline


def _error(waiter: "QueuedDemand", lacking: str, held: int) -> NestedLeaseError:
    blocks = "a block" if held == 1 else f"{held} blocks"
    return NestedLeaseError(
        f"{waiter.demand.model}: this would wait for ever. It is inside of {blocks} with slots of "
        f"this engine, and all {lacking} are held by blocks that wait like it. Leave the outer "
        "block first, take what is inside under no lease, or raise that limit"
    )
