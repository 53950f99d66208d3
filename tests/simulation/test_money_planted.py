"""Planted defects of money: the world's own checks find each of them."""

from typing import Any

import pytest
import trio

from streamnursery import Engine, EngineError
from streamnursery.core.money.ledger import Ledger
from streamnursery.scheduler.money.spending import AttemptReservation
from streamnursery.testing import World
from streamnursery.values.spending import Figures, LedgerRow

CONFIG = {
    "endpoints": {"main": {"url": "http://sim.test/v1"}},
    "models": {
        "gpt-4.1": {
            "routes": [{"endpoint": "main"}],
            "price": {"input": "0", "output": "1000"},
        }
    },
    "budgets": {"daily": "0.02"},
}


def found() -> str:
    """What is wrong with a world of five requests at once and money for two."""

    async def ask(engine: Engine) -> None:
        try:
            await engine.complete("gpt-4.1", "Hi", max_tokens=10)
        except EngineError:
            return

    async def main(world: World) -> None:
        async with world.open_engine(CONFIG) as engine, trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(ask, engine)

    with pytest.raises((AssertionError, BaseExceptionGroup)) as caught:
        World(1).run(main)
    return str(caught.value)


def test_a_reservation_that_is_never_settled_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AttemptReservation, "settle", lambda *_: None)
    assert "reservations of money" in found()


def test_a_hold_that_is_never_dropped_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ledger, "drop", lambda *_: True)
    assert "holds of money" in found()


def test_a_budget_that_nobody_looks_at_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ledger, "shortfall", lambda *_: None)
    monkeypatch.setattr("streamnursery.scheduler.money.ledger_store.shortfall", lambda *_: None)
    assert "are taken of the daily budget" in found()


def test_money_that_is_booked_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    book = Ledger.book

    def twice(ledger: Ledger, row: LedgerRow, change: Figures) -> None:
        book(ledger, row, change)
        if change.spent:
            book(ledger, row, Figures(spent=change.spent))

    monkeypatch.setattr(Ledger, "book", twice)
    told: Any = found()
    assert "account says" in told or "are taken" in told
