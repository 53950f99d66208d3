"""The prices that are shipped: the data of genai-prices on one day, for use without it.

Rule 1: `price_list.jsonl` is made by `make prices` and by nothing else: a line for the list itself,
        one for each provider, and behind that one for each of its models.
Rule 2: it is read when a price is asked for that neither the configuration nor our own table has.
Rule 3: which model a name means is the data's own logic, clause by clause.
"""

import datetime
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import attrs
import msgspec

from streamnursery.values.prices import Price, Tier, TokenRates

FILE = Path(__file__).with_name("price_list.jsonl")
RATES = ("input", "output", "cached_input", "cache_write", "cache_write_hour")
"""The rates of a line, in this order: nano-dollars per million tokens, or null."""


@attrs.frozen
class _ListedModel:
    name: str
    match: Mapping[str, Any]
    rates: Sequence[int | None]
    tiers: Sequence[tuple[int, Sequence[int | None]]]


@attrs.define
class _ListedProvider:
    name: str
    api: re.Pattern[str]
    match: Mapping[str, Any] | None
    fallback: Sequence[str]
    models: list[_ListedModel] = attrs.field(factory=list)

    def find(self, model: str) -> _ListedModel | None:
        return next((m for m in self.models if matches(m.match, model)), None)


@attrs.frozen
class PriceList:
    """The list, read."""

    source: str
    day: datetime.date
    providers: Mapping[str, _ListedProvider]

    def find(self, model: str, url: str | None) -> Price | None:
        """The price of `model` at the provider whose server is at `url`, or else of the one whose
        models are called so."""
        model = model.lower()
        for provider in self.providers.values():
            if url is None:
                served = provider.match is not None and matches(provider.match, model)
            else:
                served = provider.api.match(url) is not None
            if served:
                return self._at(provider, model)
        return None

    def _at(self, provider: _ListedProvider, model: str) -> Price | None:
        holders = [provider, *(self.providers[n] for n in provider.fallback if n in self.providers)]
        for holder in holders:
            found = holder.find(model)
            if found is not None:
                return Price(
                    _rates(found.rates),
                    tuple(Tier(above, _rates(rates)) for above, rates in found.tiers),
                    source=f"{self.source}: {provider.name}/{found.name}",
                    as_of=self.day,
                )
        return None


def matches(clause: Mapping[str, Any], text: str) -> bool:
    """Whether a clause of the data is true of `text`, which is in lower case."""
    ((kind, value),) = clause.items()
    match kind:
        case "or":
            return any(matches(inner, text) for inner in value)
        case "and":
            return all(matches(inner, text) for inner in value)
        case "regex":
            return re.search(value, text) is not None
        case "starts_with":
            return text.startswith(value.lower())
        case "ends_with":
            return text.endswith(value.lower())
        case "contains":
            return value.lower() in text
        case "equals":
            return bool(text == value.lower())
        case _:
            return False


def _rates(given: Sequence[int | None]) -> TokenRates:
    cost_in, out, cached, written, hour = given
    return TokenRates(cost_in or 0, out or 0, cached, written, cache_write_hour=hour)


@cache
def price_list() -> PriceList:
    """The list that is shipped."""
    lines = [msgspec.json.decode(line) for line in FILE.read_bytes().splitlines()]
    head, providers = lines[0], dict[str, _ListedProvider]()
    for line in lines[1:]:
        if "provider" in line:
            name = line["provider"]
            last = _ListedProvider(name, re.compile(line["api"]), line["match"], line["fallback"])
            providers[name] = last
        else:
            last.models.append(
                _ListedModel(line["model"], line["match"], line["rates"], line["tiers"])
            )
    return PriceList(head["source"], datetime.date.fromisoformat(head["day"]), providers)
