"""The kind of value that the rules of routing have."""

from collections.abc import Mapping
from typing import Any, get_args

from streamnursery.config.kinds import Kind, Spot, is_number
from streamnursery.config.report import MisfitError, described, quoted
from streamnursery.values.routing_rules import BudgetNeed, RoutingRule, Strategy

_EXAMPLE = '{ latency_below = 0.3, choose = "fastest" }'
_NUMBERS = {"latency_below": 3600.0, "complexity_below": 10.0, "complexity_from": 10.0}
"""Conditions that are numbers, each with its most."""
_WORDS = {"choose": get_args(Strategy), "budget": get_args(BudgetNeed)}


def _rules(raw: object, _: Spot) -> tuple[RoutingRule, ...]:
    if not isinstance(raw, list):
        msg = f"must be an array of tables such as {_EXAMPLE}, not {described(raw)}"
        raise MisfitError(msg)
    rules, problems = [], []
    for number, item in enumerate(raw, 1):
        if isinstance(item, RoutingRule):
            rules.append(item)
            continue
        wrong = _problem(item)
        if wrong is None and isinstance(item, Mapping):
            rules.append(RoutingRule(**item))
        else:
            problems.append(f"item {number}: {wrong}")
    if problems:
        raise MisfitError(*problems, rest=tuple(rules))
    return tuple(rules)


def _problem(item: object) -> str | None:
    if not isinstance(item, Mapping):
        return f"must be a table such as {_EXAMPLE}, not {described(item)}"
    if "choose" not in item:
        return f"lacks `choose`: {', '.join(_WORDS['choose'])}"
    for name, value in item.items():
        wrong = _value_problem(name, value)
        if wrong is not None:
            return wrong
    return None


def _value_problem(name: object, value: Any) -> str | None:
    if name in _NUMBERS:
        most = _NUMBERS[str(name)]
        if is_number(value) and 0 <= value <= most:
            return None
        return f"`{name}` must be a number from 0 to {most:g}, not {described(value)}"
    if name in _WORDS:
        words = _WORDS[str(name)]
        if value in words:
            return None
        return f"`{name}` must be {' or '.join(words)}, not {described(value)}"
    shown = quoted(name) if isinstance(name, str) else described(name)
    return f"unknown key {shown}; a rule has {', '.join([*_WORDS, *_NUMBERS])}"


def rule_text(rule: RoutingRule) -> str:
    """A rule as TOML writes it."""
    given = {name: getattr(rule, name) for name in (*_NUMBERS, "budget", "choose")}
    parts = [
        f'{name} = "{value}"' if isinstance(value, str) else f"{name} = {value:g}"
        for name, value in given.items()
        if value is not None
    ]
    return f"{{ {', '.join(parts)} }}"


RULES = Kind("array of rules", _rules, plain=False)
