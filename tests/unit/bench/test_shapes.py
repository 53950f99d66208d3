import random
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnursery.bench.plan import pack_shape, unpack_shape
from streamnursery.bench.runners import shared
from streamnursery.bench.shapes import Concurrency, Constant, Poisson, Ramp, Replay, Shape, levels

rates = st.floats(0.01, 1e4)


def dates(shape: Constant | Poisson | Ramp | Replay, count: int, seed: int = 0) -> list[float]:
    return list(islice(shape.dates(random.Random(seed)), count))


def test_a_constant_rate_is_even() -> None:
    assert dates(Constant(4), 5) == [0, 0.25, 0.5, 0.75, 1.0]


def test_poisson_arrivals_come_at_their_rate_and_again_with_their_seed() -> None:
    found = dates(Poisson(10), 5000)
    assert found[-1] / 5000 == pytest.approx(0.1, rel=0.05)
    assert found == dates(Poisson(10), 5000)
    assert found != dates(Poisson(10), 5000, seed=1)


@given(first=rates, last=rates, seconds=st.floats(0.1, 100))
def test_a_ramp_never_goes_back_and_ends_at_its_last_rate(
    first: float, last: float, seconds: float
) -> None:
    ramp = Ramp(first, last, seconds)
    begun = (first + last) / 2 * seconds
    found = dates(ramp, min(300, int(begun) + 3))
    assert all(a <= b for a, b in pairwise(found))
    after = [at for at in found if at > seconds + 1 / last]
    gaps = [b - a for a, b in pairwise(after)]
    assert gaps == pytest.approx([1 / last] * len(gaps))


def test_a_ramp_has_begun_half_of_its_requests_late() -> None:
    found = dates(Ramp(1, 9, 10), 51)
    assert sum(at < 5 for at in found) == 15  # (1 + 5) / 2 * 5
    assert sum(at < 10 for at in found) == 50


@pytest.mark.parametrize("of", [1, 2, 3, 7])
@pytest.mark.parametrize("shape", [Constant(10), Poisson(3), Ramp(1, 5, 2), Concurrency(5)])
def test_shares_add_up(shape: Shape, of: int) -> None:
    parts = shape.share(of)
    assert len(parts) == of
    assert sum(part.level for part in parts if part is not None) == pytest.approx(shape.level)


@given(
    offsets=st.lists(st.floats(0, 100), min_size=1, max_size=30).map(sorted),
    of=st.integers(1, 8),
)
def test_the_shares_of_a_trace_are_the_trace(offsets: list[float], of: int) -> None:
    parts = Replay(tuple(offsets)).share(of)
    assert sorted(at for part in parts if part for at in part.offsets) == offsets


@pytest.mark.parametrize(
    "make",
    [
        lambda: Constant(0),
        lambda: Poisson(-1),
        lambda: Ramp(1, float("inf"), 1),
        lambda: Concurrency(0),
        lambda: Concurrency(True),
        lambda: Replay(()),
        lambda: Replay((2.0, 1.0)),
        lambda: Replay((float("nan"),)),
    ],
)
def test_a_load_of_nothing_is_refused(make: object) -> None:
    with pytest.raises(ValueError, match=r"must be|at least one|in order"):
        make()  # type: ignore[operator]


@pytest.mark.parametrize(
    "shape", [Constant(2), Poisson(3.5), Ramp(1, 2, 3), Replay((0.0, 1.5)), Concurrency(4)]
)
def test_a_shape_survives_its_way_to_a_worker(shape: Shape) -> None:
    assert unpack_shape(pack_shape(shape)) == shape


def test_levels_grow_evenly() -> None:
    assert levels(1, 64, 7) == pytest.approx((1, 2, 4, 8, 16, 32, 64))
    assert levels(5, 5, 9) == (5,)


@given(count=st.integers(0, 1000), among=st.integers(1, 64))
def test_requests_are_shared_to_the_last_one(count: int, among: int) -> None:
    parts = [part for part in shared(count, among) if part is not None]
    assert sum(parts) == count
    assert len(parts) == among
    assert max(parts) - min(parts) <= 1
    assert shared(None, among) == [None] * among
