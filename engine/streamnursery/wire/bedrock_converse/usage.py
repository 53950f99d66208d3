"""Token counts of the Converse API: `inputTokens` leave both kinds of cached tokens out."""

from collections.abc import Mapping
from typing import Any

from streamnursery.core.money.pricing import whole_usage
from streamnursery.values.usage import Usage
from streamnursery.wire.json_text import count, objects

_FIELDS = {
    "input_tokens": "inputTokens",
    "output_tokens": "outputTokens",
    "cached_tokens": "cacheReadInputTokens",
    "cache_write_tokens": "cacheWriteInputTokens",
}
"""Field of `Usage`: the provider's."""


def read_usage(raw: Mapping[str, Any]) -> Usage | None:
    """Usage from the provider's counts; None if it holds no field that we know. A count that is
    not a whole number of 0 or more is None, and named in `refused`."""
    told = {ours: raw[theirs] for ours, theirs in _FIELDS.items() if theirs in raw}
    if not told:
        return None
    counts = {name: count(value) for name, value in told.items()}
    refused = {name for name, value in told.items() if value is not None and counts[name] is None}
    hour = [
        count(entry.get("inputTokens")) or 0
        for entry in objects(raw.get("cacheDetails"))
        if entry.get("ttl") == "1h"
    ]
    usage = Usage(
        counts.get("input_tokens"),
        counts.get("output_tokens"),
        counts.get("cached_tokens"),
        counts.get("cache_write_tokens"),
        None,
        frozenset(counts),
        frozenset(refused),
        sum(hour) if hour else None,
    )
    return whole_usage(usage, "cached-apart")
