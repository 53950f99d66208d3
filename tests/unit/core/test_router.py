"""Which model does a task: the default rules, and what no rule passes over."""

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnursery.core.money.pricing import cost
from streamnursery.core.routing.router import (
    STRATEGIES,
    Candidate,
    Needs,
    NoCandidateError,
    choose,
    lacks,
)
from streamnursery.values.models import KNOWN
from streamnursery.values.prices import BUILT_IN
from streamnursery.values.usage import Usage

PROMPT = Needs(1000, 500)
TASK = Usage(1000, 500)
DEMO = [
    Candidate(
        name,
        known.quality,
        cost(BUILT_IN[name][0], TASK),
        known.ttft_p50,
        known.ttft_p95,
        context=known.context,
    )
    for name, known in KNOWN.items()
]


@pytest.mark.parametrize(
    ("needs", "model", "rule"),
    [
        ({"max_latency": 0.2}, "gemini-2.5-flash", "fastest"),
        ({"max_latency": 0.299, "complexity": 10}, "gemini-2.5-flash", "fastest"),
        ({"max_latency": 0.25, "budget": "low"}, "gemini-2.5-flash", "fastest"),
        ({"budget": "low", "complexity": 6.9}, "deepseek-v3.2", "cheapest"),
        ({"budget": "low", "complexity": 0}, "deepseek-v3.2", "cheapest"),
        ({"budget": "low", "complexity": 7}, "gemini-2.5-flash", "balanced"),
        ({"budget": "low", "complexity": 8}, "claude-sonnet-4.5", "strongest"),
        ({"complexity": 8}, "claude-sonnet-4.5", "strongest"),
        ({"complexity": 10, "budget": "high"}, "claude-sonnet-4.5", "strongest"),
        ({"complexity": 7.9}, "gemini-2.5-flash", "balanced"),
        ({}, "gemini-2.5-flash", "balanced"),
        ({"max_latency": 0.3}, "gemini-2.5-flash", "balanced"),
        ({"strategy": "cheapest", "complexity": 10}, "deepseek-v3.2", "cheapest"),
        ({"strategy": "fastest"}, "gemini-2.5-flash", "fastest"),
        ({"strategy": "strongest"}, "claude-sonnet-4.5", "strongest"),
        ({"complexity": 9, "max_latency": 0.9}, "gpt-4.1", "strongest"),
    ],
)
def test_the_default_rules(needs: dict[str, Any], model: str, rule: str) -> None:
    decision = choose(attrs.evolve(PROMPT, **needs), DEMO)
    assert decision.model == model
    assert rule in decision.rule


def test_a_decision_prints_its_rule_its_figures_and_who_was_left_out() -> None:
    crowd = [*DEMO[:2], attrs.evolve(DEMO[2], context=100), attrs.evolve(DEMO[3], tools=False)]
    text = str(choose(attrs.evolve(PROMPT, complexity=9, tools=True), crowd))
    assert text.splitlines()[0] == "claude-sonnet-4.5: the strongest: complexity 9, from 8 on"
    assert "quality 9, at most 0.0105 USD, first token in 0.92 s, 95 % in 1.35 s" in text
    assert "left out: gemini-2.5-flash, 1500 tokens are more than its 100" in text
    assert "left out: deepseek-v3.2, it has no tools" in text


def test_measured_figures_turn_the_choice() -> None:
    slow = [
        c if c.name != "gemini-2.5-flash" else attrs.evolve(c, ttft_p50=9, ttft_p95=20)
        for c in DEMO
    ]
    assert choose(attrs.evolve(PROMPT, max_latency=0.2), slow).model == "deepseek-v3.2"


def test_unknown_figures_are_the_worst_and_unknown_quality_the_middle() -> None:
    crowd = [*DEMO, Candidate("new")]
    for strategy in ("cheapest", "fastest", "balanced"):
        assert choose(attrs.evolve(PROMPT, strategy=strategy), crowd).model != "new"
    assert choose(PROMPT, [Candidate("new")]).model == "new"


def test_nobody_who_can_do_it_is_told_with_what_each_lacks() -> None:
    with pytest.raises(NoCandidateError, match="all of its routes are down"):
        choose(PROMPT, [attrs.evolve(DEMO[0], available=False)])


