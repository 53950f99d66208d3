"""What becomes of an attempt whose reader has left: cancelled at once, or read on to a bound."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from streamnursery import StreamCancelledError
from streamnursery.simulator import Cut, Profile, Stall
from streamnursery.testing import World, cancel_at_every_step, wait_quiescent
from streamnursery.testing.quiescence import remains
from streamnursery.values.errors import AttemptState
from streamnursery.values.lifecycle import AttemptEnded
from streamnursery.values.policy import OnAbort
from tests.support.scene import always, once, scene, virtual

POINTS = {"test": 15, "proof": 50, "soak": None}


@pytest.mark.parametrize("how", ["cancel", "drain"])
def test_leaving_ends_the_attempt_or_reads_it_on(how: OnAbort) -> None:
    @virtual
    async def check() -> None:
        records: list[object] = []
        async with scene(observers=[records.append]) as s:
            async with s.engine.stream("m", "hello", on_abort=how) as stream:
                await stream.receive()
            left_at = trio.current_time()
            assert left_at == pytest.approx(1.0, abs=0.01)
            assert isinstance(stream.error, StreamCancelledError)
            held = remains(s.engine)
            assert bool(held) == (how == "drain"), held
            await trio.sleep(2)
            (over,) = [r.record for r in records if isinstance(r, AttemptEnded)]
            assert s.provider.log[0].aborted == (how == "cancel")
            total = s.engine.statistics().total
            assert (total.cancelled, total.succeeded) == (1, 0)
            if how == "drain":
                assert over.state is AttemptState.DONE
                assert over.usage is not None
                assert (over.usage.output_tokens, over.usage.estimated) == (10, False)
                assert total.output_tokens == 10
            else:
                assert over.usage is not None
                assert over.usage.estimated
                assert total.output_tokens == 1

    check()


@virtual
async def test_a_drain_before_the_first_token_waits_for_the_answer() -> None:
    async with scene() as s:
        async with s.engine.stream("m", "hello", on_abort="drain"):
            await trio.sleep(0.5)
        assert s.engine.statistics().active == 1
        await trio.sleep(3)
        assert not s.provider.log[0].aborted
        assert s.engine.statistics().total.output_tokens == 10


@virtual
async def test_in_the_queue_there_is_nothing_to_drain() -> None:
    async with scene(model={"max_streams": 1, "on_abort": "drain"}) as s:
        async with s.engine.stream("m", "one") as first:
            await trio.sleep(0.1)  # who of two comes first in one instant is nobody's business
            async with s.engine.stream("m", "two"):
                await trio.sleep(0.1)
            assert s.engine.statistics().streams == 1
            await first.completion()
        assert s.asked == 1


@virtual
async def test_a_drain_is_bounded_in_time() -> None:
    async with scene(always(Stall(at=3, seconds=None)), engine={"max_drain_seconds": 5}) as s:
        async with s.engine.stream("m", "hello", on_abort="drain") as stream:
            await stream.receive()
        began = trio.current_time()
        await wait_quiescent(s.engine, within=20)
        assert trio.current_time() - began <= 5 + 2
        assert s.provider.log[0].aborted


@virtual
async def test_a_drain_is_bounded_in_bytes() -> None:
    long = Profile(tokens_per_second=1000, output_tokens=(5000, 5000))
    async with scene(profile=long, engine={"max_drain_bytes": 2000}) as s:
        async with s.engine.stream("m", "hello", on_abort="drain") as stream:
            await stream.receive()
        await trio.sleep(1)
        assert s.engine.statistics().active == 0
        assert s.provider.log[0].aborted


@virtual
async def test_a_provider_that_was_held_back_is_let_go_to_be_drained() -> None:
    many = Profile(output_tokens=(3000, 3000))
    async with scene(profile=many) as s:
        async with s.engine.stream("m", "hello", on_abort="drain", buffer_events=1) as stream:
            await stream.receive()
            await trio.sleep(1)
            assert stream.statistics().buffer.sender_waiting
        await trio.sleep(1)
        assert s.engine.statistics().active == 0
        assert s.engine.statistics().total.output_tokens == 3000


@virtual
async def test_an_answer_that_breaks_while_it_is_drained_is_not_asked_for_again() -> None:
    async with scene(once(Cut(4))) as s:
        async with s.engine.stream(
            "m", "hello", on_abort="drain", on_interrupt="restart"
        ) as stream:
            await stream.receive()
        await trio.sleep(5)
        assert s.asked == 1


@virtual
async def test_cancel_means_cancel() -> None:
    async with scene(model={"on_abort": "drain"}) as s:
        async with s.engine.stream("m", "hello") as stream:
            await stream.receive()
            stream.cancel()
        assert s.engine.statistics().streams == 0
        await wait_all_tasks_blocked()
        assert s.provider.log[0].aborted


@virtual
async def test_drain_of_the_engine_waits_for_it_and_cancel_all_ends_it() -> None:
    for end in ("drain", "cancel_all"):
        async with scene(defaults={"on_abort": "drain"}) as s:
            async with s.engine.stream("m", "hello") as stream:
                await stream.receive()
            if end == "drain":
                report = await s.engine.drain()
                assert report.finished
                assert not s.provider.log[0].aborted
            else:
                s.engine.cancel_all()
                await wait_quiescent(s.engine)
                await wait_all_tasks_blocked()  # the provider sees it when its task runs
                assert s.provider.log[0].aborted


def test_a_drained_stream_is_cancelled_at_any_step_and_leaves_nothing(tier: str) -> None:
    async def scenario(world: World, scope: trio.CancelScope) -> None:
        async with world.open_engine() as eng:
            with scope:
                async with eng.stream("gpt-4.1", "x", max_tokens=4, on_abort="drain") as stream:
                    await stream.receive()
                await wait_quiescent(eng, within=20)
            await wait_quiescent(eng, within=20)

    cancel_at_every_step(scenario, most=POINTS[tier])
