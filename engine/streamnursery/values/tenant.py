"""Limits over several models: of one of those on whose behalf requests are made, and of a group."""

from fnmatch import fnmatchcase
from math import inf
from typing import Any

import attrs
from attrs.validators import instance_of, optional

from streamnursery.values.policy import whole_number
from streamnursery.values.rates import Rates


def _count(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
    whole_number(field.name, value, low=0)


def check_weight(value: object) -> None:
    """Raise ValueError where `value` is no share."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number and 0 < value < inf):  # type: ignore[operator]
        msg = f"weight must be a number > 0, not {value!r}"
        raise ValueError(msg)


@attrs.frozen
class Tenant:
    """A share of what is scarce, and of the queue."""

    weight: float = attrs.field(default=1.0)
    """Its share is its weight, divided by the weights of all who wait for the same."""
    max_queued: int | None = attrs.field(default=None, validator=optional(_count))
    """Requests of it that may wait; None: as many as the engine lets wait."""
    max_streams: int | None = attrs.field(default=None, validator=optional(_count))
    """Slots over all models; None: no limit of its own."""
    rates: Rates = attrs.field(default=Rates(), validator=instance_of(Rates))
    """Limits per minute over all models."""

    @weight.validator
    def _check_weight(self, _: object, value: object) -> None:
        check_weight(value)

    @property
    def limited(self) -> bool:
        """Whether it has limits over all models."""
        return self.max_streams is not None or self.rates != Rates()


@attrs.frozen
class Group:
    """Models that share limits beside their own. A model may be in several groups."""

    models: tuple[str, ...]
    """Names, or patterns of them: `gpt-4.1*`."""
    max_streams: int | None = attrs.field(default=None, validator=optional(_count))
    """Slots of all of them together; None: no limit."""
    rates: Rates = attrs.field(default=Rates(), validator=instance_of(Rates))
    """Limits per minute of all of them together."""
    weight: float | None = attrs.field(default=None)
    """Its share of what several models compete for, against the models of other groups; each
    tenant's share is divided so. None: as the models of no group, which share the weight 1."""

    @weight.validator
    def _check_weight(self, _: object, value: object) -> None:
        if value is not None:
            check_weight(value)

    def has(self, model: str) -> bool:
        """Whether a model is in it."""
        return any(fnmatchcase(model, pattern) for pattern in self.models)