def test_a_policy_of_ones_own_chooses_among_those_that_can() -> None:
    decision = choose(PROMPT, DEMO, lambda needs, able: (able[-1].name, "it is mine"))
    assert (decision.model, decision.rule) == ("deepseek-v3.2", "it is mine")
    with pytest.raises(LookupError, match="no candidate"):
        choose(PROMPT, DEMO, lambda needs, able: ("gpt-2", "for old times' sake"))


names = st.sampled_from(["a", "b", "c", "d", "e"])
maybe = st.none() | st.floats(0.01, 20)
candidates = st.lists(
    st.builds(
        Candidate,
        names,
        st.none() | st.floats(0, 10),
        st.none() | st.integers(0, 10**12),
        maybe,
        maybe,
        st.booleans(),
        st.none() | st.integers(1, 10_000),
        st.booleans(),
        st.booleans(),
        st.booleans(),
    ),
    min_size=1,
    unique_by=lambda c: c.name,
)
needs_of = st.builds(
    Needs,
    st.integers(0, 5000),
    st.integers(0, 5000),
    st.floats(0, 10),
    st.none() | st.floats(0.05, 10),
    st.sampled_from(["low", "normal", "high"]),
    st.booleans(),
    st.none() | st.sampled_from(STRATEGIES),
)


@given(needs=needs_of, crowd=candidates)
def test_the_chosen_model_always_has_what_the_task_cannot_do_without(
    needs: Needs, crowd: list[Candidate]
) -> None:
    everybody = {c.name for c in crowd}
    able = {c.name for c in crowd if lacks(needs, c) is None}
    if not able:
        with pytest.raises(NoCandidateError) as caught:
            choose(needs, crowd)
        assert caught.value.left_out.keys() == everybody
        return
    decision = choose(needs, crowd)
    assert decision.model in able
    assert set(decision.order) == able
    assert decision.left_out.keys() == everybody - able
    assert any(word in decision.rule for word in STRATEGIES)


@given(needs=needs_of, crowd=candidates)
def test_the_order_of_the_candidates_decides_nothing(needs: Needs, crowd: list[Candidate]) -> None:
    try:
        first = choose(needs, crowd)
    except NoCandidateError:
        return
    assert choose(needs, crowd[::-1]).order == first.order


def test_the_reason_names_the_wish_where_the_wish_has_decided() -> None:
    strong = Candidate("strong", quality=9, ttft_p50=0.9, ttft_p95=1.0)
    quick = Candidate("quick", quality=3, ttft_p50=0.1, ttft_p95=0.2)
    late = choose(Needs(10, complexity=8, max_latency=0.3), [strong, quick])
    assert late.model == "quick"
    assert late.rule.endswith("; among those with a first token within 0.3 s")
    for wish in (None, 0.9):
        decision = choose(Needs(10, complexity=8, max_latency=wish), [strong, quick])
        assert decision.model == "strong"
        assert "among" not in decision.rule


def test_figures_say_where_they_come_from() -> None:
    for fields, words in (
        ({"measured": True}, "(measured)"),
        ({"built_in": True}, "(built in)"),
        ({}, "(configured)"),
    ):
        candidate = Candidate("m", ttft_p50=0.1, ttft_p95=0.2, **fields)
        assert choose(Needs(10), [candidate]).reasons[0].endswith(words)


@pytest.mark.parametrize("budget", ["normal", "low"])
@pytest.mark.parametrize("wish", [None, 0.1, 0.299, 0.3, 0.9])
@pytest.mark.parametrize("complexity", range(1, 11))
def test_the_four_rules_of_the_recipes_in_their_order(
    complexity: int, wish: float | None, budget: str
) -> None:
    """Candidates that all keep to every wish, so that the rule alone decides."""
    crowd = [
        Candidate("fast", quality=2, cost=50, ttft_p50=0.01, ttft_p95=0.02),
        Candidate("cheap", quality=1, cost=1, ttft_p50=0.05, ttft_p95=0.06),
        Candidate("strong", quality=10, cost=100, ttft_p50=0.06, ttft_p95=0.07),
        Candidate("even", quality=8, cost=20, ttft_p50=0.02, ttft_p95=0.05),
    ]
    if wish in {0.1, 0.299}:
        wanted = "fast"
    elif budget == "low" and complexity in {1, 2, 3, 4, 5, 6}:
        wanted = "cheap"
    elif complexity in {8, 9, 10}:
        wanted = "strong"
    else:
        wanted = "even"
    needs = Needs(10, complexity=complexity, max_latency=wish, budget=budget)
    assert choose(needs, crowd).model == wanted
