"""The engine for asyncio: many requests, own calls, records, limits."""

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import streamnursery.aio as sn
from streamnursery import records
from streamnursery.simulator import Profile, Stall, Status
from streamnursery.values.lifecycle import LifecycleRecord, StreamEnded
from tests.support.bridged import aio_scene, at_rest, run, standing
from tests.support.scene import AT_ONCE, always, once

SOON: dict[str, Any] = {"timeout": 5}
IN_TIME: dict[str, Any] = {"timeout": 30}
"""Seconds of the engine's virtual clock."""
LONG = Profile(output_tokens=(5000, 5000))
PACED_LONG = Profile(ttft_mean=1.0, ttft_p95=1.0, tokens_per_second=10, output_tokens=(500, 500))


async def for_ever() -> None:
    await asyncio.get_running_loop().create_future()


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


def test_an_async_source_is_closed_where_it_stands() -> None:
    async def main() -> None:
        closed: list[str] = []

        async def source(where: str) -> AsyncIterator[sn.ChatRequest]:
            try:
                yield sn.ChatRequest("m", "Hi")
                if where == "waiting":
                    await for_ever()
                yield sn.ChatRequest("m", "Hi")
            finally:
                closed.append(where)
                if where == "closing":
                    raise LookupError(where)

        async with aio_scene() as (eng, _):
            async with eng.as_completed(source("waiting")) as outcomes:
                assert (await anext(outcomes)).ok
            async with eng.merge(source("yielding"), max_in_flight=1) as merged:
                await anext(merged)
            with pytest.raises(LookupError, match="closing"):
                async with eng.merge(source("closing"), max_in_flight=1) as merged:
                    await anext(merged)
            assert closed == ["waiting", "yielding", "closing"]

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
