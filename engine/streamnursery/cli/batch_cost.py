"""`batch --dry-run`: what a file would cost, from its lines alone."""

import argparse
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import attrs

from streamnursery.batch.lines import BatchRow
from streamnursery.batch.options import BatchOptions, Shard
from streamnursery.batch.output import id_hash
from streamnursery.batch.source import Source
from streamnursery.cli.tables import fitted
from streamnursery.config.prices import price_source
from streamnursery.core.limits.token_estimate import input_tokens
from streamnursery.core.money.pricing import cost, worst_usage
from streamnursery.values.money import Money
from streamnursery.values.prices import Price
from streamnursery.values.usage import Usage

if TYPE_CHECKING:
    from streamnursery.values.settings import EngineConfig

_OUTPUT = 2048
"""Tokens of an answer whose length nothing bounds, as budgets take it at first."""


@attrs.define
class _Sum:
    price: Price | None
    cheaper: int = 1
    """A provider's own batches cost half."""
    rows: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    low: int = 0
    high: int = 0


async def estimate_text(args: argparse.Namespace, config: "EngineConfig") -> tuple[str, bool]:
    """A table of the models of an input, and whether all of them have a price.

    Raises:
        EngineError: the input has mistakes, or cannot be read.
    """
    shard = Shard.parse(args.shard) if args.shard else None
    options = BatchOptions(samples=args.samples, limit=args.limit, sample=args.sample, shard=shard)
    source, sums = Source(args.input[0], args.model), dict[str, _Sum]()
    await source.check()
    price_of, today, taken = price_source(config), datetime.now(UTC).date(), 0
    async with aclosing(source.each()) as rows:
        async for row in rows:
            for one in options.samples_of(row):
                if not options.wants(id_hash(one.id)) or taken == options.limit:
                    continue
                taken += 1
                request = one.request
                found = sums.get(request.model)
                if found is None:
                    price = price_of(request.model, None, today)
                    found = sums[request.model] = _Sum(price, 2 if args.via else 1)
                _add(found, round(input_tokens(request)), _most_output(one))
    return _table(sums), all(found.price is not None for found in sums.values())


def _most_output(row: BatchRow) -> int:
    if row.url and row.url != "/v1/completions":
        return 0  # a vector, a score, a verdict
    return row.request.max_tokens or _OUTPUT


def _add(found: _Sum, spent: int, most: int) -> None:
    found.rows += 1
    found.input_tokens += spent
    found.output_tokens += most
    if found.price is not None:
        found.low += cost(found.price, Usage(spent, 0)) // found.cheaper
        worst = worst_usage(found.price, spent + spent // 4, most)
        found.high += cost(found.price, worst) // found.cheaper


def _table(sums: dict[str, _Sum]) -> str:
    head = ["model", "rows", "input tokens", "output at most", "cost from", "to"]
    lines = [
        [
            name,
            str(found.rows),
            str(found.input_tokens),
            str(found.output_tokens),
            "no price" if found.price is None else str(Money(found.low)),
            "" if found.price is None else str(Money(found.high)),
        ]
        for name, found in sums.items()
    ]
    total = [
        "total",
        str(sum(found.rows for found in sums.values())),
        str(sum(found.input_tokens for found in sums.values())),
        str(sum(found.output_tokens for found in sums.values())),
        str(Money(sum(found.low for found in sums.values()))),
        str(Money(sum(found.high for found in sums.values()))),
    ]
    return fitted([head, *lines, total], right=range(1, 6))
