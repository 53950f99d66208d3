"""Token counts of the OpenAI chat API, from any of the places servers put them.

`prompt_tokens` include cached tokens and `completion_tokens` include reasoning tokens, so both
are taken as they are. Some servers (xAI) count reasoning beside the completion, as Gemini does;
their `total_tokens` says so, and only then the two are added. Gateways that pass Anthropic's counts
through are known by `cache_read_input_tokens` without `prompt_tokens`: there the input leaves the
cached tokens out.
"""

from collections.abc import Mapping
from typing import Any

from streamnursery.core.money.pricing import UsageRule, whole_usage
from streamnursery.values.usage import Usage
from streamnursery.wire.json_text import count

_PROMPT = ("prompt_tokens_details", "input_tokens_details", "input_token_details")
_COMPLETION = ("completion_tokens_details", "output_tokens_details", "output_token_details")
"""Without the s in the realtime API."""

FIELDS: dict[str, tuple[tuple[tuple[str, ...], str], ...]] = {
    "input_tokens": (((), "prompt_tokens"), ((), "input_tokens")),
    "output_tokens": (((), "completion_tokens"), ((), "output_tokens")),
    "cached_tokens": (
        (_PROMPT, "cached_tokens"),
        ((), "prompt_cache_hit_tokens"),  # DeepSeek
        ((), "cached_tokens"),  # Moonshot
        ((), "cache_read_input_tokens"),  # Anthropic
    ),
    "cache_write_tokens": (
        (_PROMPT, "cache_write_tokens"),
        ((), "cache_creation_input_tokens"),
    ),
    "reasoning_tokens": ((_COMPLETION, "reasoning_tokens"), ((), "reasoning_tokens")),
}
"""Field of `Usage`: where it may stand, the first place that has it counts."""
_PLACES: tuple[tuple[str, str | None, str], ...] = tuple(
    (field, parent, key)
    for field, places in FIELDS.items()
    for parents, key in places
    for parent in parents or (None,)
)
"""The same as one list: field, the object it may stand in if any, and its name there."""


def read_usage(raw: Mapping[str, Any]) -> Usage | None:
    """Usage from a chunk's `usage` object; None if it holds no field that we know.

    A count that is not a whole number of 0 or more is refused: it is None, in `reported` and
    in `refused`.
    """
    counts: dict[str, int | None] = {}
    refused: set[str] = set()
    for field, parent, key in _PLACES:
        if field in counts:
            continue
        holder = raw if parent is None else raw.get(parent)
        if holder is None or (type(holder) is not dict and not isinstance(holder, Mapping)):
            continue
        if key in holder:
            counts[field] = count(told := holder[key])
            if counts[field] is None and told is not None:
                refused.add(field)
    if not counts:
        return None
    usage = Usage(
        input_tokens=counts.get("input_tokens"),
        output_tokens=counts.get("output_tokens"),
        cached_tokens=counts.get("cached_tokens"),
        cache_write_tokens=counts.get("cache_write_tokens"),
        reasoning_tokens=counts.get("reasoning_tokens"),
        reported=frozenset(counts),
        refused=frozenset(refused),
    )
    return whole_usage(usage, _rule(usage, raw))


def _rule(usage: Usage, raw: Mapping[str, Any]) -> UsageRule:
    prompt, made, thought = usage.input_tokens, usage.output_tokens, usage.reasoning_tokens
    if "prompt_tokens" not in raw and "cache_read_input_tokens" in raw:
        return "cached-apart"
    return (
        "reasoning-apart"
        if made is not None and thought and _apart(prompt, made, thought, raw)
        else "inclusive"
    )


def _apart(prompt: int | None, completion: int, reasoning: int, raw: Mapping[str, Any]) -> bool:
    """Whether the total shows that `completion` leaves `reasoning` out."""
    return prompt is not None and count(raw.get("total_tokens")) == prompt + completion + reasoning
