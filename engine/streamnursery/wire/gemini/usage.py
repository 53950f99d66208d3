"""Token counts of the Gemini API.

The counts of each record replace those of the one before. `promptTokenCount` has the cached tokens
in it and leaves out what the server's own tools have read; `candidatesTokenCount` leaves out the
thoughts.
"""

from collections.abc import Mapping
from typing import Any

import attrs

from streamnursery.core.money.pricing import whole_usage
from streamnursery.values.usage import Usage
from streamnursery.wire.json_text import count

_FIELDS = {
    "input_tokens": "promptTokenCount",
    "output_tokens": "candidatesTokenCount",
    "cached_tokens": "cachedContentTokenCount",
    "reasoning_tokens": "thoughtsTokenCount",
}
"""Field of `Usage`: the provider's."""


def read_usage(raw: Mapping[str, Any]) -> Usage | None:
    """Usage from the provider's counts; None if it holds no field that we know.

    A count that is not a whole number of 0 or more is refused: it is None, in `reported` and in
    `refused`.
    """
    return read_counts(raw, _FIELDS, "toolUsePromptTokenCount")


def read_counts(
    raw: Mapping[str, Any], fields: Mapping[str, str], read_by_tools: str
) -> Usage | None:
    """As `read_usage`, of another API of Google's: its names by those of `Usage`, and its name of
    what the server's own tools have read."""
    told = {ours: raw[theirs] for ours, theirs in fields.items() if theirs in raw}
    if not told:
        return None
    counts = {name: count(value) for name, value in told.items()}
    refused = {name for name, value in told.items() if value is not None and counts[name] is None}
    more, spent = count(raw.get(read_by_tools)), counts.get("input_tokens")
    if spent is not None and more:
        counts["input_tokens"] = spent + more
    if "output_tokens" not in counts and counts.get("reasoning_tokens") is not None:
        counts["output_tokens"] = 0  # absent where the answer is nothing but thoughts and calls
    usage = Usage(
        counts.get("input_tokens"),
        counts.get("output_tokens"),
        counts.get("cached_tokens"),
        None,
        counts.get("reasoning_tokens"),
        frozenset(counts),
        frozenset(refused),
    )
    return whole_usage(usage, "reasoning-apart")


def beginning(usage: Usage) -> Usage:
    """What the first record says of the request: its output is what had been put out by then."""
    reported = usage.reported - {"output_tokens", "reasoning_tokens"}
    return attrs.evolve(usage, output_tokens=None, reasoning_tokens=None, reported=reported)
