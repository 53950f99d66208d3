"""How fast a simulated model is."""

from random import Random
from statistics import mean, quantiles

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnursery.simulator import PROFILES, Profile, ScriptError
from streamnursery.simulator.profiles import parse_profiles


@pytest.mark.parametrize(
    ("model", "average", "p95"),
    [
        ("gpt-4.1", 0.85, 1.2),
        ("claude-sonnet-4.5", 0.92, 1.35),
        ("gemini-2.5-flash", 0.18, 0.28),
        ("deepseek-v3.2", 0.22, 0.35),
    ],
)
def test_the_fit_meets_the_mean_and_the_95th_percentile(
    model: str, average: float, p95: float
) -> None:
    dice = Random(1)
    drawn = [PROFILES[model].first_token_after(dice.random()) for _ in range(20_000)]
    assert mean(drawn) == pytest.approx(average, rel=0.01)
    assert quantiles(drawn, n=20)[-1] == pytest.approx(p95, rel=0.02)
    assert PROFILES[model].gap == 1 / 45


def test_the_fast_model_has_no_delays() -> None:
    assert PROFILES["fast"].first_token_after(0.5) == 0
    assert PROFILES["fast"].gap == 0


@given(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_higher_dice_never_mean_an_earlier_token(one: float, other: float) -> None:
    profile = PROFILES["gpt-4.1"]
    low, high = sorted((one, other))
    assert 0 < profile.first_token_after(low) <= profile.first_token_after(high) < 100


def test_speed_divides_every_time() -> None:
    fast = PROFILES["gpt-4.1"].faster(10)
    assert [fast.ttft_mean, fast.ttft_p95] == pytest.approx([0.085, 0.12])
    assert fast.gap == pytest.approx(1 / 450)
    assert fast.first_token_after(0.3) * 10 == pytest.approx(
        PROFILES["gpt-4.1"].first_token_after(0.3)
    )


@pytest.mark.parametrize("speed", [0, -1, float("inf"), float("nan")])
def test_a_speed_is_a_positive_number(speed: float) -> None:
    with pytest.raises(ValueError, match="a speed is a number > 0"):
        Profile().faster(speed)


@pytest.mark.parametrize(("mean", "p95"), [(1, 0.5), (1, 3.9), (0, 1)])
def test_no_lognormal_has_these_figures(mean: float, p95: float) -> None:
    with pytest.raises(ValueError, match="must lie above the mean"):
        Profile(mean, p95)


def test_profiles_are_read_from_json() -> None:
    text = '{"sim/mine": {"ttft_mean": 0.5, "ttft_p95": 0.9, "output_tokens": [5, 10]}, "b": {}}'
    assert parse_profiles(text) == {"mine": Profile(0.5, 0.9, None, (5, 10)), "b": Profile()}


def test_every_mistake_in_profiles_is_reported() -> None:
    text = """{"a": {"ttft_mean": 1, "ttft_p95": 9}, "b": {"ttft_avg": 1}, "c": 1,
               "d": {"tokens_per_second": 0}, "e": {"output_tokens": [9, 5]}}"""
    with pytest.raises(ScriptError) as caught:
        parse_profiles(text)
    assert caught.value.problems == (
        "a: Profile.ttft_p95 must lie above the mean of 1 s and at most 3.87 times above it, "
        "not at 9 s",
        'b.ttft_avg: no such field; did you mean "ttft_mean"?',
        "c: must be an object",
        "d.tokens_per_second: must be a number > 0, or null, not 0",
        "e.output_tokens: must be two whole numbers >= 1, the smaller one first, not [9, 5]",
    )
    with pytest.raises(ScriptError, match="profiles are an object"):
        parse_profiles("[]")
