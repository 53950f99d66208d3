"""Charts as SVG text: lines over linear or logarithmic axes, and columns. No script, no font, no
file from elsewhere; colours are classes, so that a page can have a light and a dark side."""

from collections.abc import Callable, Iterable, Sequence
from html import escape
from math import ceil, floor, log10

import attrs

WIDTH, HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 72, 14, 14, 40
COLOURS = 8
"""Classes c0 to c7."""
_MARKS = 10


@attrs.frozen
class Series:
    """One line. Points are in the order of x."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: str = "c0"
    """Its class: `c0` to `c7`, `good` or `bad`. What is the same thing in several charts has the
    same one."""
    dashed: bool = False

    @property
    def classes(self) -> str:
        return f"{self.colour} dashed" if self.dashed else self.colour


@attrs.frozen
class Axis:
    """How values become places."""

    title: str
    low: float
    high: float
    log: bool = False
    shown: Callable[[float], str] = attrs.field(default=lambda value: f"{value:g}")
    marks: tuple[float, ...] = ()
    """Values to be labelled; round ones where there are none."""

    def share(self, value: float) -> float:
        """0 at the low end, 1 at the high one."""
        if self.log:
            value = max(value, self.low)
            return (log10(value) - log10(self.low)) / (log10(self.high) - log10(self.low))
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """The marks, some of them where they are many; else round values within the axis."""
        if self.marks:
            step = (len(self.marks) - 1) / (_MARKS - 1)
            few = len(self.marks) <= _MARKS
            return [*self.marks] if few else [self.marks[round(k * step)] for k in range(_MARKS)]
        if not self.log:
            return _linear_ticks(self.low, self.high)
        decades = range(floor(log10(self.low)), ceil(log10(self.high)) + 1)
        factors = (1, 2, 5) if len(decades) <= 4 else (1,)
        found = self._within(decades, factors)
        return found if len(found) > 1 else self._within(decades, (1, 1.5, 2, 3, 4, 5, 6, 8))

    def _within(self, decades: Iterable[int], factors: Sequence[float]) -> list[float]:
        found = [factor * 10.0**decade for decade in decades for factor in factors]
        return [at for at in found if self.low * 0.999 <= at <= self.high * 1.001]


def _linear_ticks(low: float, high: float) -> list[float]:
    rough = max((high - low) / 5, 1e-300)  # below that a double has no fifth
    power = 10.0 ** floor(log10(rough))
    step = next(f * power for f in (1, 2, 5, 10) if f * power >= rough * 0.999)
    first = ceil(low / step - 1e-9)
    return [index * step for index in range(first, floor(high / step + 1e-9) + 1)]


def linear(title: str, values: Sequence[float], shown: Callable[[float], str]) -> Axis:
    """From zero to a little above the largest value."""
    top = max([value for value in values if value > 0], default=1.0)
    return Axis(title, 0.0, top * 1.05, shown=shown)


def logarithmic(
    title: str, values: Sequence[float], shown: Callable[[float], str], *, marked: bool = False
) -> Axis:
    """From the smallest positive value to the largest, at least a factor of two apart; `marked`
    labels the values themselves."""
    positive = [value for value in values if value > 0] or [1.0]
    low, high = min(positive) / 1.1, max(positive) * 1.1
    if high < low * 2:
        low, high = low / 1.5, high * 1.5
    marks = tuple(sorted(set(positive))) if marked else ()
    return Axis(title, low, high, log=True, shown=shown, marks=marks)


def lines(label: str, series: Sequence[Series], x: Axis, y: Axis, *, dots: bool = False) -> str:
    """A chart of lines; each says its name and values when pointed at."""
    parts = [_frame(x, y)]
    for one in series:
        if not one.points:
            continue
        places = [_place(x, y, *point) for point in one.points]
        path = " ".join(
            f"{'M' if k == 0 else 'L'}{px:.1f} {py:.1f}" for k, (px, py) in enumerate(places)
        )
        parts.append(
            f'<path class="line {one.classes}" d="{path}"><title>{escape(one.name)}</title></path>'
        )
        if dots:
            parts += [
                f'<circle class="dot {one.classes}" cx="{px:.1f}" cy="{py:.1f}" r="3.5">'
                f"{_tip(f'{one.name}: {x.shown(a)}, {y.shown(b)}')}</circle>"
                for (px, py), (a, b) in zip(places, one.points, strict=True)
            ]
    return _svg(label, parts) + legend([one for one in series if one.points])


def columns(label: str, series: Sequence[Series], x: Axis, y: Axis) -> str:
    """Stacked columns, one for each whole x; every series has the same x."""
    parts = [_frame(x, y)]
    count = max((len(one.points) for one in series), default=0)
    slot = _place(x, y, x.low + 1, y.low)[0] - _LEFT
    width = max(1.0, slot - 2)
    bases = [0.0] * count
    for one in series:
        for place, (at, value) in enumerate(one.points):
            if value <= 0:
                continue
            px, top = _place(x, y, at, bases[place] + value)
            bottom = _place(x, y, at, bases[place])[1]
            bases[place] += value
            parts.append(
                f'<rect class="bar {one.classes}" x="{px:.1f}" y="{top:.1f}" '
                f'width="{width:.1f}" height="{max(0.5, bottom - top):.1f}">'
                f"{_tip(f'{one.name} at {x.shown(at)}: {y.shown(value)}')}</rect>"
            )
    return _svg(label, parts) + legend(series)


def _tip(text: str) -> str:
    return f"<title>{escape(text)}</title>"


def legend(series: Sequence[Series]) -> str:
    """The names beside their colours; nothing for a single one."""
    if len(series) < 2:
        return ""
    items = "".join(
        f'<li><i class="key {one.classes}"></i>{escape(one.name)}</li>' for one in series
    )
    return f'<ul class="legend">{items}</ul>'


def _place(x: Axis, y: Axis, at: float, value: float) -> tuple[float, float]:
    px = _LEFT + x.share(at) * (WIDTH - _LEFT - _RIGHT)
    py = HEIGHT - _BOTTOM - min(1.0, max(0.0, y.share(value))) * (HEIGHT - _TOP - _BOTTOM)
    return px, py


def _frame(x: Axis, y: Axis) -> str:
    parts = []
    for at in y.ticks():
        py = _place(x, y, x.low, at)[1]
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{py:.1f}" y2="{py:.1f}"/>'
            f'<text class="tick" x="{_LEFT - 6}" y="{py + 4:.1f}" text-anchor="end">'
            f"{escape(y.shown(at))}</text>"
        )
    for at in x.ticks():
        px = _place(x, y, at, y.low)[0]
        parts.append(
            f'<text class="tick" x="{px:.1f}" y="{HEIGHT - _BOTTOM + 16}" text-anchor="middle">'
            f"{escape(x.shown(at))}</text>"
        )
    parts.append(
        f'<line class="axis" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" '
        f'y1="{HEIGHT - _BOTTOM}" y2="{HEIGHT - _BOTTOM}"/>'
        f'<text class="title" x="{WIDTH - _RIGHT}" y="{HEIGHT - 6}" text-anchor="end">'
        f"{escape(x.title)}</text>"
    )
    return "".join(parts)


def _svg(label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )
