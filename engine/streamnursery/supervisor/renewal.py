"""Keys that are replaced while the engine runs.

Rule 1: the place of a key is looked at when the provider has refused it (401), and not before: a
        key in use costs no look at the disk.
Rule 2: a request asks each endpoint again once for a new key. It counts as any other attempt.
Rule 3: one request's look serves all: those that were refused with the old key find the new one.
"""

import attrs

from streamnursery.core.recovery.error_policy import RetryScope
from streamnursery.core.recovery.next_step import Failure
from streamnursery.supervisor.attempt import Attempt
from streamnursery.values.errors import AuthError

_UNAUTHORIZED = 401


@attrs.define(eq=False)
class KeyRenewal:
    """What one request has renewed."""

    _endpoints: frozenset[str] = attrs.field(default=frozenset(), init=False)

    def after(self, failure: Failure, attempt: Attempt) -> Failure:
        """`failure` of `attempt`, or one that may be tried again there, with another key."""
        error, outlet = attempt.error, attempt.outlet
        name = outlet.endpoint.name
        if not isinstance(error, AuthError) or error.status != _UNAUTHORIZED:
            return failure
        if name in self._endpoints or not outlet.renew_credentials(attempt.credentials):
            return failure
        self._endpoints |= {name}
        return attrs.evolve(
            failure,
            what=f"{failure.what}, and its key has been renewed",
            way=RetryScope.HERE_FIRST,
            retryable=True,
        )
