"""The engine for asyncio: one stream."""

import asyncio
import threading
from typing import Any

import pytest
import trio

import streamnursery.aio as sn
from streamnursery.errors import DeadlineError
from streamnursery.simulator import Cut, Profile, Stall
from streamnursery.values.events import Finished, StreamEvent
from tests.support.bridged import aio_scene, in_engine, later, run, standing
from tests.support.guard import GUARD
from tests.support.scene import AT_ONCE, always

SOON: dict[str, Any] = {"timeout": 5}
IN_TIME: dict[str, Any] = {"timeout": 30}
"""Seconds of the engine's virtual clock."""
LONG = Profile(output_tokens=(5000, 5000))
PACED_LONG = Profile(ttft_mean=1.0, ttft_p95=1.0, tokens_per_second=10, output_tokens=(500, 500))


def test_a_stream_gives_its_events_and_ends() -> None:
    async def main() -> None:
        async with aio_scene() as (eng, hosted):
            async with eng.stream("m", "Hi") as stream:
                events = [event async for event in stream]
                again = [event async for event in stream]
            assert (type(events[-1]), again) == (Finished, [])
            text = "".join(e.text for e in events if isinstance(e, sn.TextDelta))
            assert text == hosted.scene.provider.log[0].intended()
            assert (await eng.statistics()).total.succeeded == 1

    run(main)


def test_text_receive_and_completion_read_the_same() -> None:
    async def main() -> None:
        async with aio_scene() as (eng, hosted):
            async with eng.stream("m", "Hi") as stream:
                text = "".join([piece async for piece in stream.text()])
            async with eng.stream("m", "Hi") as stream:
                batches: list[list[StreamEvent]] = []
                with pytest.raises(trio.EndOfChannel):
                    while True:
                        batches.append(await stream.receive())
            async with eng.stream("m", "Hi") as stream:
                await anext(stream)
                completion = await stream.completion()
            whole = await eng.complete("m", "Hi")
            log = [record.intended() for record in hosted.scene.provider.log]
            read = "".join(e.text for b in batches for e in b if isinstance(e, sn.TextDelta))
            assert [text, read, completion.text, whole.text] == log
            assert completion.timings.ended_at is not None
            assert completion.route == "main/m"

    run(main)


def test_an_error_comes_behind_the_events_before_it_and_every_read_raises_it() -> None:
    async def main() -> None:
        async with aio_scene(always(Cut(3)), model={}) as (eng, _):
            async with eng.stream("m", "Hi", on_interrupt="fail") as stream:
                seen: list[StreamEvent] = []
                with pytest.raises(sn.ConnectionLostError) as first:
                    while True:
                        seen.append(await anext(stream))
                with pytest.raises(sn.ConnectionLostError) as second:
                    await stream.receive()
            assert first.value is second.value
            assert first.value.partial is not None
            assert first.value.partial.text == "".join(
                e.text for e in seen if isinstance(e, sn.TextDelta)
            )
            assert stream.error is first.value

    run(main)


def test_a_request_that_cannot_be_used_is_refused_on_entering() -> None:
    async def main() -> None:
        async with aio_scene() as (eng, _):
            for model, fields in (("", {}), ("m", {"nonsense": 1}), ("m", {"timeout": "x"})):
                with pytest.raises(sn.RequestError):
                    async with eng.stream(model, "Hi", **fields):
                        pytest.fail("entered")
                with pytest.raises(sn.RequestError):
                    await eng.complete(model, "Hi", **fields)
            assert (await eng.statistics()).streams == 0

    run(main)


