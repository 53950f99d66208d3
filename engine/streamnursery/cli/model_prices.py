"""What models cost, for `streamnursery models`."""

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs

from streamnursery.cli.tables import fitted
from streamnursery.core.money.pricing import cost
from streamnursery.values.money import Money, dollars
from streamnursery.values.usage import Usage

if TYPE_CHECKING:
    from streamnursery.config.prices import PriceOf
    from streamnursery.values.prices import Price
    from streamnursery.values.settings import EngineConfig


def price_of(config: "EngineConfig") -> "PriceOf":
    """The prices that hold under this configuration."""
    from streamnursery.config.prices import price_source

    return price_source(config)


def price_fields(price: "Price | None") -> dict[str, Any] | None:
    """A price as JSON values: dollars per million tokens."""
    if price is None:
        return None
    names = ("input", "output", "cached_input", "cache_write", "cache_write_hour", "reasoning")

    def rates(holder: Any) -> dict[str, str]:
        found = ((name, getattr(holder, name)) for name in names)
        return {name: dollars(rate) for name, rate in found if rate is not None}

    return {
        **rates(price.rates),
        "tiers": [{"above": tier.above, **rates(tier.rates)} for tier in price.tiers],
        "source": price.source,
        "as_of": None if price.as_of == datetime.date.min else price.as_of.isoformat(),
    }


def price_text(price: "Price | None") -> str:
    """Input and output in dollars per million tokens, for a column."""
    if price is None:
        return "unknown"
    if not price.rates.input and not price.rates.output:
        return "free"
    return f"{dollars(price.rates.input)} / {dollars(price.rates.output)}"


def costs(models: Sequence[tuple[str, "Price | None"]], number: int) -> list[dict[str, Any]]:
    """What `number` tokens cost at each model, in requests of ordinary size: none is so long that
    a higher tier holds. The cheapest output first, unknown ones last."""
    models = [(name, price and attrs.evolve(price, tiers=())) for name, price in models]
    found = [
        {
            "name": name,
            "input": None if price is None else cost(price, Usage(number, 0)),
            "output": None if price is None else _output(price, number),
            "source": "" if price is None else price.source,
            "as_of": "" if price is None else _day(price.as_of),
        }
        for name, price in models
    ]
    return sorted(found, key=lambda m: (m["output"] is None, m["output"], m["input"], m["name"]))


def _output(price: "Price", number: int) -> int:
    return cost(price, Usage(0, number))


def _day(day: datetime.date) -> str:
    return "" if day == datetime.date.min else day.isoformat()


def costs_text(found: Sequence[dict[str, Any]], number: int) -> str:
    """A table of them."""
    head = ["model", f"{number:,} in", f"{number:,} out", "as of", "source"]
    lines = [
        [m["name"], _shown(m["input"]), _shown(m["output"]), m["as_of"], m["source"]] for m in found
    ]
    return fitted([head, *lines], right=(1, 2))


def _shown(nanos: int | None) -> str:
    return "unknown" if nanos is None else str(Money(nanos))
