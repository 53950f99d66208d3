"""The idempotency keys of one request: what is sent twice is done once."""

import random

from streamnursery.values.http import Header
from streamnursery.values.settings import Route


class IdempotencyKeys:
    """One key for every attempt at a route: a provider may have done what we saw fail."""

    __slots__ = ("_dice", "_keys")

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._keys: tuple[tuple[Route, Header], ...] = ()
        """Mostly one, so no dictionary."""

    def of(self, route: Route) -> Header:
        """The same each time."""
        for known, key in self._keys:
            if known == route:
                return key
        key = self.fresh()
        self._keys = (*self._keys, (route, key))
        return key

    def fresh(self) -> Header:
        """Another one, for an attempt that is meant to be done beside the others."""
        return ("idempotency-key", f"sn-{self._dice.getrandbits(128):032x}")

    def forget(self) -> None:
        """What is asked next is another question."""
        self._keys = ()
