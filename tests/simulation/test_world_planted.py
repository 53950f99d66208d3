"""Three planted defects: the world finds each, and Hypothesis shrinks it to one request or two.

What would slip through here would slip through in the engine's own tests.
"""

import pytest
import trio
from hypothesis import Phase, settings

from streamnursery import StreamEvent
from streamnursery.pipeline.channel import Channel
from streamnursery.scheduler.admission.lease import Lease
from streamnursery.testing import World, simulate
from streamnursery.testing.load import Traffic
from streamnursery.testing.strategies import traffic


def smallest_failure() -> tuple[BaseException, Traffic]:
    """Look for traffic that fails; the error, and the traffic it was shrunk to."""
    tried: list[Traffic] = []

    @settings(max_examples=500, phases=[Phase.generate, Phase.shrink], database=None)
    @simulate(traffic=traffic(max_arrivals=4))
    async def search(world: World, traffic: Traffic) -> None:
        tried.append(traffic)
        await traffic.run(world)

    with pytest.raises((AssertionError, BaseExceptionGroup)) as caught:
        search()
    return caught.value, tried[-1]


def test_a_dropped_release_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lease, "release", lambda lease: None)
    error, shrunk = smallest_failure()
    assert "slots taken" in str(error)
    assert len(shrunk.arrivals) == 1
    assert shrunk.limit_changes == ()
    assert shrunk.plan.rules == ()


def test_a_batch_that_is_delivered_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    put = Channel.put

    def twice_when_full(
        channel: Channel[StreamEvent], events: list[StreamEvent], nbytes: int
    ) -> bool:
        return put(channel, events, nbytes) or put(channel, events, nbytes)

    monkeypatch.setattr(Channel, "put", twice_when_full)
    error, shrunk = smallest_failure()
    assert "doubled?" in str(error) or "after Finished" in str(error)
    assert len(shrunk.arrivals) == 1
    assert shrunk.plan.rules == ()


def test_a_swallowed_cancelled_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    receive = Channel.receive

    async def swallowing(channel: Channel[StreamEvent]) -> list[StreamEvent] | None:
        try:
            return await receive(channel)
        except trio.Cancelled:
            return None

    monkeypatch.setattr(Channel, "receive", swallowing)
    error, shrunk = smallest_failure()
    assert "reading ended without Finished and without an error" in str(error)
    (arrival,) = shrunk.arrivals
    assert arrival.cancelled_after is not None
    assert shrunk.plan.rules == ()
