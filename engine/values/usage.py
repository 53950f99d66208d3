"""Tokens as a provider reported them."""

import attrs


@attrs.frozen
class Usage:
    """Token counts; `None` is "not known", never zero.

    `input_tokens` include cached ones and `output_tokens` include reasoning, whatever the
    provider's own rule is: the dialect does the sum.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    """Part of `input_tokens` that was read from the provider's cache."""
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    """Part of `output_tokens` that the caller may never have seen."""
    reported: frozenset[str] = frozenset()
    """Fields that the provider sent. A field in here that is None was sent as null or as
    nonsense; a field that is None and not in here was absent."""
    refused: frozenset[str] = frozenset()
    """Fields of `reported` that were sent as nonsense, and not as null."""
    estimated: bool = False
    """True when the counts are our own and not the provider's."""

    @property
    def total_tokens(self) -> int | None:
        if self.input_tokens is None or self.output_tokens is None:
            return None
        return self.input_tokens + self.output_tokens
