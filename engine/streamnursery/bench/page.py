"""A report as one HTML page that needs nothing else: no script, nothing fetched, light and dark."""

from collections.abc import Sequence
from html import escape
from typing import Any

import attrs

from streamnursery.bench.charts import COLOURS, Series, columns, linear, lines, logarithmic
from streamnursery.bench.remarks import sentences
from streamnursery.bench.report import dollars, head, rows
from streamnursery.bench.run_summary import ALL
from streamnursery.bench.style import CSS
from streamnursery.bench.thresholds import shown

_MAX_LINES = 8
"""Curves in one chart; more cannot be told apart."""
_MAX_TILES = 12
_SHOWN_TIMES = (("ttft", "Time to first token"), ("itl_read", "Inter-token latency, per read"))


def page(report: dict[str, Any]) -> str:
    """The whole page."""
    cells = _cells(report)
    body = [
        f"<header><h1>Benchmark of {escape(', '.join(t['name'] for t in report['targets']))}</h1>"
        f"<p class=sub>{escape(report['started'])}, streamnursery {escape(report['version'])}, "
        f"Python {escape(report['machine']['python'])}</p>{_asked(report)}</header>",
        _tiles(cells, {t["name"]: t["highest_load"] for t in report["targets"]}),
        _checks(report),
        _remarks(report),
        *_against_load(report),
        *(_distribution(cells, name, title) for name, title in _SHOWN_TIMES),
        *(chart for target in report["targets"] for chart in _over_time(cells, target["name"])),
        _table(report),
        _options(report),
    ]
    title = f"streamnursery bench, {escape(report['started'])}"
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        f"<style>{CSS}</style><main>{''.join(body)}</main></html>\n"
    )


@attrs.frozen
class _Cell:
    """One target at one load."""

    label: str
    target: str
    figures: dict[str, Any]
    """Of the level."""
    colour: str
    """The same in every chart."""


def _cells(report: dict[str, Any]) -> list[_Cell]:
    pairs = [(target, level) for target in report["targets"] for level in target["levels"]]
    first = len(_sweeps(report))  # the colours before it are those of the targets as a whole
    return [
        _Cell(f"{t['name']}, {level['load']}", t["name"], level, f"c{(first + index) % COLOURS}")
        for index, (t, level) in enumerate(pairs)
    ]


