"""Where a model's price comes from: the configuration, our own table, the extra `prices`, and the
list that is shipped.

The extra's data lies in its package: nothing is fetched, its updater is never started, and a
snapshot that other code in the process has put in its place is not looked at.
"""

import datetime
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from streamnursery.config.price_list import price_list
from streamnursery.values.money import Money
from streamnursery.values.prices import BUILT_IN, FREE, Price, Tier, TokenRates, price_on
from streamnursery.values.settings import EngineConfig, Route

SIMULATED = "sim"
PriceOf = Callable[[str, Route | None, datetime.date], Price | None]


def price_source(config: EngineConfig) -> PriceOf:
    """A function from model, route and day to the price that holds; None where none is known."""

    @lru_cache(maxsize=4096)
    def price_of(model: str, route: Route | None, day: datetime.date) -> Price | None:
        settings = config.models.get(model)
        if settings is not None and settings.price:
            return price_on(settings.price, day)
        if model.startswith(f"{SIMULATED}/") or (route is not None and route.endpoint == SIMULATED):
            return FREE
        if model in BUILT_IN:
            return price_on(BUILT_IN[model], day)
        endpoint = config.endpoints.get(route.endpoint) if route is not None else None
        url = str(endpoint.url) if endpoint is not None else None
        wire_name = route.model if route is not None else model
        listed = price_list()
        return (
            published(wire_name, url, day)
            or published(model, None, day)
            or listed.find(wire_name, url)
            or listed.find(model, None)
        )

    return price_of


def _data() -> tuple[Any, str] | None:
    """The snapshot and its version; None where the extra is not installed."""
    try:
        from genai_prices import __version__
        from genai_prices.data import providers
        from genai_prices.data_snapshot import DataSnapshot
    except ImportError:
        return None
    return DataSnapshot(providers=providers, from_auto_update=False), __version__


def load_published(config: EngineConfig) -> None:
    """Import what requests of this configuration will look up, if they do: it takes 0.1 s of CPU,
    in which a loop stands still."""
    models = config.models.values()
    if not config.endpoints or (models and all(model.price for model in models)):
        return
    for url in ("https://nobody.invalid", None):
        # Nobody's: it is compared with the patterns of all providers, which are compiled then.
        published("nothing", url, datetime.date(2026, 1, 1))


def published(model: str, url: str | None, day: datetime.date) -> Price | None:
    """The price in the data of `genai-prices`, of the provider at `url` where it is known there."""
    data = _data()
    if data is None:
        return None
    snapshot, version = data
    try:
        provider, found = snapshot.find_provider_model(model, None, None, url)
    except LookupError:
        return None
    return dearest(found, day, f"genai-prices {version}: {provider.id}/{found.id}")


def dearest(found: Any, day: datetime.date, source: str) -> Price | None:
    """The price of a model of that data on a day."""
    # A price that changes by the hour counts at its most expensive.
    hours = [
        datetime.datetime.combine(day, datetime.time(hour), datetime.UTC) for hour in range(24)
    ]
    prices = [_converted(found.get_prices(hour), source) for hour in hours]
    return max(filter(None, prices), key=lambda p: (p.rates.output, p.rates.input), default=None)


_FIELDS = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cached_input": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_hour": "cache_write_1h_mtok",
}


def _converted(raw: Any, source: str) -> Price | None:
    """None for what is not priced by the token, or not by tokens alone."""
    figures = {ours: getattr(raw, theirs, None) for ours, theirs in _FIELDS.items()}
    if None in (figures["input"], figures["output"]) or getattr(raw, "requests_kcount", None):
        return None
    starts = sorted({tier.start for f in figures.values() for tier in getattr(f, "tiers", ())})
    return Price(
        _rates(figures, 0),
        tuple(Tier(start, _rates(figures, start + 1)) for start in starts if start > 0),
        source=source,
    )


def _rates(figures: dict[str, Any], input_tokens: int) -> TokenRates:
    found = {name: _rate(figure, input_tokens) for name, figure in figures.items()}
    return TokenRates(
        found["input"] or 0,
        found["output"] or 0,
        found["cached_input"],
        found["cache_write"],
        cache_write_hour=found["cache_write_hour"],
    )


def _rate(figure: Any, input_tokens: int) -> Money | None:
    if figure is None:
        return None
    if hasattr(figure, "tiers"):
        passed = [tier.price for tier in figure.tiers if tier.start < input_tokens]
        figure = passed[-1] if passed else figure.base
    return Money.parse(f"{figure:.9f}")
