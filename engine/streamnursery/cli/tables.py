"""Plain text in columns."""

from collections.abc import Collection, Sequence

from streamnursery.cli.console import terminal_width


def aligned(lines: Sequence[Sequence[str]], *, right: Collection[int] = ()) -> str:
    """Cells in columns two spaces apart; the columns numbered in `right` end flush."""
    widths = _widths(lines)
    return "\n".join(
        "  ".join(
            text.rjust(width) if number in right else text.ljust(width)
            for number, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def fitted(lines: Sequence[Sequence[str]], *, keys: int = 1, right: Collection[int] = ()) -> str:
    """The same in the width of the terminal: where the columns do not fit, several tables, each
    with the first `keys` columns again."""
    widths = _widths(lines)
    most = terminal_width() - sum(width + 2 for width in widths[:keys])
    parts: list[list[int]] = [[]]
    room = most
    for column in range(keys, len(widths)):
        room -= widths[column] + (2 if parts[-1] else 0)
        if room < 0 and parts[-1]:
            parts.append([])
            room = most - widths[column]
        parts[-1].append(column)
    tables = []
    for part in parts:
        shown = [*range(keys), *part]
        flush = [at for at, column in enumerate(shown) if column in right]
        tables.append(aligned([[line[column] for column in shown] for line in lines], right=flush))
    return "\n\n".join(tables)


def _widths(lines: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*lines, strict=True)]
