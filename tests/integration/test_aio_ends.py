"""The engine for asyncio: how it is opened, served, left and ended."""

import asyncio
import gc
import json
import threading
from typing import Any

import pytest
import trio

import streamnursery.aio as sn
from streamnursery import open_engine as trio_engine
from streamnursery.simulator import Profile, Stall, Status
from streamnursery.values.lifecycle import LifecycleRecord, StreamEnded
from tests.support.bridged import aio_scene, at_rest, one_step, run, standing
from tests.support.guard import GUARD
from tests.support.scene import AT_ONCE, always, once

SOON: dict[str, Any] = {"timeout": 5}
IN_TIME: dict[str, Any] = {"timeout": 30}
"""Seconds of the engine's virtual clock."""
LONG = Profile(output_tokens=(5000, 5000))
PACED_LONG = Profile(ttft_mean=1.0, ttft_p95=1.0, tokens_per_second=10, output_tokens=(500, 500))


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


def test_the_engine_for_trio_names_the_module_for_asyncio() -> None:
    async def main() -> None:
        with pytest.raises(sn.RequestError, match=r"import streamnursery\.aio as sn"):
            async with trio_engine():
                pytest.fail("entered")

    run(main)


def test_a_served_stream_is_its_events_and_ends_with_its_answer() -> None:
    async def main() -> None:
        async with aio_scene(once(Status(400), requests=(2,))) as (eng, hosted):
            served = eng.stream("m", "Hi").sse()
            body = b"".join([piece async for piece in served])
            records = [json.loads(line[6:]) for line in body.decode().split("\n\n") if line]
            text = "".join(r["text"] for r in records if r["event"] == "text_delta")
            assert text == hosted.scene.provider.log[0].intended()
            assert records[-1] == {"event": "finished", "reason": "stop", "kind": "stop"}
            assert [piece async for piece in served] == []
            lines = b"".join([piece async for piece in eng.stream("m", "Hi").lines()])
            (failed,) = map(json.loads, lines.splitlines())
            assert (failed["event"], failed["error"]["status"]) == ("failed", 400)
            await served.aclose()

    run(main)


def test_a_served_stream_that_is_let_go_of_ends_upstream() -> None:
    """By a cancel, by closing, and without a word."""

    async def main() -> None:
        scene = aio_scene(always(Stall(2)), profile=AT_ONCE, clock=standing())
        async with scene as (eng, _):
            for how in ("cancel", "aclose", "drop"):
                served = eng.stream("m", "Hi").sse(ping=None)
                assert b"text_delta" in await anext(served)
                if how == "cancel":
                    task = asyncio.create_task(anext(served))
                    await one_step(task)
                    task.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await task
                    del task
                elif how == "aclose":
                    await served.aclose()
                del served
                gc.collect()
                await at_rest(eng)

    run(main)


def test_a_silent_served_stream_says_so_by_comments() -> None:
    async def main() -> None:
        scene = aio_scene(always(Stall(2)), profile=AT_ONCE, clock=standing())
        async with scene as (eng, _):
            served = eng.stream("m", "Hi").sse(ping=0.001)
            pieces = [await anext(served) for _ in range(5)]
            assert pieces[-1].startswith(b":")
            assert pieces[-1].endswith(b"\n\n")
            await served.aclose()

    run(main)


def test_an_engine_that_is_held_up_does_not_hold_up_who_leaves() -> None:
    """An observer blocks the engine's thread: the wait is bounded, and counted."""
    free = threading.Event()

    def block(record: LifecycleRecord) -> None:
        if isinstance(record, StreamEnded):
            free.wait(GUARD)

    async def main() -> None:
        async with aio_scene(always(Stall(2)), observers=[block], profile=AT_ONCE) as (eng, _):
            eng._bridge.seconds_to_leave = 0.01
            async with eng.stream("m", "Hi", patience=sn.Patience(idle=1e6)) as stream:
                await anext(stream)
            assert eng._bridge.left_behind == 1
            assert not free.is_set()
            free.set()

    run(main)


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
