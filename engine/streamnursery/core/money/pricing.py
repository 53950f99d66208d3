"""From tokens to money: one function for what is reserved and for what is settled.

Rule 1: the sum is exact and rounded up once, to the next nano, so that a reservation of more
        tokens never costs less.
Rule 2: providers count differently, and `Usage` does not: OpenAI's prompt and completion tokens
        include cached and reasoning tokens; Anthropic's input leaves out both kinds of cached
        tokens; Gemini's candidates leave out thoughts. `whole_usage` makes them one.
Rule 3: a count that is not known is priced as the more expensive kind it may have been.
"""

from collections.abc import Mapping
from typing import Literal

import attrs

from streamnursery.values.prices import TOKENS_PER_RATE, Price, TokenRates
from streamnursery.values.usage import Usage

UsageRule = Literal["inclusive", "cached-apart", "reasoning-apart"]
"""As OpenAI, as Anthropic and as Gemini count."""


@attrs.frozen
class _Inclusion:
    cached_in_input: bool
    written_in_input: bool
    reasoning_in_output: bool


_RULES: Mapping[UsageRule, _Inclusion] = {
    "inclusive": _Inclusion(True, True, True),
    "cached-apart": _Inclusion(False, False, True),
    "reasoning-apart": _Inclusion(True, True, False),
}


def whole_usage(counts: Usage, rule: UsageRule) -> Usage:
    """`counts` as the provider gives them, with cached tokens in the input and reasoning in the
    output, which is how `Usage` has them."""
    if rule == "inclusive":
        return counts
    inclusion = _RULES[rule]
    spent, made = counts.input_tokens, counts.output_tokens
    if spent is not None:
        spent += 0 if inclusion.cached_in_input else counts.cached_tokens or 0
        spent += 0 if inclusion.written_in_input else counts.cache_write_tokens or 0
    if made is not None and not inclusion.reasoning_in_output:
        made += counts.reasoning_tokens or 0
    return attrs.evolve(counts, input_tokens=spent, output_tokens=made)


def cost(price: Price, usage: Usage) -> int:
    """Nano-dollars of `usage`; a count of None is nothing, one beyond its whole is cut to it."""
    spent, made = usage.input_tokens or 0, usage.output_tokens or 0
    rates = price.rates_for(spent)
    cached = min(usage.cached_tokens or 0, spent)
    written = min(usage.cache_write_tokens or 0, spent - cached)
    hour = min(usage.cache_write_hour_tokens or 0, written)
    reasoning = min(usage.reasoning_tokens or 0, made)
    write_rate = _or(rates.cache_write, rates.input)
    total = (
        (spent - cached - written) * rates.input
        + cached * _or(rates.cached_input, rates.input)
        + (written - hour) * write_rate
        + hour * _or(rates.cache_write_hour, write_rate)
        + (made - reasoning) * rates.output
        + reasoning * _or(rates.reasoning, rates.output)
    )
    return -(-total // TOKENS_PER_RATE)


def worst_usage(price: Price, input_tokens: int, output_tokens: int) -> Usage:
    """The most that so many tokens can turn out to be: for a reservation, before any are
    counted by the provider."""
    rates = price.rates_for(input_tokens)
    written = _dearer(rates.cache_write, rates.input)
    others = max(rates.input, _or(rates.cache_write, rates.input))
    hour = _dearer(rates.cache_write_hour, others)
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cache_write_tokens=input_tokens if written or hour else None,
        cache_write_hour_tokens=input_tokens if hour else None,
        reasoning_tokens=output_tokens if _dearer(rates.reasoning, rates.output) else None,
        estimated=True,
    )


def affordable_output(price: Price, input_tokens: int, nanos: int) -> int:
    """Output tokens that `nanos` pay for after `input_tokens`; at worst 0."""
    spent = cost(price, worst_usage(price, input_tokens, 0))
    if nanos < spent:
        return 0
    rate = dearest_output(price.rates_for(input_tokens))
    return 10**12 if rate == 0 else (nanos - spent) * TOKENS_PER_RATE // rate


def dearest_output(rates: TokenRates) -> int:
    """Nano-dollars per million tokens of whichever kind of output costs more."""
    return max(rates.output, _or(rates.reasoning, rates.output))


def _or(rate: int | None, instead: int) -> int:
    return instead if rate is None else rate


def _dearer(rate: int | None, than: int) -> bool:
    return rate is not None and rate > than
