"""The provider's clocks stand still while the consumer is slow, and run again when it is not."""

import pytest
import trio

from streamnursery import Patience
from streamnursery.errors import IdleTimeoutError
from streamnursery.simulator import Plan, Stall
from streamnursery.testing import World

IDLE = 5.0
PAUSE = 60.0
SLOW = 4
"""Events that the consumer takes its time for."""


async def read_slowly_then_fast(world: World) -> tuple[int, float]:
    """How many events came, and when the stalled provider was given up."""
    count = 0
    async with world.open_engine() as eng:
        patience = Patience(idle=IDLE, total=None)
        stream = eng.stream("fast", "Hello", buffer_events=2, patience=patience, max_tokens=100)
        with pytest.raises(IdleTimeoutError):
            async with stream as events:
                async for _ in events:
                    count += 1
                    if count <= SLOW:
                        await trio.sleep(PAUSE)
    return count, trio.current_time()


def test_a_provider_that_stalls_after_the_consumer_was_slow_is_noticed() -> None:
    count, ended_at = World(3, plan=Plan.always(Stall(20, None))).run(read_slowly_then_fast)
    assert count == 20
    assert SLOW * PAUSE < ended_at < SLOW * PAUSE + 2 * IDLE
