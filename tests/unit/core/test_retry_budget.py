import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnursery.core.recovery.retry_budget import RetryBudget


def test_a_budget_starts_full() -> None:
    budget = RetryBudget(capacity=3)
    assert [budget.withdraw(0) for _ in range(4)] == [True, True, True, False]


def test_ten_requests_earn_one_retry() -> None:
    budget = RetryBudget(capacity=1, per_second=0)
    assert budget.withdraw(0)
    for _ in range(9):
        budget.deposit(0)
    assert not budget.withdraw(0)
    budget.deposit(0)
    assert budget.withdraw(0)


def test_a_refused_retry_costs_nothing() -> None:
    budget = RetryBudget(capacity=1.5, per_second=0)
    assert not budget.withdraw(0, cost=2)
    assert budget.level(0) == 1.5


def test_deposits_do_not_pass_the_capacity() -> None:
    budget = RetryBudget(capacity=1)
    for _ in range(100):
        budget.deposit(0)
    assert budget.level(0) == 1


def test_few_requests_still_earn_one_retry_a_second() -> None:
    budget = RetryBudget(capacity=5)
    for _ in range(5):
        budget.withdraw(0)
    assert budget.level(3) == pytest.approx(3)


def test_the_steady_second_is_no_addition_to_what_requests_earn() -> None:
    budget = RetryBudget(capacity=100)
    budget.withdraw(0, cost=100)
    for tick in range(60_000):
        budget.deposit(tick / 1000)
    assert budget.level(60) == pytest.approx(100)
    budget.withdraw(60, cost=100)
    for tick in range(100):
        budget.deposit(60 + tick / 1000)
    assert budget.level(60.1) == pytest.approx(10)


def test_a_busy_hour_is_not_held_against_a_quiet_one() -> None:
    budget = RetryBudget(capacity=100)
    budget.withdraw(0, cost=100)
    for _ in range(1000):
        budget.deposit(0)
    budget.withdraw(0, cost=100)
    assert budget.level(10) == pytest.approx(0)
    assert budget.level(15) == pytest.approx(5)


def test_a_retry_that_was_paid_and_not_sent_is_given_back() -> None:
    budget = RetryBudget(capacity=2, per_second=0)
    budget.withdraw(0, cost=2)
    budget.refund(0, cost=2)
    assert budget.level(0) == 2


def test_time_that_runs_backwards_earns_nothing() -> None:
    budget = RetryBudget(capacity=2)
    budget.withdraw(10, cost=2)
    assert budget.level(5) == 0
    assert budget.level(11) == 1


@pytest.mark.parametrize("wrong", [{"capacity": 0}, {"ratio": -0.1}, {"per_second": -1}])
def test_a_budget_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RetryBudget(**wrong)


@given(
    events=st.lists(
        st.tuples(st.sampled_from(["request", "retry", "timeout"]), st.floats(0, 3)), max_size=200
    ),
    capacity=st.floats(1, 20),
    ratio=st.floats(0, 1),
)
def test_retries_never_pass_what_requests_earned_and_the_bucket(
    events: list[tuple[str, float]], capacity: float, ratio: float
) -> None:
    budget = RetryBudget(capacity=capacity, ratio=ratio, per_second=1)
    now, requests, spent = 0.0, 0, 0.0
    for kind, pause in events:
        now += pause
        if kind == "request":
            requests += 1
            budget.deposit(now)
        else:
            cost = 2.0 if kind == "timeout" else 1.0
            spent += cost * budget.withdraw(now, cost)
        assert spent <= ratio * requests + capacity + now + 1e-6
        assert 0 <= budget.level(now) <= capacity


@given(st.lists(st.floats(0, 0.1), min_size=1, max_size=300))
def test_in_a_storm_attempts_stay_within_a_tenth_more_than_requests_and_the_bucket(
    gaps: list[float],
) -> None:
    budget = RetryBudget(capacity=5)
    now, attempts = 0.0, 0
    for requests, gap in enumerate(gaps, 1):
        now += gap
        budget.deposit(now)
        attempts += 1
        while budget.withdraw(now):
            attempts += 1
        assert attempts <= 1.1 * requests + 5 + 1e-6
