"""A stream without a task of its reader: `begin` and `leave` do not wait."""

from collections.abc import Callable

import pytest
import trio

from streamnursery import EngineClosedError, RequestError
from streamnursery.pipeline.channel import BufferTotal, Channel
from streamnursery.pipeline.delivery import StreamOutcome
from streamnursery.scheduler.run.dispatcher import StreamBlock
from streamnursery.simulator import Plan, Rule, Status, When
from streamnursery.testing import World, cancel_at_every_step, wait_quiescent
from streamnursery.values.events import Finished, StreamEvent
from tests.support.scene import scene, virtual

POINTS = {"test": 60, "proof": None, "soak": None}
ONE_RETRY = Plan((Rule((Status(503),), When(requests=(1,))),))


def channel(max_items: int, max_bytes: int, total: BufferTotal) -> Channel[StreamEvent]:
    return Channel(max_items=max_items, max_bytes=max_bytes, total=total)


class Overs:
    """Counts the calls of `on_over`."""

    def __init__(self) -> None:
        self.count = 0
        self.event = trio.Event()

    def __call__(self) -> None:
        self.count += 1
        self.event.set()

    async def wait(self) -> None:
        with trio.CancelScope(shield=True):
            await self.event.wait()


def block_of(stream: object) -> StreamBlock:
    assert isinstance(stream, StreamBlock)
    return stream


async def left(world: World, scope: trio.CancelScope) -> None:
    """Queue, retry, read to the end; the reader may be cancelled anywhere."""
    async with world.open_engine(world.config(max_streams=1)) as eng:
        overs = [Overs(), Overs()]
        blocks = [block_of(eng.stream("gpt-4.1", "Hi", max_tokens=3)) for _ in overs]
        handle = eng._dispatcher.handle  # the world's, which remembers what was read
        begun = [b.begin(channel, over) for b, over in zip(blocks, overs, strict=True)]
        streams = [handle(delivery) for delivery in begun]
        with scope:
            for stream in streams:
                async for _ in stream:
                    pass
        for block in blocks:
            block.leave()
        for over in overs:
            await over.wait()
        await wait_quiescent(eng)
        assert [over.count for over in overs] == [1, 1]
        assert (await eng.complete("fast", "Again")).text == world.provider.log[-1].intended()


def test_leaving_at_any_step_leaves_nothing_and_is_over_once(tier: str) -> None:
    report = cancel_at_every_step(left, plan=ONE_RETRY, most=POINTS[tier])
    assert report.possible > 50


async def in_callback(call: Callable[[], None]) -> None:
    """Run `call` where another thread's calls run, and wait until it has been run."""
    done = trio.Event()

    def run() -> None:
        call()
        done.set()

    trio.lowlevel.current_trio_token().run_sync_soon(run)
    await done.wait()


@virtual
async def test_both_may_be_called_where_calls_of_other_threads_run() -> None:
    async with scene() as s:
        over = Overs()
        block = block_of(s.engine.stream("m", "Hi"))
        await in_callback(lambda: [block.begin(channel, over)].clear())
        await trio.sleep(1.3)
        await in_callback(block.leave)
        await over.wait()
        assert s.engine.statistics().streams == 0


@virtual
async def test_a_stream_that_nobody_leaves_is_over_when_its_task_is() -> None:
    async with scene() as s:
        over = Overs()
        block = block_of(s.engine.stream("m", "Hi"))
        delivery = block.begin(channel, over)
        await over.wait()
        assert delivery.outcome is StreamOutcome.COMPLETE
        events = await delivery.channel.receive()
        while events is not None and type(events[-1]) is not Finished:
            events = await delivery.channel.receive()
        assert events is not None
        block.leave()
        assert over.count == 1


@virtual
async def test_what_is_left_to_drain_is_over_when_it_has_been_drained() -> None:
    async with scene() as s:
        over = Overs()
        block = block_of(s.engine.stream("m", "Hi", on_abort="drain"))
        delivery = block.begin(channel, over)
        await trio.sleep(1.3)
        block.leave()
        assert delivery.draining
        assert over.count == 0
        await over.wait()
        assert trio.current_time() >= 1.9


@virtual
async def test_a_block_is_begun_once() -> None:
    async with scene() as s:
        over = Overs()
        block = block_of(s.engine.stream("m", "Hi"))
        block.begin(channel, over)
        with pytest.raises(RequestError, match="entered once"):
            block.begin(channel, over)
        block.leave()
        await over.wait()


@virtual
async def test_a_closed_engine_begins_nothing() -> None:
    async with scene() as s:
        over = Overs()
        block = block_of(s.engine.stream("m", "Hi"))
        await s.engine.drain()
        with pytest.raises(EngineClosedError):
            block.begin(channel, over)
        assert over.count == 0


@virtual
async def test_closing_the_engine_ends_what_was_begun() -> None:
    over = Overs()
    async with scene() as s:
        block = block_of(s.engine.stream("m", "Hi"))
        delivery = block.begin(channel, over)
        s.engine.cancel_all()
        await over.wait()
        assert delivery.outcome is StreamOutcome.CANCELLED
        block.leave()