def _sweeps(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The targets that were measured at several loads."""
    return [target for target in report["targets"] if len(target["levels"]) > 1]


def _asked(report: dict[str, Any]) -> str:
    """What was asked of whom, in a line for each."""
    told = report.get("asked") or {}
    lines_ = [f"{name}: {told[name]}" for name in told if told[name]]
    return "".join(f"<p class=sub>{escape(line)}</p>" for line in lines_)


def _tiles(cells: Sequence[_Cell], highest: dict[str, str | None]) -> str:
    """The figures that people ask for first: of one cell in large type, of several in a table.
    Where the highest load was looked for, it is each target's cell; of more than `_MAX_TILES` each
    target has the one with the most throughput."""
    known = [c for c in cells if c.figures[ALL]["numbers"]["rps"]["value"] is not None]
    known = [c for c in known if highest[c.target] in (None, c.figures["load"])]
    if len(known) > _MAX_TILES:
        best: dict[str, _Cell] = {}
        for cell in sorted(known, key=_throughput):
            best[cell.target] = cell
        known = [cell for cell in known if best[cell.target] is cell]
    if not known:
        return ""
    found = [_first_figures(cell) for cell in known]
    names = [f'<i class="key {cell.colour}"></i>{escape(cell.label)}' for cell in known]
    if len(known) == 1:
        boxes = "".join(
            f"<div><b>{value}</b><span>{label}</span></div>" for label, value in found[0]
        )
        return f"<p class=sub>{names[0]}</p><section class=tiles>{boxes}</section>"
    titles = "".join(f"<th>{label}</th>" for label, _ in found[0])
    lines_ = "".join(
        f"<tr><td>{name}</td>" + "".join(f"<td><b>{value}</b></td>" for _, value in row) + "</tr>"
        for name, row in zip(names, found, strict=True)
    )
    return (
        "<section class=wide><table class=first><thead><tr><th></th>"
        f"{titles}</tr></thead><tbody>{lines_}</tbody></table></section>"
    )


def _throughput(cell: _Cell) -> float:
    value: float = cell.figures[ALL]["numbers"]["rps"]["value"]
    return value


def _first_figures(cell: _Cell) -> list[tuple[str, str]]:
    figures = cell.figures[ALL]
    numbers, times = figures["numbers"], figures["times"]
    found = [
        ("first token, p50", shown(times["ttft"]["p50"])),
        ("first token, p99", shown(times["ttft"]["p99"])),
        ("tokens/s", _number(numbers["tokens_per_second"]["value"])),
        ("answers/s", _number(numbers["rps"]["value"])),
        ("failed", _percent(numbers["errors"]["value"])),
    ]
    cost = numbers["cost"]["value"]
    return found if cost is None else [*found, ("cost by the price list", dollars(cost))]


def _checks(report: dict[str, Any]) -> str:
    """What `--check` asked for, and whether it was met."""
    items = []
    for check in report.get("checks", ()):
        met = "met" if check["kept"] else "missed"
        text = f"{check['threshold']} for {check['target']} at {check['load']}"
        found = f": {check['said']}" if check.get("said") else ": not measured"
        items.append(f"<li class={met}>{escape(text + found)}</li>")
    if not items:
        return ""
    return f"<section><h2>Checks</h2><ul class=checks>{''.join(items)}</ul></section>"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value * 100:.3g} %"


def _remarks(report: dict[str, Any]) -> str:
    items = []
    for text in sentences(report):
        doubt = text.startswith("warning: ")
        kind = ' class="warning"' if doubt else ""
        items.append(f"<li{kind}>{escape(text.removeprefix('warning: '))}</li>")
    return f"<section><ul class=remarks>{''.join(items)}</ul></section>" if items else ""


def _figure(title: str, note: str, chart: str) -> str:
    return (
        f"<section class=figure><h2>{escape(title)}</h2><p class=sub>{escape(note)}</p>"
        f"{chart}</section>"
    )


def _against_load(report: dict[str, Any]) -> list[str]:
    """For sweeps: what latency and throughput do as the load grows."""
    sweeps = _sweeps(report)
    if not sweeps:
        return []
    latency, throughput = [], []
    for index, target in enumerate(sweeps):
        colour = f"c{index % COLOURS}"
        prefix = f"{target['name']} " if len(sweeps) > 1 else ""
        for stat, dashed in (("p50", False), ("p99", True)):
            points = [(lv["level"], lv[ALL]["times"]["ttft"][stat]) for lv in target["levels"]]
            latency.append(Series(prefix + stat, _known(points), colour, dashed))
        points = [
            (lv["level"], lv[ALL]["numbers"]["tokens_per_second"]["value"])
            for lv in target["levels"]
        ]
        throughput.append(Series(prefix + "tokens/s", _known(points), colour))
    return [
        _figure(
            "Time to first token against load",
            "from the intended time; the load is streams at once, or requests per second",
            _load_chart("Time to first token against load", latency, times=True),
        ),
        _figure(
            "Throughput against load",
            "output tokens per second of complete and broken answers together",
            _load_chart("Throughput against load", throughput, times=False),
        ),
    ]


def _load_chart(label: str, series: Sequence[Series], *, times: bool) -> str:
    xs = [x for one in series for x, _ in one.points]
    ys = [y for one in series for _, y in one.points]
    x = logarithmic("load", xs, lambda value: f"{value:g}", marked=True)
    y = logarithmic("", ys, shown) if times else linear("", ys, _number)
    return lines(label, series, x, y, dots=True)


def _known(points: Sequence[tuple[float, float | None]]) -> list[tuple[float, float]]:
    return [(x, y) for x, y in points if y is not None]


def _distribution(cells: Sequence[_Cell], name: str, title: str) -> str:
    """Share of requests, or gaps, that took no longer."""
    series = []
    for cell in _spread_out(cells):
        found = cell.figures[ALL]["times"][name]
        # From nothing: one value alone is an upright line.
        points, seen = [(max(at, 1e-5), 0.0) for at, _ in found["distribution"][:1]], 0
        for at, count in found["distribution"]:
            seen += count
            points.append((max(at, 1e-5), seen / found["count"]))
        series.append(Series(cell.label, points, cell.colour))
    xs = [x for one in series for x, _ in one.points]
    if not xs:
        return ""
    chart = lines(
        title, series, logarithmic("seconds, logarithmic", xs, shown), linear("", [1.0], _share_of)
    )
    return _figure(title, "share that took no longer", chart)


def _share_of(value: float) -> str:
    return f"{value * 100:.0f} %" if value <= 1 else ""


def _spread_out(cells: Sequence[_Cell]) -> Sequence[_Cell]:
    """At most `_MAX_LINES` of them, from the first to the last."""
    if len(cells) <= _MAX_LINES:
        return cells
    step = (len(cells) - 1) / (_MAX_LINES - 1)
    return [cells[round(index * step)] for index in range(_MAX_LINES)]


def _over_time(cells: Sequence[_Cell], target: str) -> list[str]:
    """Throughput and errors of a target, second by second, of its load with the most answers."""
    mine = [cell for cell in cells if cell.target == target]
    chosen = max(mine, key=lambda cell: cell.figures[ALL]["requests"])
    label, slots = chosen.label, chosen.figures["over_time"]
    if len(slots) < 2:
        return []
    answers = [
        Series("complete", [(s["at"], s["ok"]) for s in slots], "good"),
        Series("failed", [(s["at"], s["failed"]) for s in slots], "bad"),
    ]
    tops = [s["ok"] + s["failed"] for s in slots]
    x = linear("seconds of the load", [slots[-1]["at"] + 1], lambda v: f"{v:g}")
    tokens = [Series("tokens/s", [(s["at"], s["tokens"]) for s in slots], chosen.colour)]
    return [
        _figure(
            "Answers per second over time",
            label,
            columns("Answers per second over time", answers, x, linear("", tops, _number)),
        ),
        _figure(
            "Tokens per second over time",
            f"{label}; counted when their answer ended",
            lines(
                "Tokens per second over time",
                tokens,
                x,
                linear("", [s["tokens"] for s in slots], _number),
            ),
        ),
    ]


def _table(report: dict[str, Any]) -> str:
    titles = "".join(f"<th>{escape(name)}</th>" for name in head(report))
    lines_ = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
        for row in rows(report)
    )
    return (
        "<section><h2>All figures</h2><div class=wide><table>"
        f"<thead><tr>{titles}</tr></thead><tbody>{lines_}</tbody></table></div></section>"
    )


def _options(report: dict[str, Any]) -> str:
    items = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape('none' if value is None else str(value))}</dd>"
        for name, value in report["options"].items()
    )
    return (
        f"<details><summary>How it was measured</summary><p><code>{escape(report['command'])}"
        f"</code></p><dl>{items}</dl></details>"
    )
