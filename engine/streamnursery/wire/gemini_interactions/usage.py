"""Token counts of the Interactions API.

`total_input_tokens` has the cached tokens in it and leaves out what the server's own tools have
read; `total_output_tokens` leaves out the thoughts, as in the Gemini API.
"""

from collections.abc import Mapping
from typing import Any

from streamnursery.values.usage import Usage
from streamnursery.wire.gemini.usage import read_counts

_FIELDS = {
    "input_tokens": "total_input_tokens",
    "output_tokens": "total_output_tokens",
    "cached_tokens": "total_cached_tokens",
    "reasoning_tokens": "total_thought_tokens",
}
"""Field of `Usage`: the provider's."""


def read_usage(raw: Mapping[str, Any]) -> Usage | None:
    """Usage from the provider's counts; None if it holds no field that we know. A count that is
    not a whole number of 0 or more is None, and named in `refused`."""
    return read_counts(raw, _FIELDS, "total_tool_use_tokens")
