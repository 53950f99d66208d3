"""Rules of routing in a configuration: what they mean, and what is said of wrong ones."""

from typing import Any

import pytest

from streamnursery.config.load import config_from_mapping
from streamnursery.core.routing.router import Candidate, Needs, choose
from streamnursery.values.errors import ConfigError
from streamnursery.values.routing_rules import DEFAULT_RULES, RoutingRule

MODELS = [
    Candidate("quick", quality=3, cost=50, ttft_p50=0.1, ttft_p95=0.2),
    Candidate("cheap", quality=4, cost=1, ttft_p50=0.5, ttft_p95=0.9),
    Candidate("strong", quality=10, cost=100, ttft_p50=2.0, ttft_p95=4.0),
    Candidate("middle", quality=8, cost=20, ttft_p50=0.3, ttft_p95=0.6),
]


def read(rules: object) -> tuple[RoutingRule, ...]:
    return config_from_mapping({"routing": {"rules": rules}}).routing_rules


def test_without_any_the_four_rules_of_the_recipes_hold() -> None:
    assert config_from_mapping({}).routing_rules == DEFAULT_RULES


def test_written_down_they_are_the_same() -> None:
    written = [
        {"latency_below": 0.3, "choose": "fastest"},
        {"budget": "low", "complexity_below": 7, "choose": "cheapest"},
        {"complexity_from": 8, "choose": "strongest"},
        {"choose": "balanced"},
    ]
    rules = read(written)
    for complexity in range(1, 11):
        for latency in (None, 0.1, 0.299, 0.3, 0.9):
            for budget in ("low", "normal", "high"):
                needs = Needs(10, complexity=complexity, max_latency=latency, budget=budget)
                assert choose(needs, MODELS, rules=rules).model == choose(needs, MODELS).model


def test_the_first_that_applies_counts_and_says_why() -> None:
    rules = read([
        {"complexity_from": 3, "complexity_below": 6, "choose": "strongest"},
        {"budget": "high", "choose": "fastest"},
        {"choose": "cheapest"},
    ])
    middling = choose(Needs(10, complexity=4, budget="high"), MODELS, rules=rules)
    assert (middling.model, middling.rule) == (
        "strong",
        "the strongest: complexity 4 below 6, complexity 4, from 3 on",
    )
    assert choose(Needs(10, complexity=6, budget="high"), MODELS, rules=rules).model == "quick"
    rest = choose(Needs(10, complexity=6), MODELS, rules=rules)
    assert (rest.model, rest.rule) == (
        "cheap",
        "the cheapest, for everything that no earlier rule is for",
    )


def test_no_rules_at_all_choose_the_balanced_model() -> None:
    found = choose(Needs(10, complexity=10, budget="low"), MODELS, rules=read([]))
    assert found.model == "middle"


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("fastest", "must be an array of tables"),
        (["fastest"], "item 1: must be a table"),
        ([{"budget": "low"}], "item 1: lacks `choose`: cheapest, fastest"),
        ([{"choose": "best"}], "`choose` must be cheapest or fastest"),
        ([{"choose": "fastest", "budget": "tiny"}], "`budget` must be low or normal or high"),
        ([{"choose": "fastest", "complexity_from": 11}], "must be a number from 0 to 10, not 11"),
        ([{"choose": "fastest", "latency_below": True}], "`latency_below` must be a number"),
        ([{"choose": "fastest", "latency": 1}], 'unknown key "latency"; a rule has choose'),
    ],
)
def test_a_wrong_rule_is_told_with_its_number(rules: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(rules)
    assert "routing.rules" in str(caught.value)
    assert message in str(caught.value)
