"""What is agreed with one of those on whose behalf requests are made."""

from math import inf
from typing import Any

import attrs
from attrs.validators import optional

from streamnursery.values.policy import whole_number


def _count(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
    whole_number(field.name, value, low=0)


@attrs.frozen
class Tenant:
    """A share of what is scarce, and of the queue."""

    weight: float = attrs.field(default=1.0)
    """Its share is its weight, divided by the weights of all who wait for the same."""
    max_queued: int | None = attrs.field(default=None, validator=optional(_count))
    """Requests of it that may wait; None: as many as the engine lets wait."""

    @weight.validator
    def _check_weight(self, _: object, value: object) -> None:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (number and 0 < value < inf):  # type: ignore[operator]
            msg = f"weight must be a number > 0, not {value!r}"
            raise ValueError(msg)
