"""Retry vectors of other clients, where a rule of theirs is a rule of ours.

Where ours differs on purpose the test says so: A6 jitters by a fifth, we jitter the whole wait;
A6 allows five attempts at most, we those that were asked for; botocore gives a retry's price back
when it succeeds, we do not.
"""

import json
from math import inf, nextafter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnursery.core.recovery.backoff import SPREAD, ceiling, delay
from streamnursery.core.recovery.next_step import (
    Failure,
    GiveUp,
    Position,
    Step,
    TryAgain,
    next_step,
)
from streamnursery.core.recovery.retry_budget import RetryBudget
from streamnursery.core.routing.route_plan import PlannedRoute, Role, RoutePlan
from streamnursery.values.errors import RateLimitedError, ServerError
from streamnursery.values.http import HttpHead
from streamnursery.values.policy import Patience, Retries
from streamnursery.values.settings import Route
from streamnursery.wire.retry_after import retry_after

ALMOST_ONE = nextafter(1.0, 0.0)


def vectors(corpora: Path, name: str) -> Any:
    return json.loads((corpora / name).read_text())


def position(retries: Retries, attempts: int = 0) -> Position:
    stop = PlannedRoute(Route("e", "m"), "m", Role.PRIMARY, "e", retries, Patience())
    return Position(RoutePlan("m", (stop,)), attempts=attempts)


def after_429(retries: Retries, asked: float | None, failed: int, dice: float = 0.0) -> Step:
    """The step after the `failed`-th failed attempt."""
    error = RateLimitedError("", status=429, retry_after=asked)
    return next_step(
        Failure.of(error, committed=False),
        position(retries, failed - 1),
        now=0,
        deadline=inf,
        dice=dice,
        budget_left={"e": 100},
    )


def check_openai(vector: dict[str, Any], now: float) -> None:
    retries = Retries(attempts=10**6, base=0.5, cap=8, retry_after_cap=120)
    head = HttpHead(429, (("retry-after", vector["retry_after"]),))
    asked = retry_after(head, now=now)
    failed = 4 - vector["remaining_of_3"]
    least = after_429(retries, asked, failed, dice=0.0)
    most = after_429(retries, asked, failed, dice=ALMOST_ONE)
    if asked is not None and asked > 120:
        assert isinstance(least, GiveUp)  # "beyond": "not retried at all"
        return
    assert isinstance(least, TryAgain)
    assert isinstance(most, TryAgain)
    if asked:
        assert least.after == asked == vector["delay"]
        assert most.after <= asked + max(SPREAD, ceiling(retries, failed))
    else:
        assert least.after == 0
        assert most.after == pytest.approx(vector["delay"])


def test_h1_retry_after_is_honoured_as_openai_python_honours_it(corpora: Path) -> None:
    file = vectors(corpora, "retry_after.json")
    cases = [v for sdk in file["policies_of_others"] for v in sdk.get("vectors", ())]
    for vector in cases:
        check_openai(vector, now=float(file["now_unix"]))
    assert len(cases) == 23


def test_t20_every_known_header_leads_to_a_bounded_wait_or_none(corpora: Path) -> None:
    file = vectors(corpora, "retry_after.json")
    retries = Retries()
    for case in file["cases"]:
        head = HttpHead(429, tuple(case["headers"].items()))
        asked = retry_after(head, now=float(file["now_unix"]))
        step = after_429(retries, asked, failed=1, dice=ALMOST_ONE)
        if case["asked_seconds"] is not None and case["asked_seconds"] > 120:
            assert isinstance(step, GiveUp), case
        else:
            assert isinstance(step, TryAgain), case
            floor = case["asked_seconds"] or 0
            assert floor <= step.after <= floor + SPREAD, case


def test_our_backoff_is_botocores(corpora: Path) -> None:
    file = vectors(corpora, "aws_retry_vectors.json")
    policy = Retries(base=0.05, cap=20)
    table = file["backoff_with_random_1"]
    got = [ceiling(policy, attempt) for attempt in table["attempts"]]
    assert got == pytest.approx(table["delays"])
    low, high = file["jitter"]["range"]
    assert delay(policy, file["jitter"]["attempt"], 0) == low
    assert delay(policy, file["jitter"]["attempt"], ALMOST_ONE) == pytest.approx(high)
    low, high = file["jitter"]["attempt_10_uniform_over"]
    for dice in (0.0, 0.25, 0.5, 0.75):
        assert delay(policy, 10, dice) == low + dice * (high - low)


