"""Rows whose prompts begin alike, behind each other: servers keep what they have computed of a
prompt's beginning, and not for ever.

Rule 1: a window of rows is put in order, and no row leaves its window: what is asked first is at
        the front, and nobody waits for the end of a large file.
Rule 2: rows that have nothing in common stay in their order.
"""

from collections.abc import AsyncGenerator, AsyncIterator

from streamnursery.batch.lines import BatchRow
from streamnursery.core.routing.prefix_affinity import prefixes

WINDOW = 256
"""Rows."""


async def alike(rows: AsyncIterator[BatchRow]) -> AsyncGenerator[BatchRow, None]:
    """`rows`, each window of them in groups."""
    window: list[BatchRow] = []
    async for row in rows:
        window.append(row)
        if len(window) == WINDOW:
            for one in grouped(window):
                yield one
            window = []
    for one in grouped(window):
        yield one


def grouped(rows: list[BatchRow]) -> list[BatchRow]:
    """Rows with the longest beginnings in common next to each other, in the order in which each
    beginning came first."""
    order: dict[bytes, int] = {}

    def place(row: BatchRow) -> list[int]:
        return [order.setdefault(name, len(order)) for name in prefixes(row.request)]

    places = [place(row) for row in rows]
    return [rows[number] for number in sorted(range(len(rows)), key=places.__getitem__)]
