"""Which model does a task: pure, printable, the same for the same figures.

Rule 1: what a task cannot do without is a filter: room for its input, tools, money, a route that
        is not known to be down. No rule brings a model back that was left out.
Rule 2: then the configured rules, the first that applies, else the balanced one. By default a first
        token below 300 ms asks for the fastest; a low budget for what is not complex for the
        cheapest; complexity from 8 on for the strongest.
Rule 3: of those that are left the ones that keep to `max_latency` go first, where there are any.
Rule 4: an unknown figure is the worst among the candidates, an unknown quality the middle.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import attrs

from streamnursery.values.money import Money
from streamnursery.values.routing_rules import DEFAULT_RULES, RoutingRule

_MIDDLE = 5.0


@attrs.frozen
class Needs:
    """What a task asks for, in figures."""

    input_tokens: int
    output_tokens: int = 0
    complexity: float = 5
    max_latency: float | None = None
    budget: str = "normal"
    tools: bool = False
    strategy: str | None = None


@attrs.frozen
class Candidate:
    """A model as it stands now."""

    name: str
    quality: float | None = None
    """From 0 to 10, as configured."""
    cost: int | None = None
    """Nano-dollars that the task costs at most; None: no price is known."""
    ttft_p50: float | None = None
    ttft_p95: float | None = None
    """Seconds to the first token, measured or configured."""
    measured: bool = False
    built_in: bool = False
    """The speed is neither measured nor configured, but the one that is known of its name."""
    context: int | None = None
    """Tokens of input and output together."""
    tools: bool = True
    affordable: bool = True
    """Every budget has room for it."""
    available: bool = True
    """One of its routes is not known to be down."""


@attrs.frozen
class Decision:
    """The model, and why; print it."""

    model: str
    rule: str
    """The rule that chose."""
    reasons: tuple[str, ...]
    order: tuple[str, ...]
    """All that could do it, the chosen one first."""
    left_out: Mapping[str, str]
    """The others, with what they lack."""

    def __str__(self) -> str:
        lines = [f"{self.model}: {self.rule}"]
        lines += [f"  {reason}" for reason in self.reasons]
        if len(self.order) > 1:
            lines.append(f"  then {', '.join(self.order[1:])}")
        lines += [f"  left out: {name}, {why}" for name, why in self.left_out.items()]
        return "\n".join(lines)


class RoutingPolicy(Protocol):
    """Your own way to choose; pass it as `open_engine(router=...)`."""

    def __call__(self, needs: Needs, candidates: Sequence[Candidate]) -> tuple[str, str]:
        """The name of one of `candidates`, all of which can do the task, and why it is that one.
        The default puts the better ones first."""


class NoCandidateError(Exception):
    """No candidate can do the task; `left_out` says what each lacks."""

    def __init__(self, left_out: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {why}" for name, why in left_out.items()))
        self.left_out = left_out


def choose(
    needs: Needs,
    candidates: Sequence[Candidate],
    policy: RoutingPolicy | None = None,
    rules: Sequence[RoutingRule] = DEFAULT_RULES,
) -> Decision:
    """The model for a task; `rules` are used where there is no `policy`.

    Raises:
        NoCandidateError: no candidate has what the task cannot do without.
        LookupError: `policy` chose what is not a candidate.
    """
    left_out = {c.name: why for c in candidates if (why := lacks(needs, c)) is not None}
    able = [c for c in candidates if c.name not in left_out]
    if not able:
        raise NoCandidateError(left_out)
    if policy is not None:
        name, why = policy(needs, able)
        chosen = next((c for c in able if c.name == name), None)
        if chosen is None:
            msg = f"the policy chose {name!r}, which is no candidate"
            raise LookupError(msg)
        rest = [c for c in able if c is not chosen]
        return _decision(why, needs, [chosen, *rest], left_out)
    strategy, rule = rule_for(needs, rules)
    order = ranked(strategy, needs, able)
    if order[0] is not ranked(strategy, attrs.evolve(needs, max_latency=None), able)[0]:
        # The best by the rule is too late: the wish for a first token has decided.
        rule = f"{rule}; among those with a first token within {needs.max_latency:g} s"
    return _decision(rule, needs, order, left_out)


def lacks(needs: Needs, candidate: Candidate) -> str | None:
    """What a candidate has not that the task cannot do without; None when it has all."""
    tokens = needs.input_tokens + needs.output_tokens
    if candidate.context is not None and tokens > candidate.context:
        return f"{tokens} tokens are more than its {candidate.context}"
    if needs.tools and not candidate.tools:
        return "it has no tools"
    if not candidate.affordable:
        return "no budget has room for it"
    if not candidate.available:
        return "all of its routes are down"
    return None


def rule_for(needs: Needs, rules: Sequence[RoutingRule] = DEFAULT_RULES) -> tuple[str, str]:
    """The strategy that the rules take, and the rule in words."""
    if needs.strategy is not None:
        return needs.strategy, f"the {needs.strategy}, as asked for"
    for rule in rules:
        if rule.applies(needs.complexity, needs.max_latency, needs.budget):
            why = rule.words(needs.complexity, needs.max_latency)
            if why:
                one = " one" if rule.choose == "balanced" else ""
                return rule.choose, f"the {rule.choose}{one}: {why}"
            return rule.choose, f"the {rule.choose}, for everything that no earlier rule is for"
    return "balanced", f"the balanced one: complexity {needs.complexity:g}, {needs.budget} budget"


def ranked(strategy: str, needs: Needs, able: Sequence[Candidate]) -> list[Candidate]:
    """`able` in the order of a strategy, those within the wished latency first."""
    worst = _Worst(able)
    score = _STRATEGIES[strategy]
    order = sorted(able, key=lambda c: (score(c, worst), c.name))
    wished = needs.max_latency
    if wished is None:
        return order
    return sorted(order, key=lambda c: worst.p50(c) > wished)


class _Worst:
    """What an unknown figure is taken for."""

    def __init__(self, able: Sequence[Candidate]) -> None:
        self.cost_most = max((c.cost for c in able if c.cost is not None), default=0)
        self.p50_most = max((c.ttft_p50 for c in able if c.ttft_p50 is not None), default=0.0)
        self.p95_most = max((c.ttft_p95 for c in able if c.ttft_p95 is not None), default=0.0)

    def cost(self, c: Candidate) -> int:
        return self.cost_most if c.cost is None else c.cost

    def p50(self, c: Candidate) -> float:
        return self.p50_most if c.ttft_p50 is None else c.ttft_p50

    def p95(self, c: Candidate) -> float:
        return self.p95_most if c.ttft_p95 is None else c.ttft_p95


def _quality(c: Candidate) -> float:
    return _MIDDLE if c.quality is None else c.quality


def _balance(c: Candidate, worst: _Worst) -> float:
    """Quality as a share of 10, less half of cost and half of latency as shares of the most."""
    cost = worst.cost(c) / worst.cost_most if worst.cost_most else 0.0
    latency = worst.p50(c) / worst.p50_most if worst.p50_most else 0.0
    return _quality(c) / 10 - cost / 2 - latency / 2


_STRATEGIES: dict[str, Callable[[Candidate, _Worst], tuple[float, ...]]] = {
    "cheapest": lambda c, worst: (worst.cost(c), worst.p95(c)),
    "fastest": lambda c, worst: (worst.p95(c), worst.p50(c), worst.cost(c)),
    "strongest": lambda c, worst: (-_quality(c), worst.cost(c)),
    "balanced": lambda c, worst: (-_balance(c, worst), worst.cost(c)),
}
STRATEGIES = tuple(_STRATEGIES)
"""Names that a task or the configuration may give instead of the rules."""


def _decision(
    rule: str, needs: Needs, order: Sequence[Candidate], left_out: Mapping[str, str]
) -> Decision:
    chosen = order[0]
    reasons = [_figures(candidate) for candidate in order]
    wished = needs.max_latency
    if wished is not None and (chosen.ttft_p50 is None or chosen.ttft_p50 > wished):
        reasons.append(f"no model is known to have a first token within {wished:g} s")
    return Decision(chosen.name, rule, tuple(reasons), tuple(c.name for c in order), left_out)


def _figures(c: Candidate) -> str:
    quality = "quality unknown" if c.quality is None else f"quality {c.quality:g}"
    cost = "price unknown" if c.cost is None else f"at most {Money(c.cost)}"
    if c.ttft_p50 is None or c.ttft_p95 is None:
        speed = "speed unknown"
    else:
        how = "measured" if c.measured else "built in" if c.built_in else "configured"
        speed = f"first token in {c.ttft_p50:.3g} s, 95 % in {c.ttft_p95:.3g} s ({how})"
    return f"{c.name}: {quality}, {cost}, {speed}"
