"""The kinds of value that budgets and prices have. Amounts are decimal text: a float in a file has
lost its last digit before anybody can look at it."""

import datetime
from collections.abc import Callable, Mapping
from zoneinfo import ZoneInfo

from streamnursery.config.kinds import MAX_COUNT, MAX_TEXT, Kind, Spot
from streamnursery.config.report import MisfitError, described, nearest, quoted
from streamnursery.values.money import Money, dollars
from streamnursery.values.prices import Price, Tier, TokenRates

MAX_PRICES = 100
"""Dates of one model's prices, and tiers of one price."""
_RATES = ("input", "output", "cached_input", "cache_write", "cache_write_hour", "reasoning")
_PRICE = (*_RATES, "tiers", "source", "as_of")
_TIER = ("above", *_RATES)


def _money(raw: object, _: Spot) -> Money:
    return _amount(raw)


def _amount(raw: object) -> Money:
    if isinstance(raw, Money):
        return raw
    if isinstance(raw, int) and not isinstance(raw, bool):
        raw = str(raw)
    if not isinstance(raw, str):
        msg = f'must be US dollars in quotes such as "100 USD" or "0.42", not {described(raw)}'
        raise MisfitError(msg)
    try:
        return Money.parse(raw)
    except ValueError as error:
        raise MisfitError(str(error)) from None


MONEY = Kind("US dollars", _money)


def _percentages(raw: object, _: Spot) -> tuple[int, ...]:
    form = "an array of at most 20 whole percentages from 1 to 100, rising"
    if not isinstance(raw, list | tuple):
        msg = f"must be {form}, not {described(raw)}"
        raise MisfitError(msg)
    whole = [p for p in raw if isinstance(p, int) and not isinstance(p, bool) and 1 <= p <= 100]
    if len(whole) != len(raw) or len(raw) > 20 or whole != sorted(set(whole)):
        msg = f"must be {form}"
        raise MisfitError(msg)
    return tuple(whole)


PERCENTAGES = Kind("array of percentages", _percentages, plain=False)


def _percent(raw: object, _: Spot) -> int:
    if isinstance(raw, int) and not isinstance(raw, bool) and 1 <= raw <= 100:
        return raw
    msg = f"must be a whole percentage from 1 to 100, not {described(raw)}"
    raise MisfitError(msg)


PERCENT = Kind("percentage", _percent, plain=False)


def _zone(raw: object, _: Spot) -> str:
    if raw == "UTC":  # is there on machines without a database of zones too
        return "UTC"
    try:
        return str(ZoneInfo(raw)) if isinstance(raw, str) and raw.strip() == raw else _no_zone()
    except (LookupError, ValueError, OSError):
        return _no_zone()


def _no_zone() -> str:
    raise MisfitError(
        'must be the name of a time zone such as "UTC" or "Europe/Berlin" that this machine knows; '
        "without a database of zones install tzdata"
    )


ZONE = Kind("time zone", _zone)


def _ledger(raw: object, spot: Spot) -> str:
    if not isinstance(raw, str):
        msg = f"must be the path of a file, not {described(raw)}"
        raise MisfitError(msg)
    if "\0" in raw or len(raw) > 10 * MAX_TEXT:
        raise MisfitError("is no path that a file could have")
    return str(spot.path(raw)) if raw else ""


LEDGER = Kind("path", _ledger)


def _prices(raw: object, _: Spot) -> tuple[Price, ...]:
    items = list(raw) if isinstance(raw, list | tuple) else [raw]
    if not items or len(items) > MAX_PRICES:
        msg = f"must be a table of rates, or an array of 1 to {MAX_PRICES} of them"
        raise MisfitError(msg)
    problems: list[str] = []
    prices = []
    for number, item in enumerate(items, 1):
        where = f"item {number}: " if len(items) > 1 else ""
        price = _price(item, where, problems)
        if price is not None:
            prices.append(price)
    if len({price.as_of for price in prices}) != len(prices):
        problems.append("has two prices `as_of` the same day; keep one")
    if problems:
        raise MisfitError(*problems)
    return tuple(sorted(prices, key=lambda price: price.as_of))


PRICES = Kind("table of rates, or array of them", _prices, plain=False)


