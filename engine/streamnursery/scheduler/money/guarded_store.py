"""A ledger store of the caller's: an exception out of it is a `StorageError` of one request.

Rule 1: `reserve` and `refresh` fail the request that called them.
Rule 2: news that could not be posted is money whose books are wrong: nothing is reserved any more.
"""

from collections.abc import Callable

from streamnursery.core.money.ledger import Shortfall
from streamnursery.core.money.ledger_row import Posting
from streamnursery.scheduler.money.ledger_store import LedgerStore
from streamnursery.values.errors import StorageError
from streamnursery.values.spending import Figures, LedgerRow


class GuardedStore:
    """A `LedgerStore` around one that was given to `open_engine`."""

    def __init__(self, inner: LedgerStore) -> None:
        self._inner = inner
        self._who = f"the ledger store {type(inner).__name__}"
        self._broken: StorageError | None = None

    @property
    def owner(self) -> str:
        return self._inner.owner

    @property
    def shared(self) -> bool:
        return self._inner.shared

    @property
    def pending(self) -> int:
        return self._inner.pending

    @property
    def extension_refused(self) -> Callable[[str, int, Shortfall], None] | None:
        return self._inner.extension_refused

    @extension_refused.setter
    def extension_refused(self, call: Callable[[str, int, Shortfall], None] | None) -> None:
        self._inner.extension_refused = call

    async def open(self) -> None:
        try:
            await self._inner.open()
        except Exception as error:
            raise self._failure("open", error) from error

    async def run(self) -> None:
        try:
            await self._inner.run()
        except Exception as error:  # noqa: BLE001 - foreign code, whatever it raises
            self._broken = self._failure("run", error)

    async def close(self) -> None:
        try:
            await self._inner.close()
        except Exception as error:
            raise self._failure("close", error) from error
        if self._broken is not None:
            raise self._broken

    async def reserve(self, row: LedgerRow) -> Shortfall | None:
        if self._broken is not None:
            raise self._broken
        try:
            return await self._inner.reserve(row)
        except Exception as error:
            raise self._failure("reserve", error) from error

    async def refresh(self) -> None:
        try:
            await self._inner.refresh()
        except Exception as error:
            raise self._failure("refresh", error) from error

    def post(self, row: LedgerRow, change: Figures, posting: Posting) -> None:
        try:
            self._inner.post(row, change, posting)
        except Exception as error:  # noqa: BLE001 - foreign code, whatever it raises
            self._broken = self._failure("post", error)

    def first_alert(self, key: str, tell: Callable[[], None]) -> None:
        try:
            self._inner.first_alert(key, tell)
        except Exception as error:  # noqa: BLE001 - foreign code, whatever it raises
            self._broken = self._failure("first_alert", error)

    def _failure(self, method: str, error: Exception) -> StorageError:
        if isinstance(error, StorageError):
            return error
        failure = StorageError(f"{self._who}.{method} raised {type(error).__name__}; see __cause__")
        failure.__cause__ = error
        return failure
