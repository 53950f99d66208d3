"""What an attempt cost, for its record: the ledger's own arithmetic, done when it is read.

A bill holds values alone and nothing of the engine, so that a kept completion keeps no engine.
"""

from datetime import date
from functools import lru_cache

import attrs

from streamnursery.core.money.ledger_row import News
from streamnursery.core.money.pricing import cost, worst_usage
from streamnursery.core.money.settlement import AttemptEnd, Expected, settlement
from streamnursery.values.cost import Cost
from streamnursery.values.errors import AttemptRecord
from streamnursery.values.keys import base_name
from streamnursery.values.money import Money
from streamnursery.values.prices import Price
from streamnursery.values.spending import Flag, Payer


@attrs.frozen
class Bid:
    """What one attempt may cost."""

    number: int
    """Of the request."""
    payer: Payer
    price: Price | None
    expected_input: int
    input_tokens: int
    """What is reserved for: an estimate may be too low."""
    output_tokens: int
    bounded: bool
    """The request itself says that there will be no more output."""
    worst: int = attrs.field(init=False)
    """Nano-dollars."""

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "worst", self.amount(self.output_tokens))

    def amount(self, output_tokens: int) -> int:
        """Nano-dollars for the input and so much output."""
        if self.price is None:
            return 0
        return cost(self.price, worst_usage(self.price, self.input_tokens, output_tokens))


LEAST_GROWTH = 256
"""Tokens by which a reservation grows at least."""


def covers(bid: Bid, output_tokens: int) -> tuple[int, int]:
    """So many output tokens are reserved for; with the count at which to look again."""
    if bid.bounded and output_tokens == bid.output_tokens:
        return output_tokens, output_tokens + 1  # the provider stops there by itself
    # Asked before it is used up, so that what is generated meanwhile is covered too.
    return output_tokens, output_tokens - min(output_tokens // 4, LEAST_GROWTH // 2)


@attrs.frozen
class Bill:
    """See `values.cost.CostSource`."""

    bid: Bid
    covered: int
    """Output tokens that were reserved for."""
    received: int
    """Output tokens that were seen."""

    def cost(self, record: AttemptRecord) -> Cost:
        bid, price = self.bid, self.bid.price
        expected = Expected(bid.expected_input, self.covered, self.received)
        found = settlement(AttemptEnd.of(record), price, expected)
        if found.news is News.RELEASE:
            return Cost(Money(0))
        if price is None:
            return Cost(None, no_price(bid.payer.model))
        doubtful = found.news is News.DOUBT
        return Cost(
            Money(found.amount),
            price_date=price_date(price),
            source=price.source,
            estimated=Flag.ESTIMATED in found.flags,
            uncertain=Money(bid.worst if doubtful else 0),
        )


def no_price(model: str) -> str:
    """Why a cost is not known, and what to do about it."""
    return (
        f"model {model!r} has no price: write one, "
        f'[models."{model}"] price = {{ input = "...", output = "..." }}, or install '
        "genai-prices"
    )


def price_date(price: Price) -> date | None:
    """None for a price that holds without a date."""
    return None if price.as_of == date.min else price.as_of


@lru_cache(maxsize=1024)
def payer_of(model: str, tenant: str, endpoint: str) -> Payer:
    """Who pays for an attempt; keys of one endpoint share its budget."""
    return Payer(model, tenant, base_name(endpoint))
