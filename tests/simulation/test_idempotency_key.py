"""What a provider needs to see that two attempts are the same request."""

from streamnursery.simulator import Plan, Rule, Status, When
from streamnursery.testing import World

TWICE_BUSY = Plan((Rule((Status(503),), When(requests=(1, 2))),))


async def two_requests(world: World) -> None:
    async with world.open_engine() as eng:
        for prompt in ("Hello", "Bye"):
            await eng.complete("fast", prompt)


def test_all_attempts_of_a_request_at_a_route_have_one_key_and_no_other_request_has_it() -> None:
    world = World(5, plan=TWICE_BUSY)
    world.run(two_requests)
    first, second, third, other = (r.headers["idempotency-key"] for r in world.provider.log)
    assert first == second == third != other
