"""Failures after which another attempt is not worth what it costs.

Rule 1: a server that restarts refuses connections for a while, and is worth several attempts. Where
        there never was a connection, a refusal is more often a wrong port or a server that was not
        started, and a name without an address is misspelt: one second attempt, and the error is
        reported within a second or two.
Rule 2: who has sent a 2xx head has begun to work, and bills for it. When no content came in time
        it is asked once more, here or elsewhere: the third would wait for the same thinking.
Rule 3: hedges are attempts. When as many were made as the plan allows, it is over.
"""

from collections.abc import Sequence

import attrs

from streamnursery.core.recovery.error_policy import RetryScope
from streamnursery.core.recovery.next_step import Failure
from streamnursery.supervisor.attempt import Attempt
from streamnursery.supervisor.outgoing import Outgoing
from streamnursery.values.errors import AttemptRecord, ConnectError, FirstTokenTimeoutError

REFUSALS = 2
SILENCES = 2


def after_refusal(failure: Failure, attempt: Attempt, attempts: int) -> Failure:
    """`failure` of `attempt`, final where it is the second refusal by an address that never took a
    connection, or by a name that never had one. `attempts` were made on the route before."""
    error = attempt.error
    if not isinstance(error, ConnectError) or not (error.refused or error.unresolved):
        return failure
    if attempt.outlet.connected or attempts + 1 < REFUSALS:
        return failure
    said = "refused" if error.refused else "no address"
    what = f"{failure.what}: {said} again, and nothing has ever answered there"
    return attrs.evolve(failure, what=what, retryable=False)


def after_silence(failure: Failure, attempts: Sequence[AttemptRecord]) -> Failure:
    """`failure` of the last of `attempts`, final where two of them had a head and no content."""
    silent = [a for a in attempts if isinstance(a.error, FirstTokenTimeoutError)]
    if len(silent) < SILENCES:
        return failure
    what = f"{failure.what}: {len(silent)} answers began, and no content came in time"
    return attrs.evolve(failure, what=what, retryable=False, way=RetryScope.NOWHERE)


def after_all(failure: Failure, outgoing: Outgoing) -> Failure:
    """`failure`, final where every attempt of the plan was made, some of them as hedges."""
    if not outgoing.spent or failure.refused is not None:
        return failure
    what = f"{failure.what}: the last of {outgoing.allowed} attempts, hedges included"
    return attrs.evolve(failure, what=what, retryable=False, way=RetryScope.NOWHERE)
