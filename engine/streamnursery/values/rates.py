"""What may be used per minute, as a provider's contract puts it."""

from typing import Any

import attrs
from attrs.validators import optional

from streamnursery.values.policy import whole_number


def _limit(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
    whole_number(field.name, value, low=1)


@attrs.frozen
class Rates:
    """Limits per 60 s of a model or an endpoint; None is no limit."""

    rpm: int | None = attrs.field(default=None, validator=optional(_limit))
    """Requests."""
    tpm: int | None = attrs.field(default=None, validator=optional(_limit))
    """Input and output tokens together."""
    input_tpm: int | None = attrs.field(default=None, validator=optional(_limit))
    output_tpm: int | None = attrs.field(default=None, validator=optional(_limit))
    burst: float = attrs.field(default=0.1)
    """The part of each limit that may be used at once, above 0 and at most 1. From a half on
    nothing is spread out: the last 60 s alone count."""

    @burst.validator
    def _check_burst(self, _: object, value: object) -> None:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (number and 0 < value <= 1):  # type: ignore[operator]
            msg = f"burst must be a part of the limit, above 0 and at most 1, not {value!r}"
            raise ValueError(msg)


@attrs.frozen
class RateNews:
    """What a provider says is left of a limit. None is "not said"."""

    kind: str
    """rpm, tpm, input_tpm or output_tpm, or the like per hour or day: rph, rpd, tph, tpd."""
    limit: int | None
    remaining: int
    reset: float | None
    """Seconds until all of the limit is there again."""
    period: float = 60.0
    """Seconds in which the limit comes back where no reset is said."""
    renewed: bool = False
    """All of it comes back at the reset, and none before; otherwise it comes back evenly."""
