"""Rate limits as a provider keeps them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnursery.simulator import RateLimit
from streamnursery.simulator.limits import RateLimits, duration
from streamnursery.wire.openai_chat.server import ApiError

RPM = RateLimit(rpm=60)


def refused(limits: RateLimits, limit: RateLimit, now: float, tokens: int = 1) -> ApiError:
    with pytest.raises(ApiError) as caught:
        limits.admit(limit, "m", tokens, now)
    return caught.value


def test_a_full_bucket_lets_a_minute_worth_through_at_once() -> None:
    limits = RateLimits()
    for _ in range(60):
        limits.admit(RPM, "m", 1, 0)
    error = refused(limits, RPM, 0)
    assert error.status == 429
    assert dict(error.headers)["retry-after"] == "1"
    assert dict(error.headers)["retry-after-ms"] == "1000"
    assert error.error["code"] == "rate_limit_exceeded"


def test_whoever_comes_back_when_told_to_is_let_in() -> None:
    limits = RateLimits()
    limit = RateLimit(rpm=7)
    now = 0.0
    for _ in range(200):
        try:
            limits.admit(limit, "m", 1, now)
        except ApiError as error:
            now += int(dict(error.headers)["retry-after-ms"]) / 1000
            limits.admit(limit, "m", 1, now)


def test_a_refusal_takes_nothing_and_says_what_is_short() -> None:
    limits = RateLimits()
    limit = RateLimit(rpm=10, tpm=100)
    limits.admit(limit, "m", 90, 0)
    error = refused(limits, limit, 0, tokens=40)
    assert "tokens per min (TPM): Limit 100, Used 90, Requested 40" in str(error)
    assert "try again in 18s" in str(error)
    headers = dict(limits.admit(limit, "m", 10, 0))
    assert headers["x-ratelimit-remaining-requests"] == "8"
    assert headers["x-ratelimit-remaining-tokens"] == "0"
    assert headers["x-ratelimit-reset-tokens"] == "1m0s"


def test_models_and_different_limits_have_buckets_of_their_own() -> None:
    limits = RateLimits()
    limit = RateLimit(rpm=1)
    for model in ("a", "b"):
        limits.admit(limit, model, 1, 0)
    limits.admit(RateLimit(rpm=1, tpm=9), "a", 1, 0)
    limits.admit(RateLimit(rpm=1), "c", 1, 0)
    with pytest.raises(ApiError):
        limits.admit(limit, "a", 1, 0)


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(1, 30)), max_size=60))
def test_no_window_holds_more_than_a_bucket_and_its_refill(
    arrivals: list[tuple[float, int]],
) -> None:
    limits, limit = RateLimits(), RateLimit(tpm=60)
    now, admitted = 0.0, []
    for wait, tokens in arrivals:
        now += wait
        try:
            limits.admit(limit, "m", tokens, now)
        except ApiError:
            continue
        admitted.append((now, tokens))
    for start, (begin, _) in enumerate(admitted):
        for end in range(start, len(admitted)):
            taken = sum(tokens for _, tokens in admitted[start : end + 1])
            assert taken <= 60 + (admitted[end][0] - begin) + 1e-3


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0ms"), (0.012, "12ms"), (1, "1s"), (1.5, "1.5s"), (60, "1m0s"), (366.25, "6m6.25s")],
)
def test_durations_are_spelt_as_go_does(seconds: float, text: str) -> None:
    assert duration(seconds) == text
