"""A batch as one HTML page, with the look of the bench's."""

from collections.abc import Sequence
from html import escape
from itertools import pairwise

from streamnursery.batch import BatchProgress
from streamnursery.bench.charts import Series, linear, lines
from streamnursery.bench.style import CSS
from streamnursery.cli.batch_screen import Look, duration
from streamnursery.values.money import Money


def batch_page(
    title: str,
    progress: BatchProgress,
    looks: Sequence[Look],
    *,
    spent: int,
    seconds: float,
    command: str,
) -> str:
    """The whole page. `spent` is in nano-dollars; `command` goes on with the run."""
    body = [
        f"<header><h1>{escape(title)}</h1><p class=sub>{escape(_state(progress))}</p></header>",
        _tiles(progress, spent, seconds),
        *_charts(looks),
        _failures(progress),
        "<details open><summary>Command</summary>"
        f"<p class=sub><code>{escape(command)}</code></p></details>",
    ]
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title>"
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        f"<style>{CSS}</style><main>{''.join(body)}</main></html>\n"
    )


def _state(progress: BatchProgress) -> str:
    if progress.error is not None:
        return f"ended before its last row: {progress.error}"
    return "ended by its user before its last row" if progress.stopped else "ran to its end"


def _tiles(progress: BatchProgress, spent: int, seconds: float) -> str:
    whole = "" if progress.rows is None else f" of {progress.rows:,}"
    found = [
        (f"{progress.done:,}{whole}", "rows done"),
        (f"{progress.before:,}", "of them by earlier runs"),
        (f"{progress.failed:,}", "failed"),
        (f"{progress.input_tokens:,}", "tokens in"),
        (f"{progress.output_tokens:,}", "tokens out"),
        (str(Money(spent)), "spent"),
        (duration(seconds), "this run"),
        (f"{progress.output_tokens / max(seconds, 1e-3):,.0f}", "tokens/s"),
    ]
    boxes = "".join(
        f"<div><b>{escape(value)}</b><span>{name}</span></div>" for value, name in found
    )
    return f"<section class=tiles>{boxes}</section>"


def _charts(looks: Sequence[Look]) -> list[str]:
    if len(looks) < 2:
        return []
    start = looks[0].at
    x = linear("seconds of this run", [looks[-1].at - start], lambda value: f"{value:g}")
    done = [
        Series("answered", [(one.at - start, one.answered) for one in looks], "good"),
        Series("failed", [(one.at - start, one.failed) for one in looks], "bad"),
    ]
    tops = [float(max(looks[-1].answered, looks[-1].failed))]
    rates = [
        (b.at - start, (b.tokens - a.tokens) / (b.at - a.at))
        for a, b in pairwise(looks)
        if b.at > a.at
    ]
    speed = [Series("tokens/s", rates, "c0")]
    return [
        _figure("Rows", lines("Rows over time", done, x, linear("", tops, _number))),
        _figure(
            "Tokens of output per second",
            lines(
                "Tokens per second over time",
                speed,
                x,
                linear("", [rate for _, rate in rates], _number),
            ),
        ),
    ]


def _figure(title: str, chart: str) -> str:
    return f"<section class=figure><h2>{escape(title)}</h2>{chart}</section>"


def _failures(progress: BatchProgress) -> str:
    if not progress.categories:
        return ""
    ordered = sorted(progress.categories.items(), key=lambda one: -one[1])
    rows = "".join(f"<tr><td>{escape(name)}</td><td>{count:,}</td></tr>" for name, count in ordered)
    return (
        "<section class=wide><h2>Failures</h2><table><thead><tr><th>category</th><th>rows</th></tr>"
        f"</thead><tbody>{rows}</tbody></table></section>"
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
