"""Checks of what all verbs that open a stream take."""

from streamnursery.pipeline.policies import POLICIES
from streamnursery.values.errors import RequestError


def buffer_bound(name: str, value: int | None, default: int) -> int:
    """A buffer's bound, or the `default`.

    Raises:
        RequestError: it is not a whole number of at least 1.
    """
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        msg = f"{name} must be a whole number >= 1, not {value!r}"
        raise RequestError(msg)
    return value


def check_policy(when_behind: object) -> None:
    """Raise `RequestError` unless it is one of the policies."""
    if when_behind not in POLICIES:
        msg = f"when_behind must be one of {', '.join(POLICIES)}, not {when_behind!r}"
        raise RequestError(msg)
