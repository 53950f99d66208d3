"""A continuation loses what it repeats and nothing else, in whatever pieces it comes."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from streamnursery.core.recovery.overlap import MIN_OVERLAP, MIN_WHOLE, Overlap, longest_overlap

TEXTS = st.text(max_size=60) | st.text("ab ", max_size=60) | st.text("é🌊\u0301東", max_size=20)


def pieces(text: str, cuts: set[int]) -> list[str]:
    edges = [0, *sorted(c for c in cuts if c < len(text)), len(text)]
    return [text[a:b] for a, b in pairwise(edges)]


def continued(overlap: Overlap, parts: list[str]) -> str:
    return "".join([*map(overlap.feed, parts), overlap.end()])


@given(before=TEXTS, after=TEXTS)
def test_the_longest_overlap_is_what_trying_every_length_finds(before: str, after: str) -> None:
    lengths = range(min(len(before), len(after)) + 1)
    assert longest_overlap(before, after) == max(n for n in lengths if before.endswith(after[:n]))


@given(
    before=TEXTS,
    after=TEXTS,
    length=st.integers(0, 60),
    cuts=st.sets(st.integers(0, 120)),
)
def test_an_overlap_of_any_length_is_dropped(
    before: str, after: str, length: int, cuts: set[int]
) -> None:
    said = before[max(0, len(before) - length) :] + after
    new = continued(Overlap(before, at_least=1), pieces(said, cuts))
    assert new == said[longest_overlap(before, said) :]
    assert len(before) + len(new) <= len(before) + len(after)


@given(before=TEXTS, after=TEXTS, cuts=st.sets(st.integers(0, 120)))
def test_pieces_never_change_what_is_new(before: str, after: str, cuts: set[int]) -> None:
    assert continued(Overlap(before), pieces(after, cuts)) == continued(Overlap(before), [after])


@given(before=TEXTS, after=TEXTS, cuts=st.sets(st.integers(0, 120)))
def test_a_short_repetition_stays(before: str, after: str, cuts: set[int]) -> None:
    new = continued(Overlap(before), pieces(after, cuts))
    dropped = len(after) - len(new)
    assert after.endswith(new)
    assert dropped == 0 or dropped >= min(MIN_OVERLAP, len(before))
    assert dropped == 0 or dropped >= MIN_WHOLE or before[0].isupper()


@given(before=TEXTS, after=TEXTS, cuts=st.sets(st.integers(0, 120)))
def test_text_is_held_back_only_while_it_may_be_a_repetition(
    before: str, after: str, cuts: set[int]
) -> None:
    overlap, heard, given_out = Overlap(before), "", ""
    for part in pieces(after, cuts):
        heard += part
        given_out += overlap.feed(part)
        assert not overlap.open or heard in before
        if not overlap.open:
            assert heard.endswith(given_out)


@given(words=st.text(min_size=1).filter(str.strip), tail=st.text(" \n\t", max_size=6), k=st.data())
def test_white_space_that_the_model_was_not_shown_is_not_said_twice(
    words: str, tail: str, k: st.DataObject
) -> None:
    shown = words.rstrip()
    said = tail + "-and so on"
    cuts = k.draw(st.sets(st.integers(0, len(said))))
    assert continued(Overlap(shown, tail=tail), pieces(said, cuts)) == "-and so on"
