"""The engine for asyncio: streams, answers, many requests, and the verbs."""

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio

import streamnursery.aio as sn
from streamnursery import records
from streamnursery.errors import DeadlineError
from streamnursery.simulator import Cut, Profile, Stall, Status
from streamnursery.values.events import Finished, StreamEvent
from streamnursery.values.lifecycle import LifecycleRecord, StreamEnded
from tests.support.bridged import aio_scene, at_rest, in_engine, later, run, standing
from tests.support.guard import GUARD
from tests.support.scene import AT_ONCE, always, once

SOON: dict[str, Any] = {"timeout": 5}
IN_TIME: dict[str, Any] = {"timeout": 30}
"""Seconds of the engine's virtual clock."""
LONG = Profile(output_tokens=(5000, 5000))
PACED_LONG = Profile(ttft_mean=1.0, ttft_p95=1.0, tokens_per_second=10, output_tokens=(500, 500))


async def for_ever() -> None:
    await asyncio.get_running_loop().create_future()


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


async def requests(count: int) -> AsyncIterator[sn.ChatRequest]:
    for number in range(count):
        yield sn.ChatRequest("m", f"Question {number}")


@pytest.mark.parametrize("source", [list, iter, None], ids=["list", "iterator", "async"])
def test_many_requests_are_settled_in_order(source: Callable[[Any], Any] | None) -> None:
    async def main() -> None:
        plan = once(Status(400), requests=(3,))
        async with aio_scene(plan, model={"max_streams": 4}) as (eng, hosted):
            wanted = [request async for request in requests(12)]
            given = requests(12) if source is None else source(wanted)
            outcomes = await eng.settle(given, max_in_flight=5)
            assert [o.index for o in outcomes] == list(range(12))
            assert [o.request for o in outcomes] == wanted
            assert sum(o.ok for o in outcomes) == 11
            assert hosted.scene.asked == 12

    run(main)


def test_outcomes_come_as_they_finish_and_the_source_is_pulled_on_demand() -> None:
    async def main() -> None:
        pulled = 0

        def source() -> Any:
            nonlocal pulled
            for number in range(50):
                pulled += 1
                yield sn.ChatRequest("m", f"Question {number}")

        async with aio_scene() as (eng, _):
            async with eng.as_completed(source(), max_in_flight=3) as outcomes:
                handed = 0
                async for outcome in outcomes:
                    assert outcome.ok
                    handed += 1
                    assert pulled <= handed + 3
                    if handed == 10:
                        break
            await at_rest(eng)

    run(main)


def test_the_events_of_many_streams_are_read_together() -> None:
    async def main() -> None:
        async with aio_scene(once(Status(400), requests=(2,))) as (eng, hosted):
            async with eng.merge(requests(5), max_in_flight=3) as merged:
                ends: dict[int, object] = {}
                texts: dict[int, str] = {}
                async for index, event in merged:
                    assert index not in ends
                    if isinstance(event, sn.TextDelta):
                        texts[index] = texts.get(index, "") + event.text
                    if isinstance(event, sn.Finished | sn.Failed):
                        ends[index] = type(event)
            assert sorted(ends) == [0, 1, 2, 3, 4]
            assert list(ends.values()).count(sn.Failed) == 1
            said = {r.intended() for r in hosted.scene.provider.log if r.status == 200}
            assert set(texts.values()) == said

    run(main)


def test_an_error_of_the_source_leaves_the_block_and_ends_the_rest() -> None:
    async def main() -> None:
        async def source() -> AsyncIterator[sn.ChatRequest]:
            yield sn.ChatRequest("m", "Hi")
            raise LookupError("no more")

        async with aio_scene(always(Stall(1))) as (eng, _):
            with pytest.raises(LookupError, match="no more"):
                await eng.settle(source())
            await at_rest(eng)
            with pytest.raises(sn.RequestError, match="iterable of ChatRequest"):
                await eng.settle(5)  # type: ignore[arg-type]
            with pytest.raises(sn.RequestError, match="1 or more"):
                await eng.settle([], max_in_flight=0)
            outcomes = await eng.settle(["text"])  # type: ignore[list-item]
            assert isinstance(outcomes[0].error, sn.RequestError)

    run(main)


