"""What an attempt cost, for its record: the ledger's own arithmetic, done when it is read.

A bill holds values alone and nothing of the engine, so that a kept completion keeps no engine.
"""

from datetime import date

import attrs

from streamnursery.core.money.ledger_row import News
from streamnursery.core.money.pricing import cost, worst_usage
from streamnursery.core.money.settlement import AttemptEnd, Expected, settlement
from streamnursery.values.cost import Cost
from streamnursery.values.errors import AttemptRecord
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
