"""When requests begin: load shapes, as values and as schedules fixed in advance.

Rule 1: an open loop does not look at answers. Its dates are drawn before the first request goes
        out, and latency counts from the date, so that a target that stalls cannot slow down the
        clock it is measured by (coordinated omission; G. Tene, "How NOT to Measure Latency").
Rule 2: a closed loop has no dates: each of its users asks again when the last answer has ended,
        and latency counts from that moment.
Rule 3: dice are arguments: one seed, one schedule.
"""

import itertools
import random
from collections.abc import Iterator, Sequence
from math import inf, sqrt
from typing import TypeAlias

import attrs


def _positive(_: object, field: "attrs.Attribute[float]", value: float) -> None:
    if not 0 < value < inf:
        msg = f"{field.name} must be a number > 0, not {value!r}"
        raise ValueError(msg)


@attrs.frozen
class Concurrency:
    """A closed loop: so many requests are under way at any time."""

    users: int = attrs.field()

    @users.validator
    def _check(self, _: object, users: object) -> None:
        if not isinstance(users, int) or isinstance(users, bool) or users < 1:
            msg = f"users must be a whole number >= 1, not {users!r}"
            raise ValueError(msg)

    def __str__(self) -> str:
        return f"{self.users} at once"

    @property
    def level(self) -> float:
        return float(self.users)

    def share(self, of: int) -> "tuple[Concurrency | None, ...]":
        """The same load in `of` parts; None for a part without any."""
        base, more = divmod(self.users, of)
        parts = [base + (index < more) for index in range(of)]
        return tuple(Concurrency(users) if users else None for users in parts)


@attrs.frozen
class Constant:
    """An open loop: a request every 1/rate seconds."""

    rate: float = attrs.field(validator=_positive)
    """Requests per second."""

    def __str__(self) -> str:
        return f"{self.rate:g}/s"

    @property
    def level(self) -> float:
        return self.rate

    def dates(self, dice: random.Random) -> Iterator[float]:
        """Seconds from the start of the load, without end."""
        del dice
        index = 0
        while True:
            yield index / self.rate
            index += 1

    def share(self, of: int) -> "tuple[Constant, ...]":
        """The same load in `of` parts."""
        return tuple(Constant(self.rate / of) for _ in range(of))


@attrs.frozen
class Poisson:
    """An open loop: independent arrivals, `rate` of them per second on average."""

    rate: float = attrs.field(validator=_positive)

    def __str__(self) -> str:
        return f"{self.rate:g}/s poisson"

    @property
    def level(self) -> float:
        return self.rate

    def dates(self, dice: random.Random) -> Iterator[float]:
        at = 0.0
        while True:
            at += dice.expovariate(self.rate)
            yield at

    def share(self, of: int) -> "tuple[Poisson, ...]":
        """The same load in `of` parts: a sum of Poisson processes is one."""
        return tuple(Poisson(self.rate / of) for _ in range(of))


@attrs.frozen
class Ramp:
    """An open loop whose rate grows, or falls, evenly over `seconds`; then it stays."""

    first: float = attrs.field(validator=_positive)
    last: float = attrs.field(validator=_positive)
    seconds: float = attrs.field(validator=_positive)

    def __str__(self) -> str:
        return f"{self.first:g} to {self.last:g}/s over {self.seconds:g} s"

    @property
    def level(self) -> float:
        return self.last

    def dates(self, dice: random.Random) -> Iterator[float]:
        del dice
        index = 0
        while True:
            yield self._date(index)
            index += 1

    def _date(self, index: int) -> float:
        # N(t) = first t + (last - first) t^2 / (2 seconds) requests have begun by t.
        slope = (self.last - self.first) / self.seconds
        whole = (self.first + self.last) / 2 * self.seconds
        if index > whole:
            return self.seconds + (index - whole) / self.last
        if slope == 0:
            return index / self.first
        return (sqrt(max(0.0, self.first**2 + 2 * slope * index)) - self.first) / slope

    def share(self, of: int) -> "tuple[Ramp, ...]":
        """The same load in `of` parts."""
        return tuple(Ramp(self.first / of, self.last / of, self.seconds) for _ in range(of))


@attrs.frozen
class Replay:
    """An open loop with the dates of a trace, as recorded."""

    offsets: tuple[float, ...] = attrs.field(repr=False)
    """Seconds from the start, in order."""

    @offsets.validator
    def _check(self, _: object, offsets: Sequence[float]) -> None:
        if not offsets or any(not 0 <= at < inf for at in offsets):
            raise ValueError("a trace needs at least one date, each a number of seconds >= 0")
        if any(a > b for a, b in itertools.pairwise(offsets)):
            raise ValueError("the dates of a trace must be in order")

    def __str__(self) -> str:
        return f"{len(self.offsets)} requests of a trace over {self.offsets[-1]:.3g} s"

    @property
    def level(self) -> float:
        return len(self.offsets) / (self.offsets[-1] or 1.0)

    def dates(self, dice: random.Random) -> Iterator[float]:
        del dice
        return iter(self.offsets)

    def share(self, of: int) -> "tuple[Replay | None, ...]":
        """The same load in `of` parts: one request after the other to one part after the other."""
        parts = [self.offsets[index::of] for index in range(of)]
        return tuple(Replay(part) if part else None for part in parts)


OpenLoop: TypeAlias = Constant | Poisson | Ramp | Replay
Shape: TypeAlias = Concurrency | OpenLoop


def levels(first: float, last: float, steps: int) -> tuple[float, ...]:
    """`steps` levels of a sweep from `first` to `last`, each so many times the one before."""
    if steps < 2 or first == last:
        return (first,)
    ratio = (last / first) ** (1 / (steps - 1))
    return (*(first * ratio**index for index in range(steps - 1)), last)
