"""docs/reference and docs/errors.md are made from the code."""

import sys

import pytest

from tests.reference import ERRORS, EVIDENCE_PAGE, FOLDER, errors_page, evidence_page, pages


@pytest.mark.skipif(
    sys.version_info[:2] != (3, 11),
    reason="made with the oldest Python: others print types otherwise",
)
def test_the_reference_is_what_the_code_says() -> None:
    """`make reference` writes it."""
    made = pages()
    assert sorted(path.name for path in FOLDER.glob("*.md")) == sorted(made)
    stale = [name for name, text in made.items() if (FOLDER / name).read_text() != text]
    assert stale == []


def test_every_public_name_has_a_place_with_words() -> None:
    made = pages()
    text = "".join(made.values())
    assert text.count("\n## `") > 200
    assert "class TokenStream" in made["streamnursery.md"]
    assert "Raises:" in made["streamnursery.md"]


def test_the_errors_are_explained_as_the_engine_treats_them() -> None:
    """`make reference` writes it."""
    assert ERRORS.read_text() == errors_page()


def test_what_makes_an_answer_whole_is_told_as_the_decoders_see_it() -> None:
    """`make reference` writes it."""
    assert EVIDENCE_PAGE.read_text() == evidence_page()
