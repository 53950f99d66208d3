"""A report as one HTML page that needs nothing else: no script, nothing fetched, light and dark."""

from collections.abc import Sequence
from html import escape
from typing import Any

from streamnursery.bench.charts import Series, columns, linear, lines, logarithmic
from streamnursery.bench.remarks import sentences
from streamnursery.bench.report import dollars, head, rows
from streamnursery.bench.run_summary import ALL
from streamnursery.bench.style import CSS
from streamnursery.bench.thresholds import shown

_MAX_LINES = 8
"""Curves in one chart; more than that nobody can tell apart."""
_SHOWN_TIMES = (("ttft", "Time to first token"), ("itl_read", "Inter-token latency, per read"))


def page(report: dict[str, Any]) -> str:
    """The whole page."""
    levels = [
        (f"{target['name']}, {level['load']}", target["name"], level)
        for target in report["targets"]
        for level in target["levels"]
    ]
    body = [
        f"<header><h1>Benchmark of {escape(', '.join(t['name'] for t in report['targets']))}</h1>"
        f"<p class=sub>{escape(report['started'])}, streamnursery {escape(report['version'])}, "
        f"Python {escape(report['machine']['python'])}</p></header>",
        _tiles(levels, {t["name"]: t["highest_load"] for t in report["targets"]}),
        _remarks(report),
        *_against_load(report),
        *(_distribution(levels, name, title) for name, title in _SHOWN_TIMES),
        *_over_time(levels),
        _table(report),
        _options(report),
    ]
    title = f"streamnursery bench, {escape(report['started'])}"
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        f"<style>{CSS}</style><main>{''.join(body)}</main></html>\n"
    )


def _tiles(
    levels: Sequence[tuple[str, str, dict[str, Any]]], highest: dict[str, str | None]
) -> str:
    """The figures that people ask for first, of the level with the most throughput; of those that
    kept the SLO where the highest was looked for."""
    found = [lv for lv in levels if highest[lv[1]] in (None, lv[2]["load"])]
    known = [lv for lv in found if lv[2][ALL]["numbers"]["rps"]["value"] is not None]
    if not known:
        return ""
    name, _, level = max(known, key=lambda lv: lv[2][ALL]["numbers"]["rps"]["value"])
    figures = level[ALL]
    numbers, times = figures["numbers"], figures["times"]
    tiles = [
        ("time to first token, p50", shown(times["ttft"]["p50"])),
        ("p99", shown(times["ttft"]["p99"])),
        ("tokens/s", _number(numbers["tokens_per_second"]["value"])),
        ("answers/s", _number(numbers["rps"]["value"])),
        ("failed", _percent(numbers["errors"]["value"])),
    ]
    cost = numbers["cost"]["value"]
    if cost is not None:
        tiles.append(("cost", dollars(cost)))
    cells = "".join(f"<div><b>{value}</b><span>{label}</span></div>" for label, value in tiles)
    return f"<section class=tiles>{cells}</section><p class=sub>at {escape(name)}</p>"


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
    sweeps = [target for target in report["targets"] if len(target["levels"]) > 1]
    if not sweeps:
        return []
    latency, throughput = [], []
    several = len(sweeps) > 1
    for target in sweeps:
        prefix = f"{target['name']} " if several else ""
        for stat in ("p50", "p99"):
            points = [(lv["level"], lv[ALL]["times"]["ttft"][stat]) for lv in target["levels"]]
            latency.append(Series(prefix + stat, _known(points)))
        points = [
            (lv["level"], lv[ALL]["numbers"]["tokens_per_second"]["value"])
            for lv in target["levels"]
        ]
        throughput.append(Series(prefix + "tokens/s", _known(points)))
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
    x = logarithmic("load", xs, lambda value: f"{value:g}")
    y = logarithmic("", ys, shown) if times else linear("", ys, _number)
    return lines(label, series, x, y, dots=True)


def _known(points: Sequence[tuple[float, float | None]]) -> list[tuple[float, float]]:
    return [(x, y) for x, y in points if y is not None]


def _distribution(levels: Sequence[tuple[str, str, dict[str, Any]]], name: str, title: str) -> str:
    """Share of requests, or gaps, that took no longer."""
    chosen = _spread_out(levels)
    series = []
    for label, _, level in chosen:
        found = level[ALL]["times"][name]
        # From nothing: one value alone is an upright line.
        points, seen = [(max(at, 1e-5), 0.0) for at, _ in found["distribution"][:1]], 0
        for at, count in found["distribution"]:
            seen += count
            points.append((max(at, 1e-5), seen / found["count"]))
        series.append(Series(label, points))
    xs = [x for one in series for x, _ in one.points]
    if not xs:
        return ""
    chart = lines(
        title, series, logarithmic("seconds, logarithmic", xs, shown), linear("", [1.0], _share_of)
    )
    return _figure(title, "share that took no longer", chart)


def _share_of(value: float) -> str:
    return f"{value * 100:.0f} %" if value <= 1 else ""


def _spread_out(
    levels: Sequence[tuple[str, str, dict[str, Any]]],
) -> Sequence[tuple[str, str, dict[str, Any]]]:
    """At most `_MAX_LINES` of them, from the first to the last."""
    if len(levels) <= _MAX_LINES:
        return levels
    step = (len(levels) - 1) / (_MAX_LINES - 1)
    return [levels[round(index * step)] for index in range(_MAX_LINES)]


def _over_time(levels: Sequence[tuple[str, str, dict[str, Any]]]) -> list[str]:
    """Throughput and errors, second by second, of the level with the most answers."""
    label, _, level = max(levels, key=lambda lv: lv[2][ALL]["requests"])
    slots = level["over_time"]
    if len(slots) < 2:
        return []
    answers = [
        Series("complete", [(s["at"], s["ok"]) for s in slots]),
        Series("failed", [(s["at"], s["failed"]) for s in slots]),
    ]
    tops = [s["ok"] + s["failed"] for s in slots]
    x = linear("seconds of the load", [slots[-1]["at"] + 1], lambda v: f"{v:g}")
    tokens = [Series("tokens/s", [(s["at"], s["tokens"]) for s in slots])]
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
