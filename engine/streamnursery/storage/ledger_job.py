"""One entry on the queue to a ledger's file."""

from collections.abc import Callable

import attrs
import trio

from streamnursery.core.money.ledger import Shortfall
from streamnursery.core.money.ledger_row import Posting
from streamnursery.values.errors import StorageError
from streamnursery.values.spending import Figures, LedgerRow


@attrs.define(eq=False)
class LedgerJob:
    """What is to be written or read. Empty, it reads the figures."""

    row: LedgerRow | None = None
    """As it is after the entry; a reservation where there is no posting."""
    change: Figures | None = None
    """Booked in memory, and in no transaction yet."""
    posting: Posting | None = None
    sent: bool = True
    """The posting is about an attempt that may have left, and takes no reservation back."""
    alert: str = ""
    tell: Callable[[], None] | None = None
    beat: bool = False
    """The owner still lives; those that do not are buried."""
    done: trio.Event | None = None
    """Set when it is written, if that is waited for."""
    since: float = 0.0
    """When the wait began, on trio's clock."""
    short: Shortfall | None = None
    first: bool = False
    error: StorageError | None = None
    left: bool = False
    """The task that waited for it was cancelled."""

    @property
    def writes(self) -> bool:
        return self.row is not None or bool(self.alert) or self.beat

    @property
    def news(self) -> bool:
        """It must be written, also when it is not waited for."""
        return self.posting is not None or bool(self.alert)