def test_own_calls_run_on_the_loop_under_the_limits() -> None:
    async def main() -> None:
        async with aio_scene(model={"max_streams": 2}) as (eng, _):
            here, running, most = threading.get_ident(), 0, 0

            async def call(number: int) -> int:
                nonlocal running, most
                assert threading.get_ident() == here
                running += 1
                most = max(most, running)
                await eng.statistics()
                running -= 1
                return number

            results = await asyncio.gather(*(eng.run("m", call, n) for n in range(10)))
            assert (results, most) == (list(range(10)), 2)
            async with eng.lease("m") as lease:
                lease.report(input_tokens=7, output_tokens=2)
                assert (await eng.statistics()).models["m"].active == 1
            model = (await eng.statistics()).models["m"]
            assert (model.active, model.input_tokens, model.succeeded) == (0, 7, 11)
            with pytest.raises(LookupError):
                async with eng.lease("m"):
                    raise LookupError
            assert (await eng.statistics()).models["m"].failed == 1

    run(main)


def test_a_lease_that_cannot_be_had_says_so_and_a_cancelled_wait_leaves_the_queue() -> None:
    async def main() -> None:
        async with aio_scene(model={"max_streams": 1}) as (eng, _):
            async with eng.lease("m"):
                with pytest.raises(sn.AdmissionError):
                    async with eng.lease("m", **SOON):
                        pytest.fail("entered")
                waiting = asyncio.create_task(eng.run("m", for_ever))
                while not (await eng.statistics()).queued:
                    pass
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                assert (await eng.statistics()).queued == 0

    run(main)


def test_cancel_all_ends_streams_and_interrupts_calls() -> None:
    async def main() -> None:
        async with aio_scene(always(Stall(1)), profile=AT_ONCE, clock=standing()) as (eng, _):
            inside = asyncio.Event()

            async def call() -> None:
                inside.set()
                await for_ever()

            running = asyncio.create_task(eng.run("m", call))
            await inside.wait()
            async with eng.stream("m", "Hi") as stream:
                await anext(stream)
                assert await eng.cancel_all() == 2
                with pytest.raises(sn.StreamCancelledError):
                    await stream.completion()
            with pytest.raises(sn.StreamCancelledError):
                await running
            assert (await eng.statistics()).active == 0

    run(main)


def test_records_are_heard_from_entering_on_and_a_full_channel_counts() -> None:
    async def main() -> None:
        async with aio_scene() as (eng, _):
            with eng.events() as all_records, eng.events(max_records=1) as few:
                await eng.complete("m", "Hi")
                heard: list[LifecycleRecord] = []
                async for record in all_records:
                    heard.append(record)
                    if isinstance(record, StreamEnded):
                        break
                assert few.dropped == len(heard) - 1
                assert type(await anext(few)) is StreamEnded
            assert [r async for r in few] == []
            with pytest.raises(sn.RequestError):
                eng.events(max_records=0)

    run(main)


def test_limits_can_be_looked_at_and_changed() -> None:
    async def main() -> None:
        async with aio_scene() as (eng, _):
            await eng.set_limits(model="m", max_streams=0)
            await eng.set_rates(model="m", rpm=100)
            assert "m" in str(await eng.explain("m", "Hi"))
            assert (await eng.snapshot()).streams == ()
            assert (await eng.plan("m", "Hi")).stops
            assert (await eng.usage_report()) is not None
            assert (await eng.choose(sn.TaskProfile("Hi"))).model == "m"
            assert (await eng.reload(eng.config)).changed == ()
            report = await eng.drain()
            assert report.finished
            with pytest.raises(sn.EngineClosedError):
                await eng.complete("m", "Hi")

    run(main)


