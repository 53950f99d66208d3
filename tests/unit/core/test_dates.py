"""The earliest of many dates, however often they are moved."""

import heapq

from hypothesis import given
from hypothesis import strategies as st

from streamnursery.core.limits.dates import Dates


def test_an_empty_list_of_dates_has_no_earliest() -> None:
    assert Dates[str]().earliest() is None


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.none() | st.integers(0, 9))))
def test_the_earliest_is_the_smallest_of_what_was_set_last(
    changes: list[tuple[str, int | None]],
) -> None:
    dates: Dates[str] = Dates()
    model: dict[str, int] = {}
    for key, date in changes:
        if date is None:
            dates.drop(key)
            model.pop(key, None)
        else:
            dates.set(key, date)
            model[key] = date
        assert len(dates) == len(model)
        assert (key in dates) == (key in model)
        earliest = dates.earliest()
        if earliest is None:
            assert not model
        else:
            assert model[earliest[1]] == earliest[0] == min(model.values())


def test_moving_dates_leaves_no_heap_of_old_ones() -> None:
    dates: Dates[str] = Dates()
    for n in range(10_000):
        dates.set("a", n % 7)
        dates.set("b", n)
    assert len(dates._heap) <= 20
    assert heapq.nsmallest(1, dates._heap)
