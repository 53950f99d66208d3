"""Ledger, owners and PID namespaces against a checker: no owner that lives is buried, none that is
dead keeps money, and the books are the sums of the rows."""

import os
import sqlite3
from datetime import UTC
from typing import Literal

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streamnursery.core.money.ledger_row import News, Posting
from streamnursery.storage.ledger_book import Book
from streamnursery.storage.ledger_checks import check_sums
from streamnursery.storage.ledger_upkeep import Upkeep
from streamnursery.storage.owners import Owner
from streamnursery.storage.schema import prepare
from tests.support.ledgers import DAY, at, book_of, row

ENOUGH = {"test": (25, 25), "proof": (150, 40), "soak": (3000, 60)}
EXAMPLES, STEPS = ENOUGH[os.environ.get("STREAMNURSERY_TIER", "test")]
DAYS = ["2026-10-31", "2026-11-01", "2026-11-30"]


@attrs.define
class Process:
    """An owner as the checker knows it."""

    owner: Owner
    alive: bool = True
    entered: bool = False
    rows: list[str] = attrs.field(factory=list)


class OwnersMachine(RuleBasedStateMachine):
    """Processes of three namespaces open, reserve, end rows, die, and bury each other."""

    def __init__(self) -> None:
        super().__init__()
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.processes: list[Process] = []
        self.states: dict[str, Literal["open", "uncertain", "over"]] = {}
        self.reserved_at: dict[str, float] = {}
        self.number = 0

    @initialize()
    def create(self) -> None:
        prepare(self.connection, lambda _: False)

    def transaction(self) -> Book:
        self.connection.execute("BEGIN IMMEDIATE")
        return book_of(self.connection)

    def commit(self, book: Book) -> None:
        book.save()
        self.connection.execute("COMMIT")

    def sees(self, owner: Owner) -> bool:
        """What the locks of the owners tell in every namespace."""
        return any(p.alive and p.owner.id == owner.id for p in self.processes)

    def bury(self, book: Book, me: str) -> None:
        book.bury(self.sees, but=me)
        for process in self.processes:
            if not process.alive:
                for name in process.rows:
                    if self.states[name] == "open":
                        self.states[name] = "uncertain"

    @rule(namespace=st.sampled_from("abc"))
    def open(self, namespace: str) -> None:
        self.number += 1
        # The same process id in each namespace: it says nothing.
        owner = Owner(f"o{self.number}", 1, "7", "boot", namespace, 0.0)
        process = Process(owner)
        self.processes.append(process)
        book = self.transaction()
        book.enter(owner)
        process.entered = True
        self.bury(book, owner.id)
        self.commit(book)

    def some(self, data: st.DataObject) -> Process:
        return data.draw(st.sampled_from([p for p in self.processes if p.alive]))

    @precondition(lambda self: any(p.alive for p in self.processes))
    @rule(data=st.data(), day=st.sampled_from(DAYS), amount=st.integers(0, 100))
    def reserve(self, data: st.DataObject, day: str, amount: int) -> None:
        process = self.some(data)
        self.number += 1
        name = f"r{self.number}"
        book = self.transaction()
        if not book.knows(process.owner.id):
            book.enter(process.owner)
        assert book.reserve(row(name, day, amount), process.owner.id) is None
        self.commit(book)
        process.rows.append(name)
        self.states[name] = "open"
        self.reserved_at[name] = at(day)

    @precondition(lambda self: any(p.alive and p.rows for p in self.processes))
    @rule(data=st.data(), news=st.sampled_from(News), amount=st.integers(0, 200))
    def end(self, data: st.DataObject, news: News, amount: int) -> None:
        process = data.draw(st.sampled_from([p for p in self.processes if p.alive and p.rows]))
        name = data.draw(st.sampled_from(process.rows))
        book = self.transaction()
        book.post(Posting(name, news, amount, 1, 2))
        self.commit(book)
        if news is News.DOUBT and self.states[name] == "open":
            self.states[name] = "uncertain"
        elif news in (News.SETTLE, News.RELEASE):
            self.states[name] = "over"

    @precondition(lambda self: any(p.alive for p in self.processes))
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        self.some(data).alive = False

    @precondition(lambda self: any(p.alive for p in self.processes))
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        process = self.some(data)
        book = self.transaction()
        book.leave(process.owner.id)
        self.commit(book)
        process.alive = False
        for name in process.rows:
            if self.states[name] == "open":
                self.states[name] = "uncertain"

    @precondition(lambda self: self.processes)
    @rule(data=st.data())
    def somebody_deletes_an_owner(self, data: st.DataObject) -> None:
        """An older program, or a hand."""
        process = data.draw(st.sampled_from(self.processes))
        self.connection.execute("DELETE FROM owners WHERE id = ?", (process.owner.id,))
        if process.alive:  # it is unknown until its next transaction, and its open rows with it
            book = self.transaction()
            book.enter(process.owner)
            self.commit(book)

    @precondition(lambda self: any(p.alive for p in self.processes))
    @rule(data=st.data())
    def beat(self, data: st.DataObject) -> None:
        process = self.some(data)
        book = self.transaction()
        book.enter(process.owner)
        self.bury(book, process.owner.id)
        self.commit(book)
        assert not book.dead(self.sees, but=process.owner.id)

    @rule(days=st.integers(0, 60))  # its clock may be set back between two calls
    def upkeep(self, days: int) -> None:
        wall = at("2026-11-30") + days * DAY
        upkeep = Upkeep(wall, UTC, keep_days=1, uncertain_days=45)
        while upkeep.step(self.connection, book_of(self.connection)):
            pass
        for name, state in self.states.items():
            if state == "uncertain" and self.reserved_at[name] < wall - 45 * DAY:
                self.states[name] = "over"

    @invariant()
    def the_file_agrees(self) -> None:
        if not hasattr(self, "connection") or not self.number:
            return
        found = dict(self.connection.execute("SELECT id, state FROM attempts"))
        names = {"open": ("sending",), "uncertain": ("uncertain",), "over": ("settled", "released")}
        for name, state in self.states.items():
            if state != "over" or name in found:
                assert found[name] in names[state], (name, state)
        check_sums(self.connection, "2026-11")
        lines = self.connection.execute("SELECT sum(attempts) FROM lines").fetchone()[0]
        assert (lines or 0) == len(self.states)

    def teardown(self) -> None:
        self.connection.close()


TestOwners = OwnersMachine.TestCase
TestOwners.settings = settings(max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None)
