"""One transaction on a ledger: rows in, figures checked and changed, everything or nothing.

Rule 1: lines and accounts are changed by what the rows change and by nothing else, so that they are
        the sums of the rows after every transaction.
Rule 2: news is applied to the row as the file has it: a row that another process has ended stays
        as it is.
"""

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from datetime import tzinfo

from streamnursery.core.money.ledger import Account, BudgetLimits, Shortfall, accounts, shortfall
from streamnursery.core.money.ledger_row import News, Posting, change, figures_of, posted
from streamnursery.core.money.totals import WIDTH, tally
from streamnursery.storage.owners import Owner
from streamnursery.storage.schema import owners_of
from streamnursery.values.spending import Figures, Flag, LedgerRow, Payer, RowState

LINE = (
    *("attempts", "settled", "spent", "reserved", "uncertain", "input_tokens", "output_tokens"),
    *("estimated", "rejected", "overrun", "unpriced"),
)
"""The counters of a line, in the order of `core.money.totals`."""
_ROW = (
    "id, request, attempt, model, tenant, endpoint, at, day, reserved, estimate, state, billed, "
    "input_tokens, output_tokens, flags"
)


class Book:
    """Used between BEGIN and COMMIT, then thrown away."""

    def __init__(self, connection: sqlite3.Connection, limits: BudgetLimits, zone: tzinfo) -> None:
        self._connection = connection
        self._limits = limits
        self._zone = zone
        self._figures: dict[Account, Figures] = {}
        self._changed: set[Account] = set()
        self._lines: dict[tuple[str, str, str, str], list[int]] = {}

    def figures(self, account: Account) -> Figures:
        """With what this transaction has done."""
        figures = self._figures.get(account)
        if figures is None and account[0] == "group":
            figures = self._figures[account] = self._of_group(*account[1:])
        elif figures is None:
            query = (
                "SELECT spent, reserved, uncertain FROM accounts "
                "WHERE scope = ? AND name = ? AND window = ?"
            )
            found = self._connection.execute(query, account).fetchone()
            figures = self._figures[account] = Figures(*found) if found else Figures()
        return figures

    def reserve(self, row: LedgerRow, owner: str) -> Shortfall | None:
        """Write the row if every limit has room for it. A row that is there stays as it is."""
        if self.row(row.id) is not None:
            return None
        short = self._shortfall(row.payer, row.reserved, row.at)
        if short is None:
            marks = ", ".join("?" * 16)
            self._connection.execute(
                f"INSERT INTO attempts (owner, {_ROW}) VALUES ({marks})", (owner, *_values(row))
            )
            self._book(None, row, figures_of(row))
        return short

    def post(self, posting: Posting) -> Shortfall | None:
        """Apply news to a row; what stands against it where it wants more than there is."""
        before = self.row(posting.row)
        if before is None:
            return None
        after = posted(before, posting)
        if after is before:
            return None
        moved = change(before, after)
        if posting.news is News.EXTEND:
            short = self._shortfall(before.payer, moved.reserved, before.at)
            if short is not None:
                return short
        self._connection.execute(
            "UPDATE attempts SET reserved = ?, estimate = ?, state = ?, billed = ?, "
            "input_tokens = ?, output_tokens = ?, flags = ? WHERE id = ?",
            (*_values(after)[8:], after.id),
        )
        self._book(before, after, moved)
        return None

    def row(self, name: str) -> LedgerRow | None:
        query = f"SELECT {_ROW} FROM attempts WHERE id = ?"
        found = self._connection.execute(query, (name,)).fetchone()
        return None if found is None else row_of(found)

    def rows(self, state: RowState, owner: str | None = None) -> list[LedgerRow]:
        """Rows in a state, of one owner or of all, the oldest first."""
        query = f"SELECT {_ROW} FROM attempts WHERE state = ?"
        values = [state.value]
        if owner is not None:
            query += " AND owner = ?"
            values.append(owner)
        found = self._connection.execute(f"{query} ORDER BY at, id", values)
        return [row_of(values) for values in found]

    def claim(self, alert: str) -> bool:
        """Whether this alert had not been claimed before."""
        query = "INSERT INTO alerts (key) VALUES (?) ON CONFLICT DO NOTHING"
        return self._connection.execute(query, (alert,)).rowcount == 1

    def aged(self, before: float, count: int) -> list[LedgerRow]:
        """Uncertain rows that were reserved before Unix time `before`, the oldest first."""
        query = (
            f"SELECT {_ROW} FROM attempts WHERE state = 'uncertain' AND at < ? ORDER BY at LIMIT ?"
        )
        return [row_of(values) for values in self._connection.execute(query, (before, count))]

    def enter(self, owner: Owner) -> None:
        """`owner` has opened the ledger, or still has it open."""
        values = (owner.id, owner.pid, owner.started, owner.boot, owner.namespace, owner.seen)
        query = (
            "INSERT INTO owners VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET seen = excluded.seen"
        )
        self._connection.execute(query, values)

    def knows(self, owner: str) -> bool:
        """Whether `owner` has entered and was not taken for dead."""
        query = "SELECT 1 FROM owners WHERE id = ?"
        return self._connection.execute(query, (owner,)).fetchone() is not None

    def leave(self, owner: str) -> None:
        """`owner` has closed it, or is dead: the end of what it sent will not be seen."""
        for row in self.rows(RowState.SENDING, owner):
            self.post(Posting(row.id, News.DOUBT))
        self._connection.execute("DELETE FROM owners WHERE id = ?", (owner,))

    def dead(self, lives: Callable[[Owner], bool], but: str) -> list[str]:
        """Owners that do not live, and those of open rows that have not entered; not `but`."""
        owners = owners_of(self._connection)
        query = "SELECT DISTINCT owner FROM attempts WHERE state = 'sending'"
        unknown = {str(name) for (name,) in self._connection.execute(query)}
        unknown -= {owner.id for owner in owners}
        found = [owner.id for owner in owners if owner.id != but and not lives(owner)]
        return [*found, *sorted(unknown - {but})]

    def bury(self, lives: Callable[[Owner], bool], but: str) -> int:
        """`leave` for every owner that is dead or unknown; how many there were."""
        dead = self.dead(lives, but)
        for owner in dead:
            self.leave(owner)
        return len(dead)

    def save(self) -> None:
        """Write what lines and accounts have changed by; the last thing before COMMIT."""
        add_to_lines(self._connection, self._lines)
        self._connection.executemany(
            "INSERT INTO accounts VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (scope, name, window) "
            "DO UPDATE SET spent = excluded.spent, reserved = excluded.reserved, "
            "uncertain = excluded.uncertain",
            [
                (*account, figures.spent, figures.reserved, figures.uncertain)
                for account, figures in self._figures.items()
                if account in self._changed
            ],
        )

    def _shortfall(self, payer: Payer, amount: int, wall: float) -> Shortfall | None:
        limits = self._limits.of(payer)
        return shortfall(limits, amount, wall, self._zone, self.figures, lambda _: 0)

    def _of_group(self, group: str, window: str) -> Figures:
        """The sum of its models: a file outlives who is in a group."""
        query = "SELECT DISTINCT name FROM accounts WHERE scope = 'model' AND window = ?"
        names = {str(name) for (name,) in self._connection.execute(query, (window,))}
        names |= {name for scope, name, key in self._figures if (scope, key) == ("model", window)}
        own = [name for name in names if group in self._limits.groups_of(name)]
        return sum((self.figures(("model", name, window)) for name in own), Figures())

    def _book(self, before: LedgerRow | None, after: LedgerRow, moved: Figures) -> None:
        for group in self._limits.groups_of(after.payer.model):
            for window in (after.day, after.month):
                if ("group", group, window) in self._figures:
                    self._figures["group", group, window] += moved
        for account in accounts(after):
            self._figures[account] = self.figures(account) + moved
            self._changed.add(account)
        payer = after.payer
        key = (after.day, payer.model, payer.tenant, payer.endpoint)
        tally(self._lines.setdefault(key, [0] * WIDTH), before, after)


