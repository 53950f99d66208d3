"""Plain text in columns."""

from collections.abc import Collection, Sequence


def aligned(lines: Sequence[Sequence[str]], *, right: Collection[int] = ()) -> str:
    """Cells in columns two spaces apart; the columns numbered in `right` end flush."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            text.rjust(width) if number in right else text.ljust(width)
            for number, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
