"""What a release is checked for, before it is published (`make release TAG=v0.2.0`).

    python -m tests.release v0.2.0      needs the packages of requirements/release.lock

1. The tag, the package and the newest section of CHANGELOG.md name one version, and the sections
   are in order.
2. The wheel and the sdist are built; the wheel has what it should (check-wheel-contents), and both
   have metadata that an index takes (twine).
3. The wheel runs in an empty environment: `--version`, and the demo.
4. Public names are compared with the release before (griffe): what is gone or has changed is
   printed, and is an error where the version does not allow for it.
"""

import re
import shutil
import subprocess
import sys
import venv
from itertools import pairwise
from pathlib import Path

from streamnursery._version import __version__

ROOT = Path(__file__).parents[1]
DIST = ROOT / "build" / "dist"
VERSION = re.compile(r"^## \[(\d+)\.(\d+)\.(\d+)\] - (\d{4}-\d{2}-\d{2})$", re.MULTILINE)
SECTION = re.compile(r"^### (.+)$", re.MULTILINE)
ORDER = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
"""Of the sections of a version: https://keepachangelog.com/en/1.1.0/."""


def changelog_mistakes(text: str) -> list[str]:
    """What is wrong with the order of a change log."""
    found = [(tuple(map(int, match.groups()[:3])), match[4]) for match in VERSION.finditer(text)]
    mistakes = [
        f"{new} of {later} stands above {old} of {earlier}"
        for (new, later), (old, earlier) in pairwise(found)
        if new <= old or later < earlier
    ]
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        title = part.partition("\n")[0]
        sections = SECTION.findall(part)
        if sections != sorted(set(sections), key=ORDER.index):
            mistakes.append(f"{title}: the sections are {', '.join(sections)}")
    return mistakes


def version_mistakes(tag: str, version: str, changelog: str) -> list[str]:
    """Where the version is named otherwise."""
    newest = VERSION.search(changelog)
    named = ".".join(newest.groups()[:3]) if newest else "none"
    mistakes = []
    if tag != f"v{version}":
        mistakes.append(f"the tag is {tag}, and the package is {version}")
    if named != version:
        mistakes.append(f"the newest section of CHANGELOG.md is {named}, not {version}")
    return mistakes


def run(*words: str | Path, cwd: Path = ROOT) -> None:
    """A command that has to succeed."""
    print("$", *words, flush=True)
    subprocess.run(words, check=True, cwd=cwd)


def built() -> list[Path]:
    """The sdist and the wheel."""
    shutil.rmtree(DIST, ignore_errors=True)
    run(sys.executable, "-m", "hatchling", "build", "--directory", DIST)
    return sorted(DIST.iterdir())


def runs(wheel: Path) -> None:
    """Install it into an empty environment, and use it."""
    folder = ROOT / "build" / "release"
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    program = folder / "bin" / "streamnursery"
    run(folder / "bin" / "python", "-m", "pip", "install", "--quiet", f"{wheel}[cli]")
    run(program, "--version", cwd=folder)
    run(program, "demo", "--streams", "20", "--speed", "20", cwd=folder)


def last_tag(before: str) -> str | None:
    """The release before this one."""
    told = subprocess.run(
        ["git", "tag", "--list", "v*", "--sort=-version:refname"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout.split()
    return next((tag for tag in told if tag != before), None)


def compare_names(tag: str) -> None:
    """Public names against those of the release before."""
    before = last_tag(tag)
    if before is None:
        print("no earlier release: public names are compared with nothing")
        return
    told = subprocess.run(
        [sys.executable, "-m", "griffe", "check", "streamnursery", "-s", "engine", "-a", before],
        cwd=ROOT,
    )
    old, new = (re.findall(r"\d+", name) for name in (before, tag))
    may_break = new[0] != old[0] or (new[0] == "0" and new[1] != old[1])
    if told.returncode and not may_break:
        sys.exit(f"names have changed since {before}; a version that may break is needed")


def main(tag: str) -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    mistakes = [*version_mistakes(tag, __version__, changelog), *changelog_mistakes(changelog)]
    if mistakes:
        sys.exit("\n".join(mistakes))
    sdist, wheel = sorted(built(), key=lambda path: path.suffix == ".whl")
    run(sys.executable, "-m", "check_wheel_contents", wheel)
    run(sys.executable, "-m", "twine", "check", "--strict", sdist, wheel)
    runs(wheel)
    compare_names(tag)
    print(f"{tag} can be published: {sdist.name}, {wheel.name}")


if __name__ == "__main__":
    main(sys.argv[1])
