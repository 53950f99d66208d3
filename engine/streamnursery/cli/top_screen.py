"""What `top` shows: totals, limits, the running streams, and the queued ones in groups."""

import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import trio

from streamnursery.cli.console import is_terminal, printable, terminal_width
from streamnursery.cli.exits import Exit
from streamnursery.cli.tables import aligned

Told = dict[str, Any]
_STREAMS = 40
"""Running streams on a screen."""
_GROUPS = 10
_NANO = 1_000_000_000
_LEAVE = b"qQ\x1b"


async def watch(ask: Callable[[], Awaitable[Told]], every: float) -> int:
    """Show what `ask` returns, every `every` seconds, until the key `q`."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    before, told = None, await ask()
    with (
        _keys() as keys,
        Live(Text(""), console=Console(), auto_refresh=False, screen=True) as live,
    ):
        while True:
            footer = "q leaves" if keys is not None else "Ctrl-C leaves"
            live.update(Text(f"{picture(told, before)}\n\n{footer}"), refresh=True)
            if await _leaves(keys, every):
                return Exit.OK
            before, told = told, await ask()


@contextmanager
def _keys() -> Iterator[int | None]:
    """The descriptor of the keyboard, which gives each key at once and shows none; None without a
    terminal."""
    if not is_terminal(sys.stdin):
        yield None
        return
    import termios
    import tty

    keyboard = sys.stdin.fileno()
    kept = termios.tcgetattr(keyboard)
    try:
        tty.setcbreak(keyboard)
        yield keyboard
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, kept)


async def _leaves(keys: int | None, seconds: float) -> bool:
    """Wait so long; whether a key that leaves was pressed meanwhile."""
    with trio.move_on_after(seconds):
        while keys is not None:
            await trio.lowlevel.wait_readable(keys)
            pressed = os.read(keys, 32)
            if not pressed or any(key in _LEAVE for key in pressed):
                return True
        await trio.sleep_forever()
    return False


def picture(told: Told, before: Told | None = None) -> str:
    """A snapshot as text; `before` is an earlier one, for what happens in a second."""
    streams = told["streams"]
    waiting = [stream for stream in streams if stream["state"] == "queued"]
    running = [stream for stream in streams if stream["state"] != "queued"]
    lines = [_head(told), _sums(told, before), "", *_limits(told["limits"])]
    if running:
        lines += ["", *_running(running[:_STREAMS])]
    if len(running) > _STREAMS:
        lines.append(f"and {len(running) - _STREAMS} more that run")
    if waiting:
        lines += ["", *_queued(waiting)]
    unlisted = told["streams_in_all"] - len(streams)
    if unlisted > 0:
        lines.append(f"and {unlisted} younger streams")
    width = terminal_width()
    return "\n".join(_cut(printable(line), width) for line in lines)


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else line[: width - 1] + "\u2026"


def _head(told: Told) -> str:
    return (
        f"{told['streams_in_all']} streams, {told['calls']} calls, "
        f"up for {told['uptime']:.0f} s; the oldest first"
    )


def _sums(told: Told, before: Told | None) -> str:
    totals = told["totals"]
    parts = [f"{totals['succeeded']} ok, {totals['failed']} failed"]
    if before is not None and told["uptime"] > before["uptime"]:
        seconds = told["uptime"] - before["uptime"]
        events = max(0, _events(told) - _events(before))
        parts.append(f"{events / seconds:,.0f} tokens/s")
    first = totals["ttft"]
    if first["p50"] is not None:
        parts.append(f"first token p50 {first['p50']:.2f} s, p99 {first['p99']:.2f} s")
    parts.append(f"{totals['spent'] / _NANO:.4f} USD")
    return "; ".join(parts)


def _events(told: Told) -> int:
    """Events with content so far; the counters have those of running streams too."""
    count: int = told["totals"]["content_events"]
    return count


def _limits(limits: list[Told]) -> list[str]:
    return _table(
        ["limit", "taken", "queued", "last minute", "the next waits for"], map(_limit, limits)
    )


def _limit(limit: Told) -> list[str]:
    most = limit["max_streams"]
    rates = ", ".join(f"{r['kind']} {r['used']}/{r['limit']}" for r in limit["rates"])
    taken = str(limit["taken"]) if most is None else f"{limit['taken']}/{most}"
    return [limit["name"], taken, str(limit["queued"]), rates, limit["waits_for"] or ""]


def _running(streams: list[Told]) -> list[str]:
    head = ["request", "state", "age", "content", "model", "waits for", "tenant", "route"]
    return _table(head, map(_stream, streams))


def _stream(stream: Told) -> list[str]:
    since = stream["since_content"]
    return [
        f"{stream['request']}.{stream['attempt']}",
        stream["state"],
        f"{stream['age']:.1f} s",
        f"{stream['content_events']}" + ("" if since is None else f", {since:.1f} s ago"),
        stream["model"],
        stream["waits_for"] or "",
        stream["tenant"],
        stream["route"] or "",
    ]


def _queued(streams: list[Told]) -> list[str]:
    """One line for all that wait for the same."""
    groups: dict[tuple[str, str, str], list[float]] = {}
    for stream in streams:
        place = (stream["model"], stream["waits_for"] or "", stream["tenant"])
        groups.setdefault(place, []).append(stream["age"])
    largest = sorted(groups.items(), key=lambda item: -len(item[1]))
    rows = [
        [str(len(ages)), f"{max(ages):.1f} s", model, waits_for, tenant]
        for (model, waits_for, tenant), ages in largest[:_GROUPS]
    ]
    found = _table(["queued", "oldest", "model", "waits for", "tenant"], rows)
    if len(largest) > _GROUPS:
        found.append(f"and {sum(len(ages) for _, ages in largest[_GROUPS:])} more that wait")
    return found


def _table(head: list[str], rows: Any) -> list[str]:
    """Columns in which no row says anything are left out."""
    cells = list(rows)
    kept = [at for at in range(len(head)) if any(row[at] for row in cells)] or [0]
    return aligned([[row[at] for at in kept] for row in (head, *cells)]).splitlines()
