"""The documents name what exists, all of it where they say so, and nothing else."""

import re
import shlex
from pathlib import Path

import pytest

from benchmarks.grade_table import grades, page
from benchmarks.publish.documents import DOCUMENTS, written
from streamnursery.cli.entry import _with_verb, build_parser
from streamnursery.cli.exits import exit_code
from streamnursery.simulator.script import FAULTS
from streamnursery.values import errors
from tests.support.cli import ROOT

DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def every(kind: type[errors.EngineError]) -> list[type[errors.EngineError]]:
    return [kind, *(found for below in kind.__subclasses__() for found in every(below))]


def told() -> dict[str, list[str]]:
    """The rows of docs/errors.md that begin with a class, by its name."""
    text = (ROOT / "docs" / "errors.md").read_text()
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in row] for row in rows]
    return {row[0].strip("`"): row[1:] for row in cells if row[0].endswith("Error`")}


def commands() -> list[tuple[str, str]]:
    """Every line of a code block in which the command is called."""
    found = []
    for path in DOCS:
        for block in re.findall(r"```sh\n(.*?)```", path.read_text(), re.DOTALL):
            for line in block.splitlines():
                called = re.search(r"(?:^|\| )streamnursery (.+?)(?:\s+#.*)?$", line)
                if called is not None:
                    found.append((path.name, called[1]))
    return found


def test_every_error_is_explained_and_no_other() -> None:
    kinds = {
        k.__name__ for k in every(errors.EngineError) if k.__module__.startswith("streamnursery")
    }
    assert set(told()) == kinds


@pytest.mark.parametrize("name", sorted(told()))
def test_what_is_said_of_an_error_holds(name: str) -> None:
    kind: type[errors.EngineError] = getattr(errors, name)
    category, retried, code, means, what_to_do = told()[name]
    assert category == kind.category
    assert int(code) == exit_code(kind("it failed"))
    if not kind.retryable_by_default:
        assert "here" not in retried.replace("elsewhere", "")
    assert means.endswith(".")
    assert what_to_do.endswith(".")


def test_there_are_commands_in_the_documents() -> None:
    assert {name for name, _ in commands()} >= {"README.md", "quickstart.md"}


@pytest.mark.parametrize(("document", "line"), commands())
def test_every_command_in_the_documents_exists(document: str, line: str) -> None:
    del document
    _, extra = build_parser().parse_known_args(_with_verb(shlex.split(line)))
    assert extra == []


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_every_link_leads_to_a_file(path: Path) -> None:
    targets = [path.parent / target for target in _LINK.findall(path.read_text())]
    assert [str(target) for target in targets if not target.exists()] == []


def test_what_is_compared_stands_in_the_results() -> None:
    text = (ROOT / "docs" / "comparison.md").read_text()
    linked = re.findall(r"\((\.\./benchmarks/results/[^)]+)\)", text)
    measured = "".join((ROOT / "docs" / path).read_text() for path in linked)
    measured += page(grades(ROOT / "benchmarks" / "results" / "grade"))
    tables, _, _ = text.partition("## What an installation weighs")
    rows = [line for line in tables.splitlines() if line.startswith("|")]
    assert len(rows) > 30
    assert [row for row in rows if row not in measured] == []


def test_the_grades_are_those_that_were_saved() -> None:
    saved = page(grades(ROOT / "benchmarks" / "results" / "grade"))
    assert (ROOT / "docs" / "grade.md").read_text() == saved


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_what_was_measured_is_what_was_saved(path: Path) -> None:
    """`python -m benchmarks.publish` mends it."""
    assert "<!--figures:" in path.read_text()
    assert path.read_text() == written(path.read_text())


def test_the_first_screen_is_short_and_says_what_it_is_for() -> None:
    text = (ROOT / "README.md").read_text()
    # Pipes and figures, which a new measurement replaces, are not words.
    assert len([word for word in text.split() if re.search(r"[A-Za-z]", word)]) <= 400
    assert len(text.splitlines()) <= 80
    assert "streamnursery.aio" in text
    assert "streamnursery.sync" in text
    assert "streamnursery demo" in text
    assert "make test" in text


def test_the_faults_are_counted_right() -> None:
    assert f"{len(FAULTS)} kinds of faults" in (ROOT / "README.md").read_text()
