"""The demo while it runs: a table that redraws itself, or a line every second."""

import sys
from typing import TYPE_CHECKING, TextIO

from streamnursery.cli.console import can_redraw, note
from streamnursery.cli.demo_load import Load, Screen
from streamnursery.cli.demo_table import ALL, CAPTION, LIVE, Column, Speeds, cell, columns, rows

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

ROOMY = 120
"""Columns of a terminal from which on the table gets more space."""


def screen_for(load: Load, *, as_json: bool) -> Screen:
    """A live table on a terminal, if rich is there; lines on stderr, or nothing for JSON."""
    stream = sys.stderr if as_json else sys.stdout
    if can_redraw(stream):
        try:
            return LiveScreen(load, stream)
        except ImportError:
            note('no live table without rich: pip install "rich>=13.9"')
    return Quiet() if as_json else LineScreen()


class Quiet:
    """Shows nothing."""

    def update(self, load: Load) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class LineScreen:
    """A line every second, on stderr."""

    def __init__(self) -> None:
        self._next = 1.0
        self._speeds = Speeds()

    def update(self, load: Load) -> None:
        """A line, if it is time for one."""
        if load.statistics is None:
            return
        total = load.statistics.total
        speed = self._speeds.now(ALL, load.seconds, total.content_events)
        if load.seconds < self._next:
            return
        self._next = load.seconds + 1.0
        parts = [
            f"{load.done}/{load.plan.streams} done",
            f"{total.active} in flight",
            f"{total.queued} queued",
            f"{len(load.errors)} failed",
        ]
        if total.retries or total.reroutes:
            parts += [f"{total.retries} retries", f"{total.reroutes} fallbacks"]
        note(f"{load.seconds:5.1f} s  {', '.join(parts)}, {speed:.0f} tokens/s")

    def close(self) -> None:
        """Nothing to give back."""


class LiveScreen:
    """A table in place, by rich."""

    def __init__(self, load: Load, stream: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(file=stream)
        self._speeds = Speeds()
        self._live = Live(
            self._picture(load),
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def update(self, load: Load) -> None:
        """Draw it again."""
        self._live.update(self._picture(load), refresh=True)

    def close(self) -> None:
        """Take the table away and show the cursor."""
        self._live.stop()

    def _picture(self, load: Load) -> "RenderableType":
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        bar = Table.grid(padding=(0, 1))
        progress = ProgressBar(total=load.plan.streams, completed=load.done, width=30)
        bar.add_row(progress, Text(f"{load.done}/{load.plan.streams} done, {load.seconds:.1f} s"))
        below = [CAPTION, *([f"Here: {load.plan.pace}."] if load.plan.pace else [])]
        return Group(
            bar, Text(), self._table(load), *(Text(line, style="italic") for line in below)
        )

    def _table(self, load: Load) -> "Table":
        shown = columns(LIVE, self._console.width)
        table = rich_table(shown, roomy=self._console.width >= ROOMY)
        for row in rows(load, self._speeds):
            cells = [_styled(column.key, cell(row, column.key)) for column in shown]
            table.add_row(*cells, style="bold" if row.name == ALL else "")
        return table


def rich_table(shown: list[Column], *, roomy: bool) -> "Table":
    """An empty table with these columns."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2 if roomy else 1, 0, 0), header_style="bold")
    for column in shown:
        left = column.key in ("model", "limited")
        table.add_column(
            column.title, justify="left" if left else "right", no_wrap=True, vertical="bottom"
        )
    return table


def _styled(key: str, text: str) -> str:
    """Colours that stand out on light and dark terminals alike."""
    if key == "failed" and text != "0":
        return f"[red]{text}[/red]"
    if key in ("retries", "fallbacks") and text != "0":
        return f"[magenta]{text}[/magenta]"
    if key == "limited" and text:
        return f"[cyan]{text}[/cyan]"
    return text
