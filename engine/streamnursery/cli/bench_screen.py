"""A benchmark while it runs: a bar and a line that redraw themselves, or a line now and then."""

import sys
from typing import TYPE_CHECKING, Protocol

from streamnursery.bench.load_run import RunMonitor
from streamnursery.bench.samples import FAILED, OK, statistic
from streamnursery.bench.thresholds import shown
from streamnursery.cli.console import can_redraw, note

if TYPE_CHECKING:
    from rich.console import Group

_EVERY_LOOKS = 20


class Screen(Protocol):
    """Shows a benchmark while it runs."""

    def update(self, watch: RunMonitor) -> None:
        """Show where it stands; called a few times a second."""

    def close(self) -> None:
        """Give the terminal back."""


def screen_for(watch: RunMonitor, *, quiet: bool, as_json: bool) -> Screen:
    """Live on a terminal, if rich is there; else lines on stderr, or nothing for JSON."""
    if quiet:
        return LineScreen(silent=True)
    if can_redraw(sys.stderr):
        try:
            return LiveScreen(watch)
        except ImportError:
            note('no live screen without rich: pip install "rich>=13.9"')
    return LineScreen(silent=as_json)


def line(watch: RunMonitor) -> str:
    """Where the benchmark stands, in one line."""
    parts = [f"[{min(watch.done + 1, watch.total)}/{watch.total}] {watch.title}"]
    running = watch.running
    if running is not None:
        tally = watch.tally
        first = statistic(tally.times["ttft"], "p50", rough=True)
        gap = statistic(tally.times["itl_read"], "p50", rough=True)
        parts += [
            f"{running.now:.0f} s",
            f"{running.in_flight} in flight",
            f"{tally.outcomes[OK]} ok",
            f"{tally.outcomes[FAILED]} failed",
            f"ttft {shown(first)}",
            f"itl {shown(gap)}",
        ]
    return ", ".join(parts)


def share(watch: RunMonitor) -> float:
    """How much of the benchmark is behind it, of 1; a running phase by its time or its count."""
    done, running = float(watch.done), watch.running
    if running is not None:
        phase = running.phase
        by_count = running.counted / phase.count if phase.count else 0.0
        done += min(1.0, max(by_count, running.now / phase.seconds))
    return min(1.0, done / max(1, watch.total))


class LineScreen:
    """A line every few seconds, on stderr."""

    def __init__(self, *, silent: bool) -> None:
        self._looks = 0
        self._silent = silent

    def update(self, watch: RunMonitor) -> None:
        """A line, if it is time for one."""
        self._looks += 1
        if self._looks % _EVERY_LOOKS == 1 and not self._silent:
            note(line(watch))

    def close(self) -> None:
        """Nothing to give back."""


class LiveScreen:
    """In place, by rich."""

    def __init__(self, watch: RunMonitor) -> None:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(
            _bar_and_line(watch), console=Console(stderr=True), auto_refresh=False, transient=True
        )
        self._live.start()

    def update(self, watch: RunMonitor) -> None:
        """Redraw."""
        self._live.update(_bar_and_line(watch), refresh=True)

    def close(self) -> None:
        self._live.stop()


def _bar_and_line(watch: RunMonitor) -> "Group":
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    # A line that wraps would leave its first half behind.
    text = Text(line(watch), no_wrap=True, overflow="ellipsis")
    return Group(text, ProgressBar(total=1.0, completed=share(watch)))
