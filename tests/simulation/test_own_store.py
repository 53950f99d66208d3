"""A ledger store of the caller's own: used for every budget, and kept from ending the engine."""

from collections.abc import Callable
from typing import Any

import pytest

from streamnursery import BudgetExceededError, ConfigError, StorageError, open_engine
from streamnursery.core.money.ledger import Ledger
from streamnursery.scheduler.money.ledger_store import MemoryStore
from streamnursery.values.spending import LedgerRow
from tests.support.scene import virtual

PRICED = {
    "models": {"sim/fast": {"price": {"input": "0", "output": "1000"}}},
    "budgets": {"daily": "1"},
}


class OwnStore(MemoryStore):
    """Remembers what it was asked, and fails where it is told to."""

    def __init__(self, ledger: Ledger, fails: str = "") -> None:
        super().__init__(ledger)
        self.rows: list[LedgerRow] = []
        self.posted = 0
        self.opened = self.closed = False
        self.fails = fails

    def _pass(self, method: str) -> None:
        if self.fails == method:
            raise ZeroDivisionError(method)

    async def open(self) -> None:
        self._pass("open")
        self.opened = True

    async def run(self) -> None:
        self._pass("run")

    async def close(self) -> None:
        self._pass("close")
        self.closed = True

    async def reserve(self, row: LedgerRow) -> Any:
        self._pass("reserve")
        self.rows.append(row)
        return await super().reserve(row)

    def post(self, *args: Any) -> None:
        self._pass("post")
        self.posted += 1
        super().post(*args)


def made(fails: str = "") -> tuple[Callable[[Ledger], OwnStore], list[OwnStore]]:
    stores: list[OwnStore] = []

    def make(ledger: Ledger) -> OwnStore:
        stores.append(OwnStore(ledger, fails))
        return stores[-1]

    return make, stores


@virtual
async def test_it_reserves_and_settles_every_attempt() -> None:
    make, stores = made()
    async with open_engine(PRICED, store=make, seed=1) as eng:
        await eng.complete("sim/fast", "Hi", max_tokens=10)
        with pytest.raises(BudgetExceededError):
            await eng.complete("sim/fast", "Hi", max_tokens=5000)
    (store,) = stores
    assert store.opened
    assert store.closed
    assert [row.payer.model for row in store.rows] == ["sim/fast"]
    assert store.posted > 0


@pytest.mark.parametrize("method", ["reserve", "run", "post"])
def test_an_exception_out_of_it_fails_requests_and_not_the_engine(method: str) -> None:
    @virtual
    async def main() -> None:
        make, _ = made(method)
        told = rf"the ledger store OwnStore.{method} raised ZeroDivisionError"
        engine = open_engine(PRICED, store=make, seed=1)
        eng = await engine.__aenter__()
        outcomes = [await settled(eng) for _ in range(2)]
        assert isinstance(outcomes[-1], StorageError)
        assert method == "reserve" or outcomes[0] is None or method == "run"
        assert str(outcomes[-1]).startswith(f"the ledger store OwnStore.{method}")
        if method == "reserve":
            await engine.__aexit__(None, None, None)
        else:
            with pytest.raises(StorageError, match=told):
                await engine.__aexit__(None, None, None)

    main()


async def settled(eng: Any) -> Exception | None:
    try:
        await eng.complete("sim/fast", "Hi", max_tokens=10)
    except StorageError as error:
        return error
    return None


@virtual
async def test_one_that_cannot_be_opened_is_a_storage_error() -> None:
    make, _ = made("open")
    with pytest.raises(StorageError, match=r"OwnStore\.open raised ZeroDivisionError"):
        async with open_engine(PRICED, store=make):
            pass


@virtual
async def test_a_store_and_a_file_exclude_each_other() -> None:
    make, _ = made()
    config = {**PRICED, "budgets": {"daily": "1", "ledger": "/tmp/ledger.db"}}
    with pytest.raises(ConfigError, match="keep one of them"):
        async with open_engine(config, store=make):
            pass
