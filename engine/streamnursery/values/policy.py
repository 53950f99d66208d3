"""Policies, as frozen values. Every duration is in seconds."""

from collections.abc import Sequence
from enum import IntEnum
from math import inf
from typing import Any, Literal, TypeAlias, get_args

import attrs


class Priority(IntEnum):
    """Who goes first; within one priority the longest waiting goes first."""

    INTERACTIVE = 0
    BATCH = 1


PriorityName: TypeAlias = Literal["interactive", "batch"]


def whole_number(name: str, value: object, *, low: int) -> None:
    """Raise `ValueError` unless `value` is an int of at least `low`; True is not a number."""
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        msg = f"{name} must be a whole number >= {low}, not {value!r}"
        raise ValueError(msg)


def is_seconds(value: object) -> bool:
    """Whether `value` is a duration above zero; True is not a number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _clock(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
    if value is None or is_seconds(value):
        return
    msg = f"patience.{field.name} must be seconds > 0, or None for no limit, not {value!r}"
    raise ValueError(msg)


def _wait(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
    if is_seconds(value) and value != inf:
        return
    msg = f"retries.{field.name} must be seconds > 0, not {value!r}"
    raise ValueError(msg)


def _window(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
    if not is_seconds(value) or value == inf:
        msg = f"patience.{field.name} must be seconds > 0, not {value!r}"
        raise ValueError(msg)


def _total(instance: object, field: "attrs.Attribute[Any]", value: object) -> None:
    if value != "auto":
        _clock(instance, field, value)


@attrs.frozen
class Adaptive:
    """Slots that follow the provider: as many streams at once as do not slow it down."""

    min_streams: int = attrs.field(default=1)
    max_streams: int = attrs.field(default=1000)
    start: int = attrs.field(default=10)
    """Where it begins to look."""

    @min_streams.validator
    @max_streams.validator
    @start.validator
    def _check(self, field: "attrs.Attribute[Any]", value: object) -> None:
        whole_number(f"adaptive.{field.name}", value, low=1)

    def __attrs_post_init__(self) -> None:
        if self.min_streams > self.max_streams:
            msg = (
                f"adaptive.min_streams = {self.min_streams} is above "
                f"adaptive.max_streams = {self.max_streams}"
            )
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
    """From the response head to the first content; comments and pings do not count."""
    first_token_reasoning: float | None = attrs.field(default=300.0, validator=_clock)
    """The same where reasoning is asked for, or the model is marked with `reasoning = true`:
    silence for so long, if that is more than `first_token`."""
    first_token_working: float | None = attrs.field(default=600.0, validator=_clock)
    """There, in all, while events, comments or pings show that it works."""
    idle: float | None = attrs.field(default=60.0, validator=_clock)
    """Between content events; comments and pings do not count."""
    total: float | Literal["auto"] | None = attrs.field(default="auto", validator=_total)
    """From the response head to the end. "auto": from the first content on, derived from
    `max_tokens` and the pace of the running answer; none for a request without `max_tokens`."""
    min_tokens_per_second: float | None = attrs.field(default=None, validator=_clock)
    """What an answer may not fall below, over `pace_window`."""
    pace_window: float = attrs.field(default=30.0, validator=_window)


@attrs.frozen
class Retries:
    """When to try again before anything was delivered."""

    attempts: int = attrs.field(default=5)
    """HTTP exchanges per route at most, the first one included."""
    base: float = attrs.field(default=1.0, validator=_wait)
    cap: float = attrs.field(default=30.0, validator=_wait)
    retry_after_cap: float = attrs.field(default=120.0)
    """The longest wait a provider may ask for; beyond it we fail fast or fall back."""

    @attempts.validator
    def _check_attempts(self, field: "attrs.Attribute[Any]", value: object) -> None:
        whole_number(f"retries.{field.name}", value, low=1)

    @retry_after_cap.validator
    def _check_cap(self, field: "attrs.Attribute[Any]", value: object) -> None:
        if not is_seconds(value) and (value != 0 or isinstance(value, bool)):
            msg = f"retries.{field.name} must be seconds >= 0, not {value!r}"
            raise ValueError(msg)


OnInterrupt: TypeAlias = Literal["fail", "restart", "continue", "resume"]
"""What becomes of a stream that breaks after content was delivered."""
OnAbort: TypeAlias = Literal["cancel", "drain"]
"""What becomes of an attempt whose reader has left: ended at once, or read on in the background,
to a bound, so that its usage is known."""
WhenBehind: TypeAlias = Literal["block", "drop_oldest", "coalesce"]
"""What becomes of unread events at the buffer's bound."""
HedgeAfter: TypeAlias = "float | Literal['p95', 'off']"
"""Seconds without a first token after which a second attempt is made beside the first."""
AssistantPrefix: TypeAlias = Literal["off", "message", "flag", "continue", "user-turn"]
"""How a server learns that the last message, an assistant's, is to be continued: not at all; by
standing there; by `"prefix": true` in it; by `continue_final_message` in the request; by a turn of
the user's behind it that asks to continue, for servers that refuse an assistant's message as the
last one."""


def ladder(value: object) -> tuple[OnInterrupt, ...]:
    """The rungs of an `on_interrupt`, one or several in the order in which they are tried.

    Raises:
        ValueError: saying what it must be.
    """
    rungs = (value,) if isinstance(value, str) else value
    known = get_args(OnInterrupt)
    if not isinstance(rungs, Sequence) or not rungs or any(rung not in known for rung in rungs):
        words = ", ".join(map(repr, known))
        msg = f"on_interrupt must be one of {words}, or several of them in order, not {value!r}"
        raise ValueError(msg)
    if len(set(rungs)) < len(rungs) or "fail" in rungs[:-1]:
        msg = f"on_interrupt {value!r}: each step once, and nothing comes after 'fail'"
        raise ValueError(msg)
    return tuple(rungs)


def hedge_problem(value: object) -> str | None:
    """What is wrong with a `hedge_after`."""
    if value in ("p95", "off") or (is_seconds(value) and value != inf):
        return None
    return f"hedge_after must be seconds > 0, 'p95' or 'off', not {value!r}"
