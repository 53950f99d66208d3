"""Watches one engine while it runs: attempts against limits, outcomes against requests.

Rule 1: attempts are counted from the engine's own records, and compared with its limits: a test
        that begins one without holding a slot, or keeps on after giving it back, is found out here.
Rule 2: when an attempt begins, no budget is passed but by settlements that overran; and at any time
        the accounts sum up to the rows.
Rule 3: a slot is granted and used in the same instant of virtual time, perhaps with a change of
        the limit between them. So a limit holds from the instant after its change.
"""

from collections import Counter
from typing import TYPE_CHECKING

import trio

from streamnursery.facade import Engine
from streamnursery.scheduler.admission.slots import Slots
from streamnursery.testing.consumers import ConsumerRecord, delivery_of
from streamnursery.testing.money import money_problems
from streamnursery.testing.quiescence import remains
from streamnursery.testing.trace import Trace
from streamnursery.values.errors import ConfigError
from streamnursery.values.lifecycle import (
    AttemptEnded,
    AttemptStarted,
    LifecycleRecord,
    StreamEnded,
)

if TYPE_CHECKING:
    from collections.abc import Callable


class EngineWatch:
    """An observer of lifecycle records that remembers what was wrong."""

    def __init__(self, trace: Trace) -> None:
        self.streams: list[ConsumerRecord] = []
        """Those of this engine."""
        self._problems: list[str] = []
        self._ended: Counter[int] = Counter()
        self._trace = trace
        self._engine: Engine | None = None
        self._running: Counter[str] = Counter()
        self._models: dict[tuple[str, str], str] = {}
        self._kinds: dict[type, Callable[[LifecycleRecord], None]] = {
            AttemptStarted: self._started,
            AttemptEnded: self._attempt_over,
            StreamEnded: self._stream_over,
        }

    def attach(self, engine: Engine) -> None:
        """Look at this engine's limits."""
        self._engine = engine

    def found(self) -> list[str]:
        """Everything that is wrong so far."""
        settled = sum(delivery_of(s.stream).outcome is not None for s in self.streams)
        told = self._ended.total()
        if settled == told:
            return list(self._problems)
        return [*self._problems, f"{settled} requests have an outcome, and {told} were told of"]

    def assert_closed(self) -> None:
        """The engine was closed: nothing of it is left.

        Raises:
            AssertionError: naming what is.
        """
        if self._engine is None:
            return
        left = remains(self._engine, closed=True)
        left += [f"{stream} without an outcome" for stream in self.streams if not stream.over]
        if left:
            msg = "of an engine that was closed there are left: " + "; ".join(left)
            raise AssertionError(msg)

    def __call__(self, record: LifecycleRecord) -> None:
        self._trace.add(record)
        note = self._kinds.get(type(record))
        if note is not None:
            note(record)

    def _started(self, record: LifecycleRecord) -> None:
        assert isinstance(record, AttemptStarted)
        model = self._model(record.model, record.route)
        self._running[model] += 1
        if self._engine is not None:
            self._problems += money_problems(self._engine)
            admission = self._engine._admission
            self._compare(f"of model {model!r}", self._running[model], admission.slots(model))
            self._compare("in all", self._running.total(), admission.total)

    def _compare(self, what: str, running: int, slots: Slots) -> None:
        at = f"at {trio.current_time():.3f} s"
        if running > slots.taken:
            self._problems.append(f"{at} {running} attempts {what} ran with {slots.taken} slots")
        # A limit that was lowered meanwhile lets those finish that had their slots before.
        if max(running, slots.taken) > slots.max_slots and slots.taken_at > slots.changed_at:
            self._problems.append(f"{at} attempts {what} passed the limit of {slots.max_slots}")

    def _attempt_over(self, record: LifecycleRecord) -> None:
        assert isinstance(record, AttemptEnded)
        self._running[self._model(record.model, record.record.route)] -= 1

    def _stream_over(self, record: LifecycleRecord) -> None:
        self._ended[record.request] += 1
        if self._engine is not None:
            self._problems += money_problems(self._engine)
        if self._ended[record.request] > 1:
            self._problems.append(f"request {record.request} has had more than one outcome")

    def _model(self, model: str, route: str) -> str:
        """Whose limits hold on `route` of a request for `model`: a fallback's are its own."""
        key = (model, route)
        if key not in self._models:
            assert self._engine is not None
            try:
                stops = self._engine.plan(model, "-").stops
            except ConfigError:  # served by a session alone
                stops = ()
            self._models[key] = next((s.model for s in stops if str(s.route) == route), model)
        return self._models[key]
