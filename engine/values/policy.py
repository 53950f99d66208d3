"""Policies, as frozen values. Every duration is in seconds."""

from enum import IntEnum
from typing import Any, Literal

import attrs
from attrs.validators import ge, gt


class Priority(IntEnum):
    """Who goes first; within one priority the longest waiting goes first."""

    INTERACTIVE = 0
    BATCH = 1


def _clock(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
    if value is None or (isinstance(value, int | float) and value > 0):
        return
    msg = f"patience.{field.name} must be seconds > 0, or None for no limit, not {value!r}"
    raise ValueError(msg)


@attrs.frozen
class Patience:
    """How long to wait for the provider, never for the consumer; per attempt.

    The clocks stand still while we wait on the consumer. `None` switches a clock off.
    """

    connect: float | None = attrs.field(default=30.0, validator=_clock)
    """To a usable connection: names, TCP, proxy and TLS together."""
    first_byte: float | None = attrs.field(default=60.0, validator=_clock)
    """From the connection to the response head."""
    first_token: float | None = attrs.field(default=60.0, validator=_clock)
    """From the response head to the first content."""
    idle: float | None = attrs.field(default=60.0, validator=_clock)
    """Between content events; comments and pings do not count."""
    total: float | Literal["auto"] | None = "auto"
    """From the response head to the end; "auto" derives it from the expected output."""

    @total.validator
    def _check_total(self, field: "attrs.Attribute[Any]", value: object) -> None:
        if value != "auto":
            _clock(self, field, value)


@attrs.frozen
class Retries:
    """When to try again before anything was delivered."""

    attempts: int = attrs.field(default=5, validator=ge(1))
    """HTTP exchanges per route at most, the first one included."""
    base: float = attrs.field(default=1.0, validator=gt(0))
    cap: float = attrs.field(default=30.0, validator=gt(0))
    retry_after_cap: float = attrs.field(default=120.0, validator=ge(0))
    """The longest wait a provider may ask for; beyond it we fail fast or fall back."""
