"""Records of how far a budget is used, each once in a window, by one of all engines.

A hard budget refuses before its last hundredth is spent, because every request reserves its worst
case: the first refusal shows that it is at its end.
"""

from collections.abc import Callable, Sequence
from functools import partial

import attrs

from streamnursery.core.money.ledger import Ledger, Shortfall
from streamnursery.scheduler.money.ledger_store import LedgerStore
from streamnursery.supervisor.ports import Recorder
from streamnursery.values.lifecycle import BudgetAlert
from streamnursery.values.spending import LedgerRow


@attrs.frozen
class BudgetAlerts:
    """Of one engine."""

    _percents: Sequence[int]
    _ledger: Ledger
    _store: LedgerStore
    _recorder: Recorder
    _now: Callable[[], float]

    def settled(self, row: LedgerRow, wall: float) -> None:
        """An attempt has ended: which thresholds have been reached."""
        if not self._ledger.limits.all:
            return
        limits = self._ledger.limits.of(row.payer)
        for limit, window in self._ledger.current(limits, wall) if limits else ():
            standing = self._ledger.standing(limit, window, wall)
            for percent in self._percents:
                if (standing.percent or 0.0) >= percent:
                    record = BudgetAlert(
                        self._now(), row.request, row.payer.model, percent, standing
                    )
                    self._tell(f"{limit.scope}/{limit.name}/{window.key}/{percent}", record)

    def refused(self, short: Shortfall, request: int, model: str, wall: float) -> None:
        """A request was refused for want of room."""
        if not self._percents:
            return
        limit, window = short.limit, short.window
        standing = self._ledger.standing(limit, window, wall)
        record = BudgetAlert(self._now(), request, model, 100, standing, refused=True)
        self._tell(f"{limit.scope}/{limit.name}/{window.key}/refused", record)

    def _tell(self, key: str, record: BudgetAlert) -> None:
        self._store.first_alert(key, partial(self._recorder.emit, record))
