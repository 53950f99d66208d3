"""Writes the prices that are shipped, from the installed genai-prices: `make prices`.

python -m tests.price_list            writes them as of today
python -m tests.price_list DATE       as of a day, as 2026-11-30
"""

import datetime
import sys
from collections.abc import Iterator
from typing import Any

import msgspec

from streamnursery.config.price_list import FILE, RATES
from streamnursery.config.prices import dearest
from streamnursery.values.prices import TokenRates

NOTICE = "MIT, Copyright (c) Pydantic Services Inc. 2025 to present; see price_list.LICENSE"


def lines(day: datetime.date) -> Iterator[bytes]:
    """The lines of the file."""
    from genai_prices import __version__
    from genai_prices.data import providers

    source = f"genai-prices {__version__} of {day}"
    yield msgspec.json.encode({"source": source, "day": day, "licence": NOTICE})
    for provider in providers:
        yield msgspec.json.encode({
            "provider": provider.id,
            "api": provider.api_pattern,
            "match": clause(provider.model_match),
            "fallback": provider.fallback_model_providers or [],
        })
        for model in provider.models:
            price = dearest(model, day, "")
            if price is not None:
                yield msgspec.json.encode({
                    "model": model.id,
                    "match": clause(model.match),
                    "rates": figures(price.rates),
                    "tiers": [[tier.above, figures(tier.rates)] for tier in price.tiers],
                })


def figures(rates: TokenRates) -> list[int | None]:
    found = (getattr(rates, name) for name in RATES)
    return [None if figure is None else int(figure) for figure in found]


def clause(raw: Any) -> Any:
    """A clause as plain values."""
    if raw is None:
        return None
    ((name, value),) = vars(raw).items()
    inner = [clause(one) for one in value] if isinstance(value, list) else value
    return {name.rstrip("_"): inner}


def write(day: datetime.date) -> None:
    FILE.write_bytes(b"\n".join(lines(day)) + b"\n")


if __name__ == "__main__":
    given = sys.argv[1:]
    today = datetime.datetime.now(datetime.UTC).date()
    write(datetime.date.fromisoformat(given[0]) if given else today)
