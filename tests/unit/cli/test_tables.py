"""Tables fit the terminal."""

import pytest

from streamnursery.cli import tables

LINES = [["name", "a", "b", "c"], ["one", "x" * 10, "y" * 10, "z" * 10]]


@pytest.mark.parametrize(
    ("width", "heads"),
    [
        (80, [["name", "a", "b", "c"]]),
        (40, [["name", "a", "b", "c"]]),
        (39, [["name", "a", "b"], ["name", "c"]]),
        (20, [["name", "a"], ["name", "b"], ["name", "c"]]),
        (5, [["name", "a"], ["name", "b"], ["name", "c"]]),
    ],
)
def test_columns_that_do_not_fit_begin_another_table(
    monkeypatch: pytest.MonkeyPatch, width: int, heads: list[list[str]]
) -> None:
    monkeypatch.setattr(tables, "terminal_width", lambda: width)
    text = tables.fitted(LINES)
    assert [part.splitlines()[0].split() for part in text.split("\n\n")] == heads
    if width >= 20:
        assert max(map(len, text.splitlines())) <= width


def test_columns_that_end_flush_do_so_in_every_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "terminal_width", lambda: 20)
    assert tables.fitted(LINES, right=[2]).splitlines()[3].endswith(" b")
