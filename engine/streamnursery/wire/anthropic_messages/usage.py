"""Token counts of the Anthropic Messages API.

`input_tokens` leave both kinds of cached tokens out, so that the input is the sum of three counts.
The counts of `message_delta` are cumulative: each replaces that of `message_start`, and one that is
absent or null there leaves it. The output of `message_start` is what had been put out by then, and
does not count. The tokens of a compaction are in `iterations` alone and are added;
those of an advisor are billed at another model's price and are not.
"""

from collections.abc import Mapping
from typing import Any

from streamnursery.core.money.pricing import whole_usage
from streamnursery.values.usage import Usage
from streamnursery.wire.json_text import count

_PLAIN = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cached_tokens": "cache_read_input_tokens",
    "cache_write_tokens": "cache_creation_input_tokens",
}
"""Field of `Usage`: the provider's."""
_NESTED = {
    "reasoning_tokens": ("output_tokens_details", "thinking_tokens"),
    "cache_write_hour_tokens": ("cache_creation", "ephemeral_1h_input_tokens"),
}


def merged(known: Mapping[str, Any], news: Mapping[str, Any]) -> dict[str, Any]:
    """The counts after a `message_delta`."""
    return {**known, **{name: value for name, value in news.items() if value is not None}}


def read_usage(raw: Mapping[str, Any]) -> Usage | None:
    """Usage from the provider's counts; None if it holds no field that we know.

    A count that is not a whole number of 0 or more is refused: it is None, in `reported` and in
    `refused`.
    """
    told = {ours: raw[theirs] for ours, theirs in _PLAIN.items() if theirs in raw}
    for ours, (outer, inner) in _NESTED.items():
        holder = raw.get(outer)
        if isinstance(holder, Mapping) and inner in holder:
            told[ours] = holder[inner]
    if not told:
        return None
    counts = {name: count(value) for name, value in told.items()}
    refused = {name for name, value in told.items() if value is not None and counts[name] is None}
    for entry in _compactions(raw):
        for ours, theirs in _PLAIN.items():
            more = count(entry.get(theirs))
            if more and ours not in refused:
                counts[ours] = (counts.get(ours) or 0) + more
    usage = Usage(
        counts.get("input_tokens"),
        counts.get("output_tokens"),
        counts.get("cached_tokens"),
        counts.get("cache_write_tokens"),
        counts.get("reasoning_tokens"),
        frozenset(counts),
        frozenset(refused),
        counts.get("cache_write_hour_tokens"),
    )
    return whole_usage(usage, "cached-apart")


def _compactions(raw: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    entries = raw.get("iterations")
    return [
        entry
        for entry in (entries if isinstance(entries, list) else ())
        if isinstance(entry, Mapping) and entry.get("type") == "compaction"
    ]
