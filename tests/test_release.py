"""What a release is checked for."""

import pytest

from streamnursery import __version__
from tests.release import ROOT, changelog_mistakes, version_mistakes

GOOD = """\
# Changelog

## [Unreleased]

### Added

## [0.2.0] - 2026-12-01

### Added

### Changed

### Fixed

## [0.1.0] - 2026-11-20

### Added
"""


def test_the_change_log_is_in_order() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert changelog_mistakes(text) == []
    assert f"## [{__version__}] - " in text


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("## [0.2.0]", "## [0.0.9]", "stands above"),
        ("2026-12-01", "2026-11-01", "stands above"),
        ("### Changed\n\n### Fixed", "### Fixed\n\n### Changed", "the sections are"),
        ("### Changed\n", "### Added\n", "the sections are"),
    ],
)
def test_a_change_log_out_of_order_is_noticed(old: str, new: str, said: str) -> None:
    assert changelog_mistakes(GOOD) == []
    assert old in GOOD
    (mistake,) = changelog_mistakes(GOOD.replace(old, new))
    assert said in mistake


def test_a_tag_names_the_version_of_the_package_and_of_the_change_log() -> None:
    assert version_mistakes("v0.2.0", "0.2.0", GOOD) == []
    assert version_mistakes("v0.3.0", "0.2.0", GOOD) != []
    assert version_mistakes("v0.3.0", "0.3.0", GOOD) != []
    assert version_mistakes("0.2.0", "0.2.0", GOOD) != []
