"""What tokens cost: per model and date, by kind of token, in tiers by the size of the input.

TokenRates are nano-dollars per million tokens, so that the smallest published price is still whole.
"""

from __future__ import annotations

from datetime import date

import attrs
from attrs.validators import deep_iterable, instance_of

from streamnursery.values.money import Money

TOKENS_PER_RATE = 10**6
"""Tokens that a rate is for."""


def _rate(_: object, field: attrs.Attribute[int], value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        msg = f"{field.name} must be a whole number of nano-dollars >= 0, not {value!r}"
        raise ValueError(msg)


_optional_rate = attrs.validators.optional(_rate)


@attrs.frozen
class TokenRates:
    """Nano-dollars per million tokens of each kind."""

    input: int = attrs.field(validator=_rate)
    output: int = attrs.field(validator=_rate)
    cached_input: int | None = attrs.field(default=None, validator=_optional_rate)
    """Input read from the provider's cache; None: as `input`."""
    cache_write: int | None = attrs.field(default=None, validator=_optional_rate)
    """Input written to the provider's cache; None: as `input`."""
    cache_write_hour: int | None = attrs.field(default=None, validator=_optional_rate, kw_only=True)
    """Input written to be kept for an hour; None: as `cache_write`."""
    reasoning: int | None = attrs.field(default=None, validator=_optional_rate)
    """Hidden output; None: as `output`."""


@attrs.frozen
class Tier:
    """TokenRates that hold for the whole request once its input is larger than `above` tokens."""

    above: int = attrs.field(validator=_rate)
    rates: TokenRates = attrs.field(validator=instance_of(TokenRates))


@attrs.frozen
class Price:
    """The rates of one model from one day on."""

    rates: TokenRates = attrs.field(validator=instance_of(TokenRates))
    tiers: tuple[Tier, ...] = attrs.field(default=(), validator=deep_iterable(instance_of(Tier)))
    source: str = ""
    """Where the figures were read."""
    as_of: date = date.min
    """The first day for which they hold."""

    def rates_for(self, input_tokens: int) -> TokenRates:
        """The rates of a request with so many input tokens, cached ones included."""
        found, threshold = self.rates, -1
        for tier in self.tiers:
            if threshold < tier.above < input_tokens:
                found, threshold = tier.rates, tier.above
        return found


def price_on(prices: tuple[Price, ...], day: date) -> Price | None:
    """The newest of `prices` that holds on `day`, before all of them the first; None of none."""
    holding = [price for price in prices if price.as_of <= day]
    if holding:
        return max(holding, key=lambda price: price.as_of)
    return min(prices, key=lambda price: price.as_of, default=None)


FREE = Price(TokenRates(0, 0), source="served by the built-in simulator")


def _rates(
    cost_in: str,
    out: str,
    cached: str | None = None,
    write: str | None = None,
    write_hour: str | None = None,
) -> TokenRates:
    given = (cached, write, write_hour)
    cached_input, cache_write, hour = (None if t is None else Money.parse(t) for t in given)
    return TokenRates(
        Money.parse(cost_in), Money.parse(out), cached_input, cache_write, cache_write_hour=hour
    )


BUILT_IN: dict[str, tuple[Price, ...]] = {
    "gpt-4.1": (
        Price(
            _rates("2", "8", "0.50"),
            source="https://platform.openai.com/docs/pricing",
            as_of=date(2025, 4, 14),
        ),
    ),
    "claude-sonnet-4.5": (
        Price(
            _rates("3", "15", "0.30", "3.75", "6"),
            (Tier(200_000, _rates("6", "22.50", "0.60", "7.50", "12")),),
            source="https://docs.claude.com/en/docs/about-claude/pricing",
            as_of=date(2025, 9, 29),
        ),
    ),
    "gemini-2.5-flash": (
        Price(
            _rates("0.30", "2.50", "0.03"),
            source="https://ai.google.dev/gemini-api/docs/pricing",
            as_of=date(2025, 6, 17),
        ),
    ),
    "deepseek-v3.2": (
        Price(
            _rates("0.28", "0.42", "0.028"),
            source="https://api-docs.deepseek.com/quick_start/pricing",
            as_of=date(2025, 9, 29),
        ),
    ),
}
"""Prices that hold where the configuration gives none."""
