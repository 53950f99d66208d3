"""How much may be sent: the windows that we grant, and the patience with frames that carry nothing.

Rule 1: a connection's window is given back for what has arrived, a stream's for what was
        consumed: one reader that stops holds up its own stream and no other.
Rule 2: what is given back is collected until it is worth a frame.
"""

_FORGIVEN_PER_SECOND = 10.0


class ReceiveWindow:
    """Bytes that the peer may send us; `available + owed` and what is unconsumed make up `size`."""

    __slots__ = ("available", "owed", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.available = size
        """What the peer may still send."""
        self.owed = 0
        """Consumed and not yet given back."""

    def take(self, nbytes: int) -> bool:
        """Bytes have arrived; whether they were allowed."""
        self.available -= nbytes
        return self.available >= 0

    def consumed(self, nbytes: int) -> bool:
        """Bytes can be given back; whether it is time to do so."""
        self.owed += nbytes
        return self.owed * 2 >= self.size

    def give_back(self) -> int:
        """The increment to send."""
        increment, self.owed = self.owed, 0
        self.available += increment
        return increment


class FloodGuard:
    """Counts frames that carry nothing, forgives ten a second, and all of them for data.

    1,000 of them without data in between are a flood; a server that asks for a PING every second
    never comes near.
    """

    MOST = 1000

    def __init__(self) -> None:
        self._level = 0.0
        self._as_of = 0.0

    def strain(self, now: float) -> bool:
        """One more; whether that was too many."""
        forgiven = (now - self._as_of) * _FORGIVEN_PER_SECOND
        self._level = max(0.0, self._level - forgiven) + 1.0
        self._as_of = now
        return self._level > self.MOST

    def restore(self) -> None:
        self._level = 0.0