def add_to_lines(
    connection: sqlite3.Connection, lines: Mapping[tuple[str, str, str, str], list[int]]
) -> None:
    """Add counters to the lines of a ledger."""
    marks = ", ".join("?" * (4 + WIDTH))
    sums = ", ".join(f"{name} = {name} + excluded.{name}" for name in LINE)
    connection.executemany(
        f"INSERT INTO lines VALUES ({marks}) "
        f"ON CONFLICT (day, model, tenant, endpoint) DO UPDATE SET {sums}",
        [(*key, *counts) for key, counts in lines.items()],
    )


def _values(row: LedgerRow) -> tuple[object, ...]:
    """In the order of `_ROW`."""
    return (
        *(row.id, row.request, row.attempt),
        *(row.payer.model, row.payer.tenant, row.payer.endpoint),
        *(row.at, row.day, row.reserved, row.estimate, row.state.value, row.billed),
        *(row.input_tokens, row.output_tokens),
        " ".join(sorted(flag.value for flag in row.flags)),
    )


def row_of(values: Iterable[object]) -> LedgerRow:
    """A row as a query for `_ROW` gives it."""
    name, request, attempt, model, tenant, endpoint, *rest = values
    at, day, reserved, estimate, state, billed, spent, made, flags = rest
    found = RowState(state)
    return LedgerRow(
        str(name),
        int(str(request)),
        int(str(attempt)),
        Payer(str(model), str(tenant), str(endpoint)),
        float(str(at)),
        str(day),
        int(str(reserved)),
        int(str(estimate)),
        found,
        int(str(billed)),
        int(str(spent)),
        int(str(made)),
        frozenset(map(Flag, str(flags).split())),
        int(str(estimate)) if found is RowState.UNCERTAIN else 0,
    )
