"""A rate limit that names no date: now and then by chance, or in a storm."""

import pytest
import trio

from streamnursery import ChatRequest, RateLimitedError
from streamnursery.simulator import Plan, Profile, Rule, Status, When
from tests.support.scene import Scene, always, ask, scene, virtual

PROFILE = Profile(ttft_mean=0.5, ttft_p95=0.9, tokens_per_second=50, output_tokens=(20, 60))
ROWS, AT_ONCE = 800, 50


def chance(probability: float) -> Plan:
    return Plan((Rule((Status(429),), When(probability=probability)),))


async def seconds(s: Scene, at_once: int = AT_ONCE) -> float:
    began = trio.current_time()
    requests = [ChatRequest("m", f"Hi {number}") for number in range(ROWS)]
    outcomes = await s.engine.settle(requests, max_in_flight=at_once)
    assert all(outcome.ok for outcome in outcomes)
    return trio.current_time() - began


@pytest.mark.parametrize("model", [{}, {"max_streams": AT_ONCE}])
def test_four_refusals_in_a_hundred_leave_four_fifths_of_the_throughput(
    model: dict[str, int],
) -> None:
    took = {}

    @virtual
    async def check(probability: float) -> None:
        async with scene(chance(probability), profile=PROFILE, model=model) as s:
            took[probability] = await seconds(s)
            # No request more than the refusals make necessary.
            assert s.asked <= ROWS * (1 + 1.5 * probability)

    check(0.0)
    check(0.04)
    assert took[0.0] >= 0.8 * took[0.04]


@virtual
async def test_one_refusal_holds_up_its_own_request_alone() -> None:
    plan = Plan((Rule((Status(429),), When(requests=(1,))),))
    async with scene(plan, profile=PROFILE, model={"max_streams": 20}) as s:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, s.engine)
            await trio.sleep(0.001)
            for _ in range(10):
                nursery.start_soon(ask, s.engine)
            await trio.sleep(0.001)
            assert s.asked == 11
            (route,) = s.engine.snapshot().routes.values()
            assert route.paused_until is None


@virtual
async def test_nothing_but_refusals_closes_the_route_to_everybody() -> None:
    async with scene(always(Status(429)), model={"max_streams": 1000}) as s:
        errors = []

        async def one() -> None:
            errors.append((await ask(s.engine)).error)

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(one)
            await trio.sleep(0.001)
            (route,) = s.engine.snapshot().routes.values()
            assert route.paused_until is not None
            asked = s.asked
            for _ in range(200):  # they come while it is paused
                nursery.start_soon(one)
            await trio.sleep(0.001)
            assert s.asked == asked
        assert len(errors) == 210
        assert all(isinstance(error, RateLimitedError) for error in errors)
        assert s.asked <= 5 * 210
