"""The planted defects can be planted, and those who should notice them exist."""

import ast
from pathlib import Path

import pytest

from tests.mutants.__main__ import ALL, ENOUGH, planted
from tests.mutants.defects import Mutant

ROOT = Path(__file__).parents[2]


def test_there_are_enough_and_each_has_a_name_of_its_own() -> None:
    assert len(ALL) >= 30
    assert len({mutant.name for mutant in ALL}) == len(ALL)
    assert len(ALL) >= ENOUGH


@pytest.mark.parametrize("mutant", ALL, ids=lambda mutant: mutant.name)
def test_it_can_be_planted_and_is_python(mutant: Mutant) -> None:
    whole = (ROOT / "engine" / "streamnursery" / mutant.file).read_text()
    broken = planted(whole, mutant)
    assert ast.dump(ast.parse(broken)) != ast.dump(ast.parse(whole))
    assert [test for test in mutant.tests if not (ROOT / "tests" / test).is_file()] == []


def test_a_place_that_is_gone_is_an_error() -> None:
    with pytest.raises(ValueError, match="has 0 places"):
        planted("nothing", ALL[0])
