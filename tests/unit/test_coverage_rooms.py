"""The table of `make cover`: files are added up by folder."""

from typing import Any

from tests.coverage_rooms import rooms, table


def measured(lines: int, lines_run: int, branches: int, branches_run: int) -> dict[str, Any]:
    return {
        "summary": {
            "num_statements": lines,
            "covered_lines": lines_run,
            "num_branches": branches,
            "covered_branches": branches_run,
        }
    }


REPORT = {
    "files": {
        "engine/streamnursery/core/limits/bucket.py": measured(10, 9, 4, 3),
        "engine/streamnursery/core/limits/dates.py": measured(10, 10, 2, 2),
        "engine/streamnursery/logs.py": measured(4, 4, 0, 0),
        "engine/streamnursery/wire/__init__.py": measured(0, 0, 0, 0),
    }
}


def test_files_of_one_folder_are_one_room_and_all_come_to_the_whole() -> None:
    found = rooms(REPORT)
    assert list(found) == ["(top)", "core/limits", "wire", "all"]
    limits = found["core/limits"]
    assert (limits.lines, limits.lines_run, limits.branches, limits.branches_run) == (20, 19, 6, 5)
    assert limits.percent == 100 * 24 / 26
    assert found["all"].percent == 100 * 28 / 30
    assert found["wire"].percent == 100


def test_the_table_has_a_row_for_each_room() -> None:
    assert list(table(REPORT))[2:] == [
        "| (top) | 4 | 4 | 0 | 0 | 100.0 |",
        "| core/limits | 20 | 19 | 6 | 5 | 92.3 |",
        "| wire | 0 | 0 | 0 | 0 | 100.0 |",
        "| all | 24 | 23 | 6 | 5 | 93.3 |",
    ]
