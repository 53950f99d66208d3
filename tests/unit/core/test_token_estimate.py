"""Tokens before anybody has counted them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnursery.core.limits.token_estimate import TokenEstimates, input_tokens, text_tokens
from streamnursery.values.request import ChatRequest
from streamnursery.values.usage import Usage


def by_hand(text: str) -> float:
    shares = ((0x80, 0.25), (0x800, 0.45), (0x10000, 0.8), (0x110000, 2.0))
    return sum(next(share for end, share in shares if ord(c) < end) for c in text)


@given(st.text(st.characters(exclude_categories=[])))
def test_the_classes_are_counted_as_character_by_character(text: str) -> None:
    assert text_tokens(text) == pytest.approx(by_hand(text))


def ask(content: object, **fields: object) -> ChatRequest:
    return ChatRequest("m", [{"role": "user", "content": content}], **fields)  # type: ignore[arg-type]


def test_a_message_costs_a_few_tokens_more_than_its_text() -> None:
    assert input_tokens(ask("x" * 400)) == 104


def test_parts_tools_and_formats_count() -> None:
    text = "x" * 400
    plain = input_tokens(ask(text))
    parts = input_tokens(ask([{"type": "text", "text": text}]))
    assert plain < parts < plain + 10
    tools = [{"type": "function", "function": {"name": "f", "description": text}}]
    assert input_tokens(ask(text, tools=tools)) > plain + 100
    assert input_tokens(ask(text, response_format={"type": "json", "schema": text})) > plain + 100


def test_a_picture_counts_as_a_picture_and_not_as_its_base64() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 10**6}}
    assert input_tokens(ask([picture])) < 1000


def test_nesting_is_followed_to_a_bound() -> None:
    deep: object = "x" * 4000
    for _ in range(50):
        deep = [deep]
    assert input_tokens(ask(deep)) < 100


def test_output_is_what_the_request_allows_or_what_answers_were() -> None:
    estimates = TokenEstimates()
    assert estimates.tokens("m", ask("hi", max_tokens=7, n=3), 4.0) == (4, 21)
    assert estimates.tokens("m", ask("hi"), 4.0) == (4, 512)
    for _ in range(60):
        estimates.learn("m", 4.0, Usage(4, 100))
    assert estimates.tokens("m", ask("hi"), 4.0)[1] == pytest.approx(100, abs=2)
    assert estimates.tokens("other", ask("hi"), 4.0)[1] == 512


def test_the_factor_follows_the_counts_of_its_model() -> None:
    estimates = TokenEstimates()
    for _ in range(20):
        estimates.learn("m", 100.0, Usage(150, None))
    assert estimates.tokens("m", ask("hi"), 1000.0)[0] == pytest.approx(1500, rel=0.01)
    assert estimates.factor("other") == 1.0


@pytest.mark.parametrize("counted", [0, None, 10**12])
def test_odd_counts_do_not_spoil_the_factor(counted: int | None) -> None:
    estimates = TokenEstimates()
    for _ in range(20):
        estimates.learn("m", 100.0, Usage(100, 100))
    estimates.learn("m", 100.0, Usage(counted, counted))
    assert 0.9 <= estimates.factor("m") <= 1.5
