"""Sums of ledger rows by day, model, tenant and endpoint: what reports are made from."""

from collections.abc import Iterable

from streamnursery.values.spending import Flag, LedgerRow, Payer, RowState, SpendingLine

MAX_LINES = 10_000
_OTHERS = ("(others)",) * 3
_FLAGS = (Flag.ESTIMATED, Flag.REJECTED, Flag.OVERRUN, Flag.UNPRICED)
_COUNTS = 7
"""Counters of a line before those of the flags, in the order of `SpendingLine`."""
WIDTH = _COUNTS + len(_FLAGS)
"""Counters of a line."""


class Totals:
    """Grows by days and names, not by attempts; beyond 10,000 lines names are put together."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str, str, str], list[int]] = {}
        """By day, model, tenant and endpoint: names, which are hashed without a call."""

    def put(self, before: LedgerRow | None, after: LedgerRow) -> None:
        """A new row, or one that has changed."""
        tally(self.line(after.day, after.payer), before, after)

    def line(self, day: str, payer: Payer) -> list[int]:
        """The counters of a payer's line."""
        key = (day, payer.model, payer.tenant, payer.endpoint)
        sums = self._sums.get(key)
        if sums is None:
            if len(self._sums) >= MAX_LINES:
                key = (day, *_OTHERS)
            sums = self._sums.setdefault(key, [0] * WIDTH)
        return sums

    def lines(self) -> tuple[SpendingLine, ...]:
        """In order of day, model, tenant and endpoint."""
        found = [SpendingLine(*names, *sums) for names, sums in self._sums.items()]
        return tuple(sorted(found, key=lambda line: line.key))


def tally(sums: list[int], before: LedgerRow | None, after: LedgerRow) -> None:
    """Add to the counters of a line what a new row, or a change of one, brings."""
    if before is None:
        sums[0] += 1
    else:
        _add(sums, before, -1)
    _add(sums, after, 1)


def _add(sums: list[int], row: LedgerRow, sign: int) -> None:
    sums[1] += sign * (row.state is RowState.SETTLED)
    sums[2] += sign * row.billed
    sums[3] += sign * row.reserved
    sums[4] += sign * row.uncertain
    sums[5] += sign * row.input_tokens
    sums[6] += sign * row.output_tokens
    if row.flags:
        count_flags(sums, row.flags, sign)


def count_flags(sums: list[int], flags: Iterable[Flag], sign: int = 1) -> None:
    """Count what is to be said about a row."""
    for flag in flags:
        sums[_COUNTS + _FLAGS.index(flag)] += sign
