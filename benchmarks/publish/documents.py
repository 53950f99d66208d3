"""The blocks of the documents that are made from raw results."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.grade_table import grades
from benchmarks.publish.comparison import goals, summary
from benchmarks.publish.figures import GAP, Figures, cell, newest, table
from benchmarks.publish.parts import parts
from benchmarks.publish.reference import reference, short

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
DOCUMENTS = (ROOT / "README.md", ROOT / "docs" / "benchmarks.md")
_BLOCK = re.compile(r"(<!--figures:([a-z]+)-->\n).*?(<!--end-->)", re.DOTALL)
FIRST_SCREEN = {
    "engine": "this engine",
    "AsyncOpenAI": "AsyncOpenAI",
    "litellm": "litellm",
    "aiohttp + orjson": "aiohttp + orjson",
    "Node, plain": "Node",
}
GRADED = {"AsyncOpenAI": "openai", "Node, plain": ""}
"""What a client of the comparison is called in the grades, if they know it by another name."""


def written(text: str, results: Path = RESULTS) -> str:
    """The document with every block as the results have it.

    Raises:
        KeyError: a block has a name that nobody makes.
    """
    return _BLOCK.sub(lambda found: found[1] + BLOCKS[found[2]](results) + found[3], text)


def first_screen(results: Path) -> str:
    """What matters most, beside the clients that people have."""
    found = Figures(newest(results))
    rows = [
        ["CPU for [a token](docs/benchmarks.md), answers ready, us", *_of(found, "burst-10")],
        ["the same, one at a time", *_of(found, "paced-100x50")],
        ["CPU for a stream's start, us", *_of(found, "start")],
        ["KiB for a held stream", *_of(found, "hold-1000", "kib_per_stream")],
    ]
    head = ["measured on two cores", *FIRST_SCREEN.values()]
    return table(head, [_grades(results), *rows])


def _of(found: Figures, row: str, key: str = "cpu_us") -> list[str]:
    values = [found.of(row, client, key) for client in FIRST_SCREEN]
    return [cell(value, "{:,.1f}" if value and value < 10 else "{:,.0f}") for value in values]


def _grades(results: Path) -> list[str]:
    found = grades(results / "grade")
    scores = [found.score(GRADED.get(client, client)) for client in FIRST_SCREEN]
    cases = max(every for _, every in scores)
    said = [str(good) if every else GAP for good, every in scores]
    return [f"[{cases} cases](docs/grade.md), done well", *said]


BLOCKS: Mapping[str, Callable[[Path], str]] = {
    "first": first_screen,
    "quoted": lambda results: short(Figures(newest(results / "reference"))),
    "summary": lambda results: summary(Figures(newest(results))),
    "goals": lambda results: goals(Figures(newest(results))),
    "reference": lambda results: reference(Figures(newest(results / "reference"))),
    "parts": lambda results: parts(newest(results / "parts")),
}
