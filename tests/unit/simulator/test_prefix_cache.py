"""What a simulated server has computed of a prompt before, and what that changes."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamnursery as sn
from streamnursery.simulator import Profile
from streamnursery.simulator.prefix_cache import BLOCK, PrefixCache
from streamnursery.simulator.question import Question, question_of
from tests.support.scene import scene, virtual

CACHING = Profile(ttft_mean=1.0, ttft_p95=1.0, output_tokens=(3, 3), prefix_cache=10_000)
prompts = st.lists(st.sampled_from("ab"), max_size=6 * BLOCK).map(" ".join)


def asked(prompt: str) -> Question:
    return question_of(sn.ChatRequest("m", prompt))


def tokens(prompt: str) -> list[str]:
    return ["", "", "", *prompt.split()]


@given(st.lists(prompts, max_size=6))
def test_it_finds_the_longest_beginning_in_whole_blocks_that_it_has_seen(asks: list[str]) -> None:
    cache, seen = PrefixCache(), list[Sequence[str]]()
    for prompt in asks:
        mine = tokens(prompt)
        blocks = [
            end
            for end in range(BLOCK, len(mine) + 1, BLOCK)
            if any(other[:end] == mine[:end] for other in seen)
        ]
        found = cache.look_up(asked(prompt), 10**9)
        longest = max((end for end in blocks if end < len(mine)), default=0)
        assert found == longest
        seen.append(mine)


@given(st.integers(0, 5), st.lists(prompts, max_size=6))
def test_it_keeps_no_more_than_it_may(blocks: int, asks: list[str]) -> None:
    cache = PrefixCache()
    for prompt in asks:
        assert 0 <= cache.look_up(asked(prompt), blocks * BLOCK) < max(1, len(tokens(prompt)))
        assert len(cache._blocks) <= blocks


@pytest.mark.parametrize(
    "dialect", ["openai-chat", "openai-responses", "anthropic-messages", "gemini"]
)
@virtual
async def test_a_cached_beginning_is_reported_in_every_language_and_answered_sooner(
    dialect: str,
) -> None:
    base = "/v1beta" if dialect == "gemini" else "/v1"
    endpoint = {"url": f"http://main.example.com{base}", "dialect": dialect}
    async with scene(profile=CACHING, endpoints={"main": endpoint}) as place:
        answers = [
            await place.engine.complete("m", "one two " * 100 + last, max_tokens=9)
            for last in ("three", "four", "five")
        ]
    usages = [answer.usage for answer in answers if answer.usage is not None]
    assert [usage.input_tokens for usage in usages] == [204] * 3
    assert [usage.cached_tokens or 0 for usage in usages] == [0, 192, 192]
    waits = [answer.timings.time_to_first_token for answer in answers]
    assert waits == pytest.approx([1.0, 12 / 204, 12 / 204])


@virtual
async def test_accounts_find_nothing_of_each_other() -> None:
    keys = [sn.Secret("one"), sn.Secret("two")]
    endpoint = {"url": "http://main.example.com/v1", "keys": keys}
    async with scene(profile=CACHING, endpoints={"main": endpoint}) as place:
        answers = [await place.engine.complete("m", "word " * 100) for _ in range(4)]
    found = [answer.usage.cached_tokens for answer in answers if answer.usage is not None]
    assert found == [0, 0, 96, 96]
