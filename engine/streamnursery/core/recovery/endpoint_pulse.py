"""When to ask an idle endpoint whether it answers.

Rule 1: only while idle: an answer to anybody is a sign of life, and puts the next beat off.
Rule 2: beats of many engines do not fall together: each interval is shortened by up to a tenth.
Rule 3: an endpoint that is silent is asked again every `timeout`, so that its return is noticed
        about as soon as a request would notice it.
"""

from streamnursery.values.session import EndpointHeartbeat, HeartbeatStatistics


class EndpointPulse:
    """The beats of one endpoint."""

    def __init__(self, policy: EndpointHeartbeat, now: float, dice: float) -> None:
        assert policy.interval is not None
        self.timeout = policy.timeout
        self._interval = policy.interval
        self._due_at = now + policy.interval * (0.5 + dice / 2)
        self._busy = 0
        self._beats = 0
        self._missed = 0
        self._alive: bool | None = None
        self._heard_at: float | None = None
        self._round_trip: float | None = None

    @property
    def due_at(self) -> float:
        return self._due_at

    @property
    def busy(self) -> bool:
        """Requests of users are under way: their outcome will show it."""
        return self._busy > 0

    def began(self) -> None:
        """A request went there."""
        self._busy += 1

    def ended(self, now: float, dice: float, *, answered: bool) -> None:
        """A request is over; `answered`: the endpoint had something to say, whatever it was."""
        self._busy -= 1
        if answered:
            self._heard(now, dice)

    def put_off(self, now: float, dice: float) -> None:
        """It is busy: ask later."""
        self._due_at = now + self._wait(dice)

    def on_heartbeat(self, began_at: float, now: float, dice: float, *, alive: bool) -> float:
        """A beat is over; when the next one is due."""
        self._beats += 1
        if alive:
            self._round_trip = now - began_at
            self._heard(now, dice)
        else:
            self._missed += 1
            self._alive = False
            self._due_at = now + min(self.timeout, self._interval)
        return self._due_at

    def statistics(self) -> HeartbeatStatistics:
        return HeartbeatStatistics(
            self._beats, self._missed, self._alive, self._heard_at, self._round_trip
        )

    def _heard(self, now: float, dice: float) -> None:
        self._alive, self._heard_at = True, now
        self._due_at = now + self._wait(dice)

    def _wait(self, dice: float) -> float:
        return self._interval * (1 - dice / 10)
