"""What keeps the ledger. `storage` has one that lasts; the one here lasts as long as the engine."""

from collections.abc import Callable
from typing import Protocol

from streamnursery.core.money.ledger import Ledger, Shortfall, shortfall
from streamnursery.core.money.ledger_row import Posting, figures_of
from streamnursery.values.spending import Figures, LedgerRow


class LedgerStore(Protocol):
    """Rows that were reserved, and what became of them."""

    extension_refused: Callable[[str, int, Shortfall], None] | None
    """Called with a row and an amount that it was not extended by: others were quicker."""

    @property
    def owner(self) -> str:
        """Prefix of the ids of the rows that are reserved here."""

    @property
    def shared(self) -> bool:
        """The accounts may hold what other engines have spent."""

    @property
    def pending(self) -> int:
        """Postings that are not written yet."""

    async def open(self) -> None:
        """Be ready.

        Raises:
            StorageError: it cannot be used.
        """

    async def run(self) -> None:
        """What it does in the background, until it is cancelled."""

    async def close(self) -> None:
        """Write what is left; after `run` has ended.

        Raises:
            StorageError: something could not be written.
        """

    async def reserve(self, row: LedgerRow) -> Shortfall | None:
        """Write the row down if every limit has room for it, holds aside, and book it.

        Cancelled or failed, it leaves nothing that counts.

        Raises:
            StorageError: it could not be written.
        """

    async def refresh(self) -> None:
        """Look at what others have spent.

        Raises:
            StorageError: it could not be read.
        """

    def post(self, row: LedgerRow, change: Figures, posting: Posting) -> None:
        """Book news of a row, to be written soon. `row` is as it is after it."""

    def first_alert(self, key: str, tell: Callable[[], None]) -> None:
        """Call `tell` if no process has claimed `key` before."""


class MemoryStore:
    """Forgets with the engine."""

    owner = ""
    shared = False
    pending = 0

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._alerts: dict[str, None] = {}
        self.extension_refused: Callable[[str, int, Shortfall], None] | None = None

    async def open(self) -> None:
        pass

    async def run(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def reserve(self, row: LedgerRow) -> Shortfall | None:
        ledger = self._ledger
        short = None
        if ledger.limits.all:
            about = (row.reserved, row.at, ledger.zone, ledger.figures_of, lambda _: 0)
            short = shortfall(ledger.limits.of(row.payer), *about)
        if short is None:
            ledger.book(row, figures_of(row))
        return short

    async def refresh(self) -> None:
        pass

    def post(self, row: LedgerRow, change: Figures, posting: Posting) -> None:  # noqa: ARG002
        self._ledger.book(row, change)

    def first_alert(self, key: str, tell: Callable[[], None]) -> None:
        if key not in self._alerts:
            self._alerts[key] = None
            if len(self._alerts) > _MAX_ALERTS:
                del self._alerts[next(iter(self._alerts))]
            tell()


_MAX_ALERTS = 10_000