def test_an_exception_of_ours_in_the_engines_thread_fails_its_call_alone() -> None:
    """Out of a call of another thread it would end the engine's run, and every stream."""

    async def main() -> None:
        async with aio_scene() as (eng, _):
            async with eng.stream("m", "Hi") as stream:
                with pytest.raises(TypeError):
                    await eng._bridge.ask(lambda engine: engine.plan())  # type: ignore[call-arg]
                with pytest.raises(ZeroDivisionError):
                    await eng._bridge.ask(lambda _: 1 // 0)
                assert (await stream.completion()).text

    run(main)


def test_what_is_asked_of_a_running_stream_is_answered() -> None:
    async def main() -> None:
        async with aio_scene(always(Stall(2)), profile=AT_ONCE, clock=standing()) as (eng, _):
            async with eng.stream("m", "Hi") as stream:
                first = await anext(stream)
                assert isinstance(first, sn.TextDelta)
                assert stream.partial.text.startswith(first.text)
                assert stream.waiting_for()
                assert (stream.route, stream.number, stream.error) == ("main/m", 1, None)
                assert stream.timings.first_token_at is not None
                assert stream.statistics().attempts == 0
                assert stream.request.model == "m"
                assert "running" in repr(stream)
                stream.cancel()
                with pytest.raises(sn.StreamCancelledError):
                    async for _ in stream:
                        pass
            assert "cancelled" in repr(stream)

    run(main)


def test_a_slow_reader_holds_back_its_own_stream_and_loses_nothing() -> None:
    async def main() -> None:
        async with aio_scene(profile=LONG) as (eng, hosted):
            async with eng.stream("m", "Hi", buffer_events=16) as slow:
                await anext(slow)
                quick = await eng.complete("m", "Hi")  # goes on beside it
                await in_engine(eng, 3600)
                buffer = slow.statistics().buffer
                assert buffer.sender_waiting
                assert buffer.peak_items < 5000
                text = [e.text for e in [await anext(slow)] if isinstance(e, sn.TextDelta)]
                whole = await slow.completion()
            assert text
            assert {whole.text, quick.text} == {r.intended() for r in hosted.scene.provider.log}
            assert (await eng.statistics()).buffered_bytes == 0

    run(main)


def test_a_host_that_blocks_its_loop_blames_nothing_on_the_provider() -> None:
    """For 1,000 of the engine's seconds, with an idle patience of two."""

    async def main() -> None:
        patience = sn.Patience(idle=2)
        async with aio_scene() as (eng, hosted):
            async with eng.stream("m", "Hi", patience=patience, buffer_events=4) as stream:
                await anext(stream)
                passed = threading.Event()

                await eng._bridge.ask(lambda engine: engine._nursery.start_soon(later, passed))
                passed.wait(GUARD)  # the loop stands still
                completion = await stream.completion()
            assert completion.text == hosted.scene.provider.log[0].intended()
            assert len(completion.attempts) == 1

    run(main)


@pytest.mark.parametrize("when_behind", ["drop_oldest", "coalesce"])
def test_a_policy_for_those_who_are_behind_holds_across_threads(when_behind: Any) -> None:
    async def main() -> None:
        async with aio_scene(profile=PACED_LONG) as (eng, hosted):
            options = {"buffer_events": 64, "when_behind": when_behind}
            async with eng.stream("m", "Hi", **options) as stream:
                await anext(stream)
                await in_engine(eng, 3600)
                buffer = stream.statistics().buffer
                events = [event async for event in stream]
                assert type(events[-1]) is Finished
                assert len(events) < 300
                assert buffer.dropped_items or buffer.coalesced_items
                if when_behind == "coalesce":
                    assert len(stream.partial.text) == len(hosted.scene.provider.log[0].intended())

    run(main)


def test_a_deadline_is_on_the_loops_clock_and_a_timeout_counts_from_now() -> None:
    async def main() -> None:
        async with aio_scene(always(Stall(0))) as (eng, _):
            loop = asyncio.get_running_loop()
            for options in ({"deadline": loop.time() + 5}, SOON):
                with pytest.raises(DeadlineError):
                    await eng.complete("m", "Hi", **options)
            async with eng.stream("m", "Hi", **SOON) as stream:
                with pytest.raises(DeadlineError):
                    await anext(stream)

    run(main)


def test_a_deadline_counts_to_the_last_event_put_and_not_to_a_slow_reader() -> None:
    async def main() -> None:
        async with aio_scene() as (eng, _):
            async with eng.stream("m", "Hi", **IN_TIME) as stream:
                await in_engine(eng, 3600)
                assert (await stream.completion()).text

    run(main)


def test_a_stream_can_be_shared_by_tasks() -> None:
    async def main() -> None:
        async with aio_scene() as (eng, _):
            async with eng.stream("m", "Hi") as stream:
                shared = stream.broadcast()

                async def read(reader: Any) -> list[StreamEvent]:
                    return [event async for event in reader]

                with shared.reader() as one, shared.reader() as two:
                    first, second = await asyncio.gather(read(one), read(two))
            assert first == second
            assert type(first[-1]) is Finished

    run(main)