def _price(item: object, where: str, problems: list[str]) -> Price | None:
    if isinstance(item, Price):
        return item
    before = len(problems)
    table = _table(item, _PRICE, where, problems)
    rates = _rates(table, where, problems)
    tiers = []
    for number, below in enumerate(_array(table.get("tiers", ()), where, problems), 1):
        tier = _tier(below, f"{where}tier {number}: ", problems)
        if tier is not None:
            tiers.append(tier)
    if len({tier.above for tier in tiers}) != len(tiers):
        problems.append(f"{where}two tiers begin at the same size; keep one")
    source = _source(table.get("source", ""), where, problems)
    as_of = _day(table.get("as_of", datetime.date.min), where, problems)
    if len(problems) > before or rates is None:
        return None
    return Price(rates, tuple(sorted(tiers, key=lambda t: t.above)), source, as_of)


def _tier(item: object, where: str, problems: list[str]) -> Tier | None:
    table = _table(item, _TIER, where, problems)
    rates = _rates(table, where, problems)
    above = table.get("above")
    if not isinstance(above, int) or isinstance(above, bool) or not 0 < above <= MAX_COUNT:
        problems.append(f"{where}`above` must be a whole number of input tokens >= 1")
        return None
    return None if rates is None else Tier(above, rates)


def _rates(table: Mapping[str, object], where: str, problems: list[str]) -> TokenRates | None:
    found: dict[str, Money] = {}
    for name in _RATES:
        raw = table.get(name)
        if raw is None:
            if name in ("input", "output"):
                what = f'`{name}` is missing; write {name} = "2.50", US dollars per million tokens'
                problems.append(where + what)
            continue
        try:
            found[name] = _amount(raw)
        except MisfitError as misfit:
            problems.extend(f"{where}`{name}` {problem}" for problem in misfit.problems)
    return TokenRates(**found) if {"input", "output"} <= found.keys() else None


def _table(
    item: object, known: tuple[str, ...], where: str, problems: list[str]
) -> Mapping[str, object]:
    if not isinstance(item, Mapping):
        what = f'must be a table such as {{ input = "2", output = "8" }}, not {described(item)}'
        problems.append(where + what)
        return {"input": 0, "output": 0, "above": 1}  # reported once is enough
    for name in item:
        if name not in known:
            shown = quoted(name) if isinstance(name, str) else described(name)
            meant = nearest(name, known) if isinstance(name, str) else None
            hint = f"; did you mean {quoted(meant)}?" if meant else f"; there is {', '.join(known)}"
            problems.append(f"{where}unknown key {shown}{hint}")
    return item


def _array(raw: object, where: str, problems: list[str]) -> list[object]:
    if isinstance(raw, list | tuple) and len(raw) <= MAX_PRICES:
        return list(raw)
    problems.append(f"{where}`tiers` must be an array of at most {MAX_PRICES} tables")
    return []


def _source(raw: object, where: str, problems: list[str]) -> str:
    if isinstance(raw, str) and raw.isprintable() and len(raw) <= MAX_TEXT:
        return raw
    problems.append(f"{where}`source` must be printable text of at most {MAX_TEXT} characters")
    return ""


def _day(raw: object, where: str, problems: list[str]) -> datetime.date:
    if isinstance(raw, str):
        try:
            return datetime.date.fromisoformat(raw)
        except ValueError:
            raw = None
    if isinstance(raw, datetime.date) and not isinstance(raw, datetime.datetime):
        return raw
    problems.append(f"{where}`as_of` must be a day such as 2026-01-01")
    return datetime.date.min


_Shown = Callable[[object], str]


def price_text(price: Price, shown: _Shown) -> str:
    """A price as TOML writes it."""
    parts = [_rates_text(price.rates)]
    if price.tiers:
        tiers = (f"{{ above = {t.above}, {_rates_text(t.rates)} }}" for t in price.tiers)
        parts.append(f"tiers = [{', '.join(tiers)}]")
    if price.source:
        parts.append(f"source = {shown(price.source)}")
    if price.as_of != datetime.date.min:
        parts.append(f"as_of = {price.as_of.isoformat()}")
    return f"{{ {', '.join(parts)} }}"


def _rates_text(rates: TokenRates) -> str:
    named = ((name, getattr(rates, name)) for name in _RATES)
    return ", ".join(f'{name} = "{dollars(rate)}"' for name, rate in named if rate is not None)
