"""Texts for a debugger, a log and a notebook: what fits a line, and a table."""

from collections.abc import Iterable, Sequence

LINE = 110
"""Characters that a `repr` has at most."""


def cut(text: str, most: int) -> str:
    """`text` in one line of at most `most` characters."""
    text = " ".join(text.split()) if "\n" in text or "\r" in text else text
    return text if len(text) <= most else f"{text[: most - 3]}..."


def line(kind: str, parts: Iterable[str]) -> str:
    """`<kind part, part>`, without those that are empty."""
    said = ", ".join(part for part in parts if part)
    return f"<{cut(f'{kind} {said}' if said else kind, LINE - 2)}>"


def error_line(kind: str, status: int | None, endpoint: str | None, text: str) -> str:
    """Of an exception, the beginning of its message."""
    where = f"{kind} {status or ''}".strip() + (f" at {endpoint}" if endpoint else "")
    return f"<{cut(f'{where}: {text}', LINE - 2)}>"


def seconds(value: float | None) -> str:
    """A duration to three digits; a dash where there is none."""
    return "-" if value is None else f"{value:.3g} s"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns of text: the first to the left, the others to the right."""
    lines = [list(heads), *(list(row) for row in rows)]
    widths = [max(len(row[place]) for row in lines) for place in range(len(heads))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in lines
    )
