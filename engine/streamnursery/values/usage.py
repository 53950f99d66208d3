"""Tokens as a provider reported them."""

import attrs

from streamnursery.values.one_line import line


@attrs.frozen(repr=False)
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
    """Part of `input_tokens` that was written to the provider's cache."""
    reasoning_tokens: int | None = None
    """Part of `output_tokens` that the caller may never have seen."""
    reported: frozenset[str] = frozenset()
    """Fields that the provider sent. A field in here that is None was sent as null or as
    nonsense; a field that is None and not in here was absent."""
    refused: frozenset[str] = frozenset()
    """Fields of `reported` that were sent as nonsense, and not as null."""
    cache_write_hour_tokens: int | None = None
    """Part of `cache_write_tokens` that is kept for an hour, which costs more."""
    estimated: bool = False
    """True when the counts are our own and not the provider's."""

    def __repr__(self) -> str:
        spent = _part("cached", self.cached_tokens), _part("written", self.cache_write_tokens)
        told = ", ".join(part for part in spent if part)
        made = _part("reasoning", self.reasoning_tokens)
        return line(
            "Usage",
            [
                _part("in", self.input_tokens) + (f" ({told})" if told else ""),
                _part("out", self.output_tokens) + (f" ({made})" if made else ""),
                "estimated" if self.estimated else "",
            ],
        )

    @property
    def total_tokens(self) -> int | None:
        if self.input_tokens is None or self.output_tokens is None:
            return None
        return self.input_tokens + self.output_tokens

    def plus(self, other: "Usage | None") -> "Usage":
        """The sum of two attempts. What one of them does not report counts as nothing there, and
        makes the sum an estimate."""
        if other is None:
            return self
        both = [(getattr(self, name), getattr(other, name)) for name in _BILLED]
        lacking = any((mine is None) != (theirs is None) for mine, theirs in both)
        return Usage(
            _sum(self.input_tokens, other.input_tokens),
            _sum(self.output_tokens, other.output_tokens),
            _sum(self.cached_tokens, other.cached_tokens),
            _sum(self.cache_write_tokens, other.cache_write_tokens),
            _sum(self.reasoning_tokens, other.reasoning_tokens),
            reported=self.reported | other.reported,
            refused=self.refused | other.refused,
            cache_write_hour_tokens=_sum(
                self.cache_write_hour_tokens, other.cache_write_hour_tokens
            ),
            estimated=lacking or self.estimated or other.estimated,
        )


def _part(name: str, tokens: int | None) -> str:
    return "" if tokens is None else f"{tokens} {name}"


_BILLED = ("input_tokens", "output_tokens")


def _sum(mine: int | None, theirs: int | None) -> int | None:
    if mine is None or theirs is None:
        return mine if theirs is None else theirs
    return mine + theirs