def test_the_callers_context_reaches_the_engines_observers() -> None:
    who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")
    seen: set[tuple[str, str]] = set()

    def observe(record: LifecycleRecord) -> None:
        seen.add((who.get(), threading.current_thread().name))

    async def main() -> None:
        async with aio_scene(observers=[observe]) as (eng, _):
            who.set("me")
            await eng.complete("m", "Hi")

    run(main)
    assert ("me", "streamnursery") in seen


def test_an_observer_may_be_called_on_the_loop() -> None:
    seen: list[LifecycleRecord] = []
    threads: set[int] = set()
    failed: list[str] = []

    def observe(record: LifecycleRecord) -> None:
        threads.add(threading.get_ident())
        seen.append(record)

    def fail(record: LifecycleRecord) -> None:
        failed.append(type(record).__name__)
        raise ValueError("an observer that fails")

    async def main() -> None:
        observers = [observe, fail]
        async with sn.open_engine(observers=observers, on_loop=True) as eng:
            await eng.complete("sim/fast", "Hi")
            await eng.complete("sim/fast", "Hi")

    run(main)
    assert threads == {threading.get_ident()}
    assert sum(isinstance(record, StreamEnded) for record in seen) == 2
    assert len(failed) == 1
    assert any(isinstance(record, records.ObserverFailed) for record in seen)


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


def test_it_works_under_trio_too_and_a_cancel_scope_ends_a_stream() -> None:
    async def main() -> None:
        async with sn.open_engine() as eng:
            async with eng.stream("sim/fast", "Hi") as stream:
                assert [event async for event in stream]
            chosen = [sn.ChatRequest("sim/fast", f"Question {n}") for n in range(3)]
            async with eng.as_completed(chosen) as outcomes:
                assert [o.ok async for o in outcomes] == [True] * 3
            await eng.run("own", trio.lowlevel.checkpoint)
            with trio.CancelScope() as scope:
                async with eng.stream("sim/gemini-2.5-flash", "Hi") as stream:
                    scope.cancel()
                    await anext(stream)
            assert scope.cancelled_caught
            statistics = await eng.statistics()
            assert (statistics.streams, statistics.active) == (0, 0)

    trio.run(main)


def test_a_trio_scopes_deadline_crosses_as_a_value() -> None:
    async def main() -> None:
        async with sn.open_engine() as eng:
            with trio.CancelScope(deadline=trio.current_time() + 1000):
                async with eng.stream("sim/gemini-2.5-flash", "Hi") as stream:
                    left = await eng._bridge.ask(lambda _: stream._delivery.deadline)
                    assert left < 1e9

    trio.run(main)


def test_without_an_event_loop_it_says_what_to_use() -> None:
    async def main() -> sn.Engine:
        async with sn.open_engine() as eng:
            return eng

    coroutine = main()
    with pytest.raises(sn.RequestError, match=r"streamnursery\.sync"):
        coroutine.send(None)


def test_an_engine_that_cannot_be_opened_says_why_to_its_opener() -> None:
    async def main() -> None:
        with pytest.raises(sn.ConfigError, match="nonsense"):
            async with sn.open_engine({"nonsense": 1}):
                pytest.fail("entered")

    run(main)


def test_a_bug_ends_the_engine_and_leaves_its_block() -> None:
    async def fail() -> None:
        raise ZeroDivisionError("a bug of ours")

    async def main() -> None:
        with pytest.raises(ZeroDivisionError, match="a bug of ours"):
            async with sn.open_engine() as eng:
                async with eng.stream("sim/gemini-2.5-flash", "Hi") as stream:
                    thread = eng._bridge.thread
                    await eng._bridge.ask(lambda engine: engine._nursery.start_soon(fail))
                    with pytest.raises(sn.EngineClosedError):
                        await stream.completion()
                assert thread.join(GUARD)
                with pytest.raises(sn.EngineClosedError) as closed:
                    await eng.complete("sim/fast", "Hi")
                assert isinstance(closed.value.__cause__, ZeroDivisionError)

    run(main)
