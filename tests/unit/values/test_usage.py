"""Sums of usage: what one attempt does not tell is not taken for known."""

from streamnursery.values.usage import Usage


def test_a_sum_adds_what_both_report() -> None:
    one = Usage(10, 5, cached_tokens=2, reported=frozenset(["input_tokens"]))
    two = Usage(12, 7, reasoning_tokens=3, reported=frozenset(["output_tokens"]))
    both = one.plus(two)
    assert (both.input_tokens, both.output_tokens, both.total_tokens) == (22, 12, 34)
    assert (both.cached_tokens, both.reasoning_tokens, both.cache_write_tokens) == (2, 3, None)
    assert both.reported == {"input_tokens", "output_tokens"}
    assert not both.estimated


def test_a_sum_with_something_unknown_is_an_estimate() -> None:
    assert Usage(10, 5).plus(Usage(None, 3, estimated=True)) == Usage(10, 8, estimated=True)
    assert Usage(10, 5).plus(Usage(None, 3)).estimated
    assert Usage(10, 5).plus(None) == Usage(10, 5)
