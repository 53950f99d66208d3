"""Running the command, in this process and in one of its own, in an empty world."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest

from streamnursery.cli import main
from tests.support.guard import GUARD, guarded

ROOT = Path(__file__).parents[2]
_KEPT = ("PATH", "SYSTEMROOT", "COVERAGE_PROCESS_CONFIG")
"""The last one measures commands too, under `make cover`."""


def empty_world(folder: Path) -> dict[str, str]:
    """An environment without keys, proxies, configuration or colour."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {**kept, "HOME": str(folder), "PYTHONPATH": str(ROOT / "engine"), "TERM": "xterm"}


@attrs.frozen
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str


@attrs.frozen
class Command:
    """Runs commands in `folder`."""

    folder: Path
    capture: pytest.CaptureFixture[str]

    def __call__(self, *words: str) -> Ran:
        """Run it in this process."""
        self.capture.readouterr()
        code = main(words)
        caught = self.capture.readouterr()
        return Ran(code, caught.out, caught.err)

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path


@contextmanager
def start(
    folder: Path, *words: str, stdin: int | None = subprocess.DEVNULL, **environ: str
) -> Iterator["subprocess.Popen[str]"]:
    """Run it in a process of its own, with warnings as errors, until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "streamnursery", *words],
        cwd=folder,
        env={**empty_world(folder), **environ},
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with guarded(process):
        yield process


def run(folder: Path, *words: str, stdin: str | None = None, **environ: str) -> Ran:
    """Run it in a process of its own; `stdin` is what is piped into it."""
    pipe = subprocess.DEVNULL if stdin is None else subprocess.PIPE
    with start(folder, *words, stdin=pipe, **environ) as process:
        out, err = process.communicate(stdin, timeout=GUARD)
    return Ran(process.returncode, out, err)


def run_python(folder: Path, *words: str | Path) -> Ran:
    """Run Python with warnings as errors, in the empty world."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *words],
        cwd=folder,
        env=empty_world(folder),
        capture_output=True,
        text=True,
        timeout=GUARD,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)
