"""Addresses at which nothing was ever reached.

A server that restarts refuses connections for a while, and is worth several attempts. Where there
never was a connection, a refusal is more often a wrong port or a server that was not started: one
second attempt, and the error is told within a second or two.
"""

import attrs

from streamnursery.core.recovery.next_step import Failure
from streamnursery.supervisor.attempt import Attempt
from streamnursery.values.errors import ConnectError

ATTEMPTS = 2


def after_refusal(failure: Failure, attempt: Attempt, attempts: int) -> Failure:
    """`failure` of `attempt`, final where it is the second refusal by an address that never took a
    connection. `attempts` were made on the route before."""
    refused = isinstance(attempt.error, ConnectError) and attempt.error.refused
    if not refused or attempt.outlet.connected or attempts + 1 < ATTEMPTS:
        return failure
    what = f"{failure.what}: refused again, and nothing has ever answered there"
    return attrs.evolve(failure, what=what, retryable=False)