def aws_budget(start: float) -> RetryBudget:
    budget = RetryBudget(capacity=500, ratio=1, per_second=0)
    assert budget.withdraw(0, 500 - start)
    return budget


def test_our_bucket_counts_as_botocores_quota(corpora: Path) -> None:
    ordinary, throttled = 14, 5
    for vector in vectors(corpora, "aws_retry_vectors.json")["quota"]:
        budget = aws_budget(vector["start"])
        match vector["event"]:
            case "retry after throttling error":
                assert budget.withdraw(0, throttled)
            case "retry after any other error (incl. timeout)" | "retry, then final failure":
                assert budget.withdraw(0, ordinary)
            case "retry, then success":
                assert budget.withdraw(0, ordinary)
                budget.refund(0, ordinary)
            case "plain success":
                budget.deposit(0)
            case "failed request that was not retried":
                pass
            case "two retries wanted":
                assert [budget.withdraw(0, ordinary) for _ in range(2)] == vector["granted"]
                continue
            case other:
                pytest.fail(f"an event nobody knows: {other}")
        assert budget.level(0) == vector["available"]


def test_a_sequence_of_failures_goes_as_botocores_does(corpora: Path) -> None:
    policy = Retries(attempts=4, base=0.025, cap=20)
    budget, at = aws_budget(500), position(policy)
    for vector in vectors(corpora, "aws_retry_vectors.json")["dynamodb_sequence"]:
        failure = Failure.of(ServerError("", status=500), committed=False)
        left = {"e": budget.level(0)}
        step = next_step(failure, at, now=0, deadline=inf, dice=ALMOST_ONE, budget_left=left)
        assert isinstance(step, TryAgain) is vector.get("retried", True)
        if isinstance(step, TryAgain):
            assert step.after == pytest.approx(vector["delay"])
            assert budget.withdraw(0, 14 * step.cost)
            at = step.position
        assert budget.level(0) == vector["quota"]


@given(
    initial=st.floats(0.01, 10),
    most=st.floats(0.01, 100),
    attempt=st.integers(1, 50),
)
def test_our_backoff_without_its_jitter_is_that_of_grpc_a6(
    initial: float, most: float, attempt: int
) -> None:
    policy = Retries(base=initial, cap=most)
    assert ceiling(policy, attempt) == min(initial * 2.0 ** (attempt - 1), most)


def test_attempts_are_counted_as_in_grpc_a6(corpora: Path) -> None:
    for rule in vectors(corpora, "grpc_retry_rules.json")["max_attempts"]:
        given_attempts = rule["given"]
        sent = 1
        while isinstance(after_429(Retries(attempts=given_attempts), None, sent), TryAgain):
            sent += 1
        assert sent == given_attempts  # 1 is valid here and means no retry; 9 means 9
        assert sent == rule.get("effective", sent) or given_attempts > Retries().attempts
    assert Retries().attempts == 5


def test_we_are_never_laxer_than_grpcs_throttle_when_all_goes_wrong(corpora: Path) -> None:
    example = vectors(corpora, "grpc_retry_rules.json")["throttle_example"]
    # A6 stops at half of its tokens; a bucket of that half has nothing left there.
    budget = RetryBudget(
        capacity=example["maxTokens"] / 2, ratio=example["tokenRatio"], per_second=0
    )
    for step in example["steps"]:
        count, _, what = step["event"].partition(" ")
        for _ in range(int(count) if count.isdigit() else 0):
            if what.startswith("success"):
                budget.deposit(0)
            else:
                budget.withdraw(0)
        may_retry = budget.level(0) >= 1
        assert step["may_retry"] or not may_retry


def test_a_servers_pushback_is_read_as_in_grpc_a6(corpora: Path) -> None:
    for rule in vectors(corpora, "grpc_retry_rules.json")["pushback_ms"]:
        head = HttpHead(429, (("retry-after-ms", rule["value"]),))
        asked = retry_after(head, now=0)
        step = after_429(Retries(), asked, failed=1)
        if rule["retry"]:
            assert isinstance(step, TryAgain)
            assert step.after == rule["delay"]
        else:
            # Nothing readable leaves our own backoff: HTTP forbids retries by x-should-retry.
            assert asked is None or isinstance(step, GiveUp)
