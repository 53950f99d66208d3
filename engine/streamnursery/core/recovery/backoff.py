"""How long to wait before another attempt. All waits are in seconds.

Rule 1: the whole wait is jittered (Brooker, "Exponential Backoff and Jitter", AWS Architecture
        Blog, 2015): clients that failed together must not come back together.
Rule 2: what a provider asks for (RFC 9110, 10.2.3) is a floor: the jitter goes on top of it, never
        below. It is at most `SPREAD`, or the attempt's own backoff where that is longer.
Rule 3: returns to one route take turns on the golden-ratio sequence (three-gap theorem), so that
        no 100 ms get more than a fifth of five or more waiters, however many there will be.
"""

from math import sqrt

from streamnursery.values.policy import Retries

SPREAD = 2.0
"""Seconds over which those who wait for the same date come back; the least that keeps rule 3."""

# Doubling further would leave the range of a float; every cap is reached long before.
_MAX_DOUBLINGS = 1023
_GOLDEN = (sqrt(5) - 1) / 2


def ceiling(policy: Retries, attempt: int) -> float:
    """The longest own wait after `attempt` failed attempts (1 or more): doubling up to the cap."""
    return min(policy.cap, policy.base * 2.0 ** min(attempt - 1, _MAX_DOUBLINGS))


def delay(policy: Retries, attempt: int, dice: float) -> float:
    """The wait after `attempt` failed attempts; `dice` is uniform in [0, 1)."""
    return dice * ceiling(policy, attempt)


def pushback(policy: Retries, asked: float, attempt: int, dice: float) -> float:
    """The wait when the provider asks for `asked` seconds; 0 or less asks for nothing.

    Whether `asked` is too long to be honoured is decided elsewhere.
    """
    if asked <= 0:
        return delay(policy, attempt, dice)
    return asked + dice * max(SPREAD, ceiling(policy, attempt))


def turn_dice(turn: int, offset: float) -> float:
    """Dice for the `turn`-th return to one route, evenly spread with all turns around it.

    `offset` is drawn once per route, so that processes which share a provider differ.
    """
    return (offset + turn * _GOLDEN) % 1.0
