"""The blocks of the documents that are made from raw results."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

from benchmarks.grade_table import grades
from benchmarks.publish.comparison import goals, summary
from benchmarks.publish.figures import GAP, Figures, cell, newest, table
from benchmarks.publish.parts import parts
from benchmarks.publish.reference import reference

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
DOCUMENTS = (ROOT / "README.md", ROOT / "docs" / "benchmarks.md")
_BLOCK = re.compile(r"(<!--figures:([a-z]+)-->\n).*?(<!--end-->)", re.DOTALL)
FIRST_SCREEN = {
    "engine": "this engine",
    "AsyncOpenAI": "AsyncOpenAI",
    "litellm": "litellm",
    "aiohttp + orjson": "aiohttp + orjson",
}
GRADED = {"AsyncOpenAI": "openai"}
"""What a client of the comparison is called in the grades, if they know it by another name."""


def written(text: str, results: Path = RESULTS) -> str:
    """The document with every block as the results have it.

    Raises:
        KeyError: a block has a name that nobody makes.
    """
    return _BLOCK.sub(lambda found: found[1] + BLOCKS[found[2]](results) + found[3], text)


def first_screen(results: Path) -> str:
    """What matters most, beside the clients that people have: medians, and the least and the most
    of the rounds."""
    found = Figures(newest(results / "first"))
    rows = [
        ["CPU of [a token](docs/benchmarks.md), answers ready, us", *_of(found, "burst-10")],
        ["CPU of a token, one at a time, us", *_of(found, "paced-100x50")],
        ["CPU of a stream's start, us", *_of(found, "start")],
        ["memory of a held stream, KiB", *_of(found, "hold-1000", "kib_per_stream")],
    ]
    head = ["2 cores; median (least - most)", *FIRST_SCREEN.values()]
    return table(head, [_grades(results), *rows])


def _of(found: Figures, row: str, key: str = "cpu_us") -> list[str]:
    return [_with_spread(found.turns(row, client, key)) for client in FIRST_SCREEN]


def _with_spread(turns: list[float]) -> str:
    if not turns:
        return GAP
    form = "{:,.1f}" if median(turns) < 10 else "{:,.0f}"
    middle, least, most = (cell(value, form) for value in (median(turns), min(turns), max(turns)))
    return f"{middle} ({least} - {most})"


def _grades(results: Path) -> list[str]:
    found = grades(results / "grade")
    scores = [found.score(GRADED.get(client, client)) for client in FIRST_SCREEN]
    cases = max(every for _, every in scores)
    said = [str(good) if every else GAP for good, every in scores]
    return [f"[{cases} cases](docs/grade.md), done well", *said]


BLOCKS: Mapping[str, Callable[[Path], str]] = {
    "first": first_screen,
    "summary": lambda results: summary(Figures(newest(results))),
    "goals": lambda results: goals(Figures(newest(results))),
    "reference": lambda results: reference(Figures(newest(results / "reference"))),
    "parts": lambda results: parts(newest(results / "parts")),
}
