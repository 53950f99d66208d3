"""Money comes in and goes out as decimal text, exactly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnursery.values.money import Money, dollars


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("100 USD", 100 * 10**9),
        ("5usd", 5 * 10**9),
        ("$0.42", 420_000_000),
        ("0.000000001", 1),
        (" 7 ", 7 * 10**9),
        ("1000000000", 10**18),
    ],
)
def test_dollars_are_read_to_the_nano(text: str, nanos: int) -> None:
    assert Money.parse(text) == nanos


@pytest.mark.parametrize(
    "text",
    ["", "five", "-1", "1e3", "1,000", "0.0000000001", "5 EUR", "inf", "1000000001", ".5", "٣"],
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        Money.parse(text)


def test_an_amount_prints_as_dollars_with_at_least_two_digits() -> None:
    assert str(Money(1_500_000_000)) == "1.50 USD"
    assert f"{Money(42):>20}" == "     0.000000042 USD"
    assert dollars(-42) == "-0.000000042"
    assert repr(Money(7)) == "Money(7)"


@given(nanos=st.integers(0, 10**18))
def test_what_is_printed_is_read_back(nanos: int) -> None:
    assert Money.parse(dollars(nanos)) == nanos
    assert Money.parse(str(Money(nanos))) == nanos
