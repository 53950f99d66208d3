"""When a session connects again, and when it gives up.

Rule 1: waits grow from `base` by `factor`, are lengthened by at most `jitter`, and end at `cap`.
        What the server asks for is a floor; more than it may ask for is a reason to give up.
Rule 2: `attempts` in a row without a connection are enough. So are `max_restarts` connections
        that broke within `period`: each of them was made, so the first count never grows.
Rule 3: a close code says whether another connection could fare better. One that the server has
        made up itself (3000 and above) or that reports a mistake of ours says no.
"""

from collections import deque

import attrs

from streamnursery.values.session import Reconnect

RETRYABLE_CODES = frozenset({1001, 1005, 1006, 1011, 1012, 1013, 1014, 1015})
"""Going away, no code, no close at all, an error inside the server, restart, try again later,
a gateway's bad peer, TLS. What is not here - 1000 and 1008, 4000 and the like - is final."""


@attrs.frozen
class ConnectAgain:
    """Connect again after so many seconds."""

    delay: float


@attrs.frozen
class StopReconnecting:
    """Give up."""

    why: str


def wait_before(policy: Reconnect, attempt: int, dice: float) -> float:
    """Seconds before the `attempt`-th attempt, from 1; `dice` is uniform in [0, 1)."""
    # A float overflows only where the cap has long been reached.
    exponent = min(attempt - 1, 1000 if policy.factor < 2 else 64)
    wait = policy.base * policy.factor**exponent * (1 + policy.jitter * dice)
    return min(policy.cap, wait)


class Restarts:
    """Decides after each break and each failed attempt."""

    def __init__(self, policy: Reconnect) -> None:
        self._policy = policy
        self._breaks: deque[float] = deque()
        self.attempt = 0
        """Of the attempts in a row; 0 while there is a connection."""

    def opened(self) -> None:
        """A connection stands."""
        self.attempt = 0

    def on_connection_lost(self, now: float) -> StopReconnecting | None:
        """A connection that stood has broken."""
        policy = self._policy
        while self._breaks and self._breaks[0] <= now - policy.period:
            self._breaks.popleft()
        self._breaks.append(now)
        if len(self._breaks) > policy.max_restarts:
            return StopReconnecting(
                f"{len(self._breaks)} connections broke within {policy.period:g} s; "
                f"reconnect.max_restarts = {policy.max_restarts}"
            )
        return None

    def next_attempt(
        self, dice: float, retry_after: float | None = None
    ) -> ConnectAgain | StopReconnecting:
        """What to do now that there is no connection."""
        policy = self._policy
        if self.attempt >= policy.attempts:
            return StopReconnecting(f"no connection in {self.attempt} attempts")
        if retry_after is not None and retry_after > policy.retry_after_cap:
            return StopReconnecting(
                f"the server asks for a wait of {retry_after:g} s; "
                f"reconnect.retry_after_cap = {policy.retry_after_cap:g}"
            )
        self.attempt += 1
        return ConnectAgain(max(wait_before(policy, self.attempt, dice), retry_after or 0.0))
