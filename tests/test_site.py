"""What a reader of the documentation follows leads somewhere, in the repository and on the site."""

import re
from pathlib import Path, PurePosixPath

import pytest

from tests.site import (
    DOCS,
    ROOT,
    address,
    anchors,
    links,
    llms,
    mistakes,
    navigation,
    of_the_site,
    pages,
)


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    assert list(mistakes(page)) == []


def test_a_link_that_leads_nowhere_is_noticed() -> None:
    page = ROOT / "docs" / "index.md"
    text = "[a](no.md) [b](errors.md#no-such) `[c](code.md)` [d](https://example.org/x) ![e](f.svg)"
    assert [*links(text)] == ["no.md", "errors.md#no-such", "https://example.org/x", "f.svg"]
    assert "no-such" not in anchors(page.read_text())
    assert {"one-request", "money"} <= anchors((DOCS / "concepts.md").read_text())


def test_a_link_out_of_docs_is_absolute_on_the_site() -> None:
    text = "[a](../benchmarks/README.md#x) [b](errors.md) [c](#here) [d](../docs/faq.md)"
    assert of_the_site(text, PurePosixPath("bench.md")) == (
        f"[a]({address()}/benchmarks/README.md#x) [b](errors.md) [c](#here) [d](../docs/faq.md)"
    )
    assert f"({address()}/README.md)" in of_the_site(
        "[a](../../README.md)", PurePosixPath("start/x.md")
    )


def test_the_navigation_has_every_page_and_llms_txt_a_sentence_for_each() -> None:
    there = {
        PurePosixPath(page.relative_to(DOCS))
        for page in DOCS.rglob("*.md")
        if not page.is_relative_to(DOCS / "adr") and not page.is_relative_to(DOCS / "reference")
    }
    assert there <= {*navigation()}
    rows = re.findall(r"^- \[[^\]]+\]\((\S+)\): \S.+$", llms(), re.MULTILINE)
    assert rows == [str(page) for page in navigation()]
