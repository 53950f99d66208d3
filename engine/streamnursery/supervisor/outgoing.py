"""Everything that leaves for one request of the caller, counted in one place (ADR 0025).

    requests    <= attempts + 2
    connections <= 2 * attempts, those begun; a race over the addresses of one name is one

Rule 1: attempts are those that were begun, a hedge among them, and of them never more than the plan
        allows: one that has failed with an answer costs an attempt, whatever was resent.
Rule 2: the two more are for requests that no server has looked at: a kept connection that was dead
        (RFC 9110 9.2.2), REFUSED_STREAM and GOAWAY (RFC 9113 8.7). The first goes out at once, the
        second after a part of the route's backoff, and the route's breaker hears of that one.
Rule 3: each is paid for by the retry budget of its endpoint.
"""

import attrs

RESENT = 2
"""Requests beyond the attempts."""
_CONNECTIONS = 2
"""Connections that an attempt may begin."""


@attrs.define(eq=False)
class Outgoing:
    """The counts of one request."""

    allowed: int
    """Attempts of its plan."""
    attempts: int = attrs.field(default=0, init=False)
    requests: int = attrs.field(default=0, init=False)
    connections: int = attrs.field(default=0, init=False)
    resent: int = attrs.field(default=0, init=False)

    @property
    def spent(self) -> bool:
        """All attempts of the plan were made, hedges among them."""
        return self.attempts >= self.allowed

    @property
    def may_hedge(self) -> bool:
        """Whether there may be one attempt more beside one that is open; also where the plan allows
        one attempt only, since who asks for hedges has asked for that."""
        return self.attempts < max(self.allowed, 2) and not self._full

    @property
    def _full(self) -> bool:
        return self.requests >= self.allowed + RESENT

    def may_connect(self) -> bool:
        """Count a connection that is about to be begun; False, and nothing is counted, for one too
        many."""
        if self.connections >= _CONNECTIONS * self.attempts:
            return False
        self.connections += 1
        return True

    def may_resend(self) -> bool:
        """The same for a request that goes out once more within its attempt; mostly it needs a
        connection for that."""
        if self._full or self.requests >= self.attempts + RESENT:
            return False
        if self.connections >= _CONNECTIONS * self.attempts:
            return False
        self.resent += 1
        return True
