"""Plants each defect in a copy of the tree and runs the tests that should notice it.

    python -m tests.mutants [--only WORDS] [--save docs/mutants.md]

A defect is found when a test fails, or has not ended after 30 seconds and eight times what it takes
in a sound tree. The exit code is 1 when fewer than 28 of all defects are found, or one of a
selection is not.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import attrs

from tests.mutants.batch_defects import BATCH_MUTANTS
from tests.mutants.defects import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
ALL = (*MUTANTS, *BATCH_MUTANTS)
ENOUGH = 28
_FIRST = 600.0
"""Seconds for a test in a sound tree."""
_MARGIN, _FACTOR = 30.0, 8
_COPIED = ("engine", "tests", "docs", "examples", "benchmarks", "pyproject.toml", "README.md")
_FAILED = 1
"""pytest's exit code when a test has failed; any other says that it could not run."""


@attrs.frozen
class Verdict:
    """What became of one defect."""

    mutant: Mutant
    noticed_by: str | None
    """The test that failed first; None: nobody noticed."""
    seconds: float


def main() -> int:
    """Plant, run, tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", default="", help="defects whose name has these words")
    parser.add_argument("--save", type=Path, help="write the page of results here")
    chosen = parser.parse_args()
    mutants = [m for m in ALL if chosen.only in m.name]
    verdicts = []
    for verdict in judged(mutants):
        verdicts.append(verdict)
        print(f"{verdict.seconds:6.1f} s  {verdict.mutant.name}: {_told(verdict)}", flush=True)
    found = sum(v.noticed_by is not None for v in verdicts)
    print(f"{found} of {len(verdicts)} found")
    if chosen.save is not None:
        chosen.save.write_text(page(verdicts))
    return int(found < min(ENOUGH, len(verdicts)))


def judged(mutants: list[Mutant]) -> Iterator[Verdict]:
    """One defect after another, each alone in the copy."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in _COPIED:
            _copy(ROOT / name, copy / name)
        _check_copy(copy)
        sound = dict[str, float]()
        for mutant in mutants:
            for test in mutant.tests:
                _check_sound(copy, test, sound)
            began = time.monotonic()
            path = copy / "engine" / "streamnursery" / mutant.file
            whole = path.read_text()
            path.write_text(planted(whole, mutant))
            try:
                runs = (run(copy, test, limit=sound[test]) for test in mutant.tests)
                noticed = next(filter(None, runs), None)
            finally:
                path.write_text(whole)
            yield Verdict(mutant, noticed, time.monotonic() - began)


def _environment(copy: Path) -> dict[str, str]:
    """The copy's package goes before the one that is installed in this interpreter."""
    path = os.pathsep.join((str(copy / "engine"), str(copy)))
    return {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def _check_copy(copy: Path) -> None:
    """A defect in a package that nobody imports would never be noticed."""
    command = [sys.executable, "-c", "import streamnursery; print(streamnursery.__file__)"]
    found = subprocess.run(
        command, cwd=copy, env=_environment(copy), capture_output=True, text=True, check=True
    )
    if not Path(found.stdout.strip()).is_relative_to(copy / "engine"):
        raise RuntimeError(f"the tests would import {found.stdout.strip()}, not the copy")


def _check_sound(copy: Path, test: str, sound: dict[str, float]) -> None:
    """What fails without any defect cannot notice one. How long a test may take with one goes into
    `sound`."""
    if test not in sound:
        began = time.monotonic()
        noticed = run(copy, test, limit=_FIRST)
        if noticed is not None:
            raise RuntimeError(f"{noticed} fails in a tree without a defect")
        sound[test] = _MARGIN + _FACTOR * (time.monotonic() - began)


def planted(text: str, mutant: Mutant) -> str:
    """`text` with the defect in it.

    Raises:
        ValueError: the place is not there, or not unique.
    """
    if text.count(mutant.old) != 1:
        msg = f"{mutant.file} has {text.count(mutant.old)} places for {mutant.name!r}; there is one"
        raise ValueError(msg)
    return text.replace(mutant.old, mutant.new)


def run(copy: Path, test: str, *, limit: float) -> str | None:
    """The first test of a file that fails; None if all pass."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    try:
        ran = subprocess.run(
            [*command, f"tests/{test}"],
            cwd=copy,
            env={**_environment(copy), "STREAMNURSERY_TIER": "test"},
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{test}, which does not end"
    if ran.returncode not in (0, _FAILED):
        msg = f"tests/{test} could not be run:\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}"
        raise RuntimeError(msg)
    lines = (line for line in ran.stdout.splitlines() if line.startswith("FAILED tests/"))
    failed = (line.removeprefix("FAILED tests/").split(" - ")[0] for line in lines)
    return next(failed, None) or (f"{test}, as a whole" if ran.returncode else None)


def page(verdicts: list[Verdict]) -> str:
    """docs/mutants.md."""
    found = sum(v.noticed_by is not None for v in verdicts)
    head = (
        "# Planted defects\n\n"
        "`make mutants` plants each of these, alone, in a copy of the tree, and runs the tests\n"
        "that should notice (`tests/mutants/defects.py` has the texts). This page is its work.\n\n"
        f"**{found} of {len(verdicts)} were found** in the tier `test`.\n\n"
        "| planted: | first noticed by |\n| --- | --- |\n"
    )
    rows = [f"| {v.mutant.name} | {_told(v)} |\n" for v in verdicts]
    return head + "".join(rows)


def _told(verdict: Verdict) -> str:
    return "**nobody**" if verdict.noticed_by is None else f"`{verdict.noticed_by}`"


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "build"))
    else:
        shutil.copy(source, target)


if __name__ == "__main__":
    sys.exit(main())
