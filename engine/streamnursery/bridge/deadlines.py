"""Deadlines at the border: absolute ones are on the host's clock, and cross as seconds from now."""

from math import inf
from typing import Any

from streamnursery.scheduler.run.calls import call_deadline


def seconds_left(
    now: float, deadline: float | None, timeout: float | None, caller: float = inf
) -> float | None:
    """The timeout that stands for all three; None for none. `deadline` and `caller` are on the
    clock that says `now`. A timeout that is not a number is passed on, to be refused there.

    Raises:
        RequestError: the deadline is not a number.
    """
    bound = min(call_deadline(deadline, None), caller)
    if bound == inf:
        return timeout
    left = max(0.0, bound - now)
    usable: Any = timeout
    if timeout is None or not isinstance(usable, int | float) or not usable >= 0:
        return left if timeout is None else timeout
    return min(left, timeout)
