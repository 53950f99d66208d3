"""Runs the tests that need no socket with the oldest and the newest trio that is allowed.

    python -m tests.trio_versions [--only oldest | --only newest]

Each has an environment of its own in build/trio, from requirements/dev.lock but for trio: the
oldest is the floor in pyproject.toml, the newest is what the package index has. The exit code is 1
when a test fails with either.
"""

import argparse
import os
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import attrs

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "trio"
LOCK = ROOT / "requirements" / "dev.lock"
ROOMS = ("tests/unit", "tests/property", "tests/simulation")
NAMES = ("oldest", "newest")
_PIP = ("-m", "pip", "--disable-pip-version-check")


@attrs.frozen
class Verdict:
    """What became of the tests with one trio."""

    name: str
    trio: str
    passed: bool
    summary: str
    """pytest's last line."""
    seconds: float


def main() -> int:
    """Prepare, run, tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.trio_versions", description=__doc__)
    parser.add_argument("--only", choices=NAMES, help="one of the two")
    only = parser.parse_args().only
    verdicts = [judged(name) for name in ([only] if only else NAMES)]
    for v in verdicts:
        print(f"{v.name}: trio {v.trio}, {v.seconds:.0f} s: {v.summary}")
    return int(not all(verdict.passed for verdict in verdicts))


def judged(name: str) -> Verdict:
    """Run the tests in the environment `name`, which is made or brought up to date first."""
    python = environment(name)
    version = _said(python, "-c", "import trio; print(trio.__version__)")
    print(f"{name}: trio {version}", flush=True)
    began = time.monotonic()
    command = (python, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", *ROOMS)
    last = ""
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "STREAMNURSERY_TIER": "test"},
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        for line in running.stdout:
            print(line, end="", flush=True)
            last = line.strip() or last
    return Verdict(name, version, running.returncode == 0, last, time.monotonic() - began)


def environment(name: str) -> Path:
    """The python of the environment `name`; what the lock pins is installed once per lock."""
    folder = BUILD / name
    python, ready = folder / "bin" / "python", folder / ".ready"
    locked = LOCK.read_text()
    if not ready.is_file() or ready.read_text() != locked:
        _run(sys.executable, "-m", "venv", "--clear", folder)
        rest = folder / "without-trio.lock"
        rest.write_text("".join(without(locked, "trio")))
        # --no-deps: some of them depend on trio, and pip would look for its hash.
        _run(python, *_PIP, "install", "-q", "--no-deps", "--require-hashes", "-r", rest)
        _run(python, *_PIP, "install", "-q", "--no-deps", "--no-build-isolation", "-e", ROOT)
        ready.write_text(locked)
    floor = trio_floor()
    wanted = f"trio=={floor}" if name == "oldest" else f"trio>={floor}"
    _run(python, *_PIP, "install", "-q", "--no-deps", "--upgrade", wanted)
    _run(python, *_PIP, "check")
    return python


def trio_floor() -> str:
    """The lowest version of trio that pyproject.toml allows."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (floor,) = (m[1] for item in project["dependencies"] if (m := re.match(r"trio>=(.+)", item)))
    return str(floor)


def without(lock: str, name: str) -> Iterator[str]:
    """The lines of a lock but for those that pin `name`."""
    dropping = False
    for line in lock.splitlines(keepends=True):
        if not line.startswith((" ", "#")):
            dropping = line.partition("==")[0].partition("[")[0] == name
        if not dropping:
            yield line


def _run(*command: str | Path) -> None:
    subprocess.run(command, cwd=ROOT, check=True)


def _said(*command: str | Path) -> str:
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
