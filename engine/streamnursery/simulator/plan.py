"""Which request meets which script.

Rule 1: the faults of all rules that match are put together, in the order of the rules; what a
        request asks for itself comes after them.
Rule 2: all conditions of a rule must hold. Requests are counted from 1 at each provider, from
        their first byte on and retries like any other; network faults count attempts to connect,
        and `ResolveFail` look-ups of the name.
Rule 3: dice are rolled only for rules whose other conditions hold, so that a rule that cannot
        match does not change the run.
"""

from fnmatch import fnmatchcase
from math import inf
from random import Random

import attrs

from streamnursery.simulator import field_checks
from streamnursery.simulator.fault import Fault, NetworkFault
from streamnursery.simulator.field_checks import of
from streamnursery.simulator.script import ResolveFail, Script


@attrs.frozen
class When:
    """The conditions of a rule; by default it always matches."""

    requests: tuple[int, ...] | None = of(
        field_checks.or_none(field_checks.numbers), None, many=True
    )
    """Only the requests of these numbers."""
    every: int | None = of(field_checks.or_none(field_checks.positive), None)
    """Only each n-th request: 3 means the third, the sixth, ..."""
    model: str | None = of(field_checks.or_none(field_checks.text), None)
    """Only models like this pattern (`*`, `?`, `[...]`), compared without the `sim/` before it
    and the query behind it."""
    since: float = of(field_checks.seconds, 0.0)
    until: float | None = of(field_checks.or_none(field_checks.seconds), None)
    """Only from `since` to before `until`, in seconds from the provider's start."""
    probability: float = of(field_checks.share, 1.0)

    def holds(self, number: int, elapsed: float, dice: Random) -> bool:
        """Whether all conditions but the model's hold."""
        if self.requests is not None and number not in self.requests:
            return False
        if self.every is not None and number % self.every:
            return False
        if not self.since <= elapsed < (inf if self.until is None else self.until):
            return False
        return self.probability >= 1 or dice.random() < self.probability


@attrs.frozen
class Rule:
    """A script and when it applies."""

    script: Script
    when: When = When()


@attrs.frozen
class Plan:
    """All that goes wrong at one provider."""

    rules: tuple[Rule, ...] = ()

    @classmethod
    def always(cls, *script: Fault) -> "Plan":
        """Every request meets `script`."""
        return cls((Rule(script),))

    def for_lookup(self, number: int, elapsed: float, dice: Random) -> bool:
        """Whether look-up `number` of the host's name fails."""
        return bool(self._network(True, number, elapsed, dice))

    def for_connection(self, number: int, elapsed: float, dice: Random) -> tuple[NetworkFault, ...]:
        """The network faults of connection `number`."""
        return self._network(False, number, elapsed, dice)

    def _network(
        self, lookup: bool, number: int, elapsed: float, dice: Random
    ) -> tuple[NetworkFault, ...]:
        found: list[NetworkFault] = []
        for rule in self.rules:
            faults = [
                fault
                for fault in rule.script
                if isinstance(fault, NetworkFault) and isinstance(fault, ResolveFail) == lookup
            ]
            if faults and rule.when.model is None and rule.when.holds(number, elapsed, dice):
                found += faults
        return tuple(found)

    def for_request(
        self, number: int, elapsed: float, dice: Random, model: str | None = None
    ) -> Script:
        """The faults of request `number`: with a model those of rules that name one, without
        it those of the others, which are known as soon as the request begins."""
        found: list[Fault] = []
        for rule in self.rules:
            pattern = rule.when.model
            if model is None or pattern is None:
                concerned = model is None and pattern is None
            else:
                concerned = fnmatchcase(model, pattern.removeprefix("sim/"))
            faults = [fault for fault in rule.script if not isinstance(fault, NetworkFault)]
            if faults and concerned and rule.when.holds(number, elapsed, dice):
                found += faults
        return tuple(found)
