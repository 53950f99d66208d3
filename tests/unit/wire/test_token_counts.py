"""Zero, null and absent are three things, and nonsense is a fourth."""

from typing import Any

import pytest

from streamnursery.values.usage import Usage
from streamnursery.wire.token_counts import read_usage


def test_zero_null_and_absent_differ() -> None:
    usage = read_usage({"prompt_tokens": 0, "completion_tokens": None})
    assert usage == Usage(input_tokens=0, reported=frozenset({"input_tokens", "output_tokens"}))


@pytest.mark.parametrize("raw", [{}, {"total_tokens": 5}, {"cost": 0.1}])
def test_an_object_without_a_known_field_is_no_usage(raw: dict[str, Any]) -> None:
    assert read_usage(raw) is None


@pytest.mark.parametrize(
    "value", [-1, True, "12", 1.5, float("inf"), float("-inf"), float("nan"), 2**53 + 1, [], {}]
)
def test_what_is_no_count_is_refused_and_reported(value: object) -> None:
    field = frozenset({"input_tokens"})
    assert read_usage({"prompt_tokens": value}) == Usage(reported=field, refused=field)


@pytest.mark.parametrize(
    ("raw", "field", "tokens"),
    [
        ({"input_tokens": 3}, "input_tokens", 3),
        ({"output_tokens": 3.0}, "output_tokens", 3),
        ({"prompt_tokens_details": {"cached_tokens": 3}}, "cached_tokens", 3),
        ({"input_tokens_details": {"cached_tokens": 3}}, "cached_tokens", 3),
        ({"prompt_cache_hit_tokens": 3}, "cached_tokens", 3),
        ({"cached_tokens": 3}, "cached_tokens", 3),
        ({"prompt_tokens_details": {"cache_write_tokens": 3}}, "cache_write_tokens", 3),
        ({"cache_creation_input_tokens": 3}, "cache_write_tokens", 3),
        ({"completion_tokens_details": {"reasoning_tokens": 3}}, "reasoning_tokens", 3),
        ({"reasoning_tokens": 3}, "reasoning_tokens", 3),
        ({"prompt_tokens_details": None, "cached_tokens": 3}, "cached_tokens", 3),
        ({"prompt_tokens": 3, "input_tokens": 4}, "input_tokens", 3),
    ],
)
def test_a_count_is_found_where_servers_put_it(
    raw: dict[str, Any], field: str, tokens: int
) -> None:
    usage = read_usage(raw)
    assert usage is not None
    assert getattr(usage, field) == tokens
    assert usage.reported == {field}


@pytest.mark.parametrize(
    ("total", "output"), [(10, 5), (13, 8), (None, 5), (12, 5), ("13", 5), (14, 5)]
)
def test_reasoning_is_added_only_where_the_total_says_it_stands_apart(
    total: object, output: int
) -> None:
    usage = read_usage({
        "prompt_tokens": 5,
        "completion_tokens": 5,
        "total_tokens": total,
        "completion_tokens_details": {"reasoning_tokens": 3},
    })
    assert usage is not None
    assert usage.output_tokens == output


def test_reasoning_without_a_prompt_count_is_not_added() -> None:
    usage = read_usage({"completion_tokens": 5, "reasoning_tokens": 3, "total_tokens": 8})
    assert usage is not None
    assert usage.output_tokens == 5


def test_anthropics_counts_leave_cached_tokens_out_of_the_input() -> None:
    raw = {
        "input_tokens": 10,
        "output_tokens": 50,
        "cache_read_input_tokens": 1000,
        "cache_creation_input_tokens": 5000,
    }
    usage = read_usage(raw)
    assert usage is not None
    assert (usage.input_tokens, usage.cached_tokens, usage.cache_write_tokens) == (6010, 1000, 5000)
