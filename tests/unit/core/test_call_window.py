from hypothesis import given
from hypothesis import strategies as st

from streamnursery.core.recovery.call_window import SLICES, CallCounts, CallWindow


def test_calls_of_the_last_seconds_are_counted() -> None:
    window = CallWindow(10)
    window.add(0.0, calls=1, failures=1)
    window.add(5.0, calls=1, slow=1)
    assert window.tally(9.9) == CallCounts(2, 1, 1)
    assert window.tally(10.0) == CallCounts(1, 0, 1)
    assert window.tally(15.0) == CallCounts()


def test_a_long_silence_forgets_everything() -> None:
    window = CallWindow(10)
    window.add(0, calls=7)
    assert window.tally(1e15) == CallCounts()


def test_a_cleared_window_is_empty() -> None:
    window = CallWindow(10)
    window.add(0, calls=7)
    window.clear()
    assert window.tally(0) == CallCounts()


@given(
    calls=st.lists(st.tuples(st.integers(0, 400), st.booleans(), st.booleans()), max_size=60),
    width=st.sampled_from([1, 2, 8]),
)
def test_the_window_remembers_what_a_list_of_all_calls_would(
    calls: list[tuple[int, bool, bool]], width: int
) -> None:
    window = CallWindow(float(width * SLICES))
    now, seen = 0, []
    for gap, failed, slow in calls:
        now += gap
        seen.append((now, failed, slow))
        window.add(float(now), calls=1, failures=failed, slow=slow)
        lately = [c for c in seen if c[0] // width > now // width - SLICES]
        assert window.tally(float(now)) == CallCounts(
            len(lately), sum(c[1] for c in lately), sum(c[2] for c in lately)
        )
