"""What proves a stream whole, row by row."""

import pytest

from streamnursery.wire.evidence import OPENAI_CHAT, OPENAI_RESPONSES, Sign, complete


@pytest.mark.parametrize(
    ("signs", "whole"),
    [
        (set(), False),
        ({Sign.END_MARK}, False),
        ({Sign.END_MARK, Sign.CLEAN_END}, False),
        ({Sign.END_MARK, Sign.SAID}, True),
        ({Sign.EVERY_CHOICE_FINISHED}, False),
        ({Sign.CLEAN_END}, False),
        ({Sign.EVERY_CHOICE_FINISHED, Sign.CLEAN_END}, True),
        ({Sign.SAID, Sign.CLEAN_END}, False),
        (set(Sign), True),
    ],
)
def test_openai_chat_is_whole_by_its_mark_or_by_reasons_and_a_clean_end(
    signs: set[Sign], whole: bool
) -> None:
    assert complete(OPENAI_CHAT, signs) is whole


@pytest.mark.parametrize("signs", [set(), {Sign.CLEAN_END}, {Sign.EVERY_CHOICE_FINISHED}])
def test_openai_responses_are_whole_by_their_last_event_alone(signs: set[Sign]) -> None:
    assert not complete(OPENAI_RESPONSES, signs)
    assert complete(OPENAI_RESPONSES, signs | {Sign.END_MARK})
