"""The checkers, on histories that were falsified afterwards: each lie is found and named."""

import re
from collections.abc import Callable

import pytest
import trio

from streamnursery import (
    Engine,
    EngineError,
    Finished,
    Restarted,
    StreamEvent,
    TextDelta,
    UsageReport,
)
from streamnursery.simulator import BadUtf8, CallTool, Cut, Plan, Reasoning, Refuse, Reset, Stall
from streamnursery.simulator.script import Script
from streamnursery.testing import World, check_history
from streamnursery.testing.consumers import ConsumerRecord

LONG = '{"like": "this, and no shorter"}'


async def read(eng: Engine, prompt: str = "Hello", *, timeout_s: float = 60, n: int = 1) -> None:
    async with eng.stream("gpt-4.1", prompt, max_tokens=9, n=n, timeout=timeout_s) as stream:
        try:
            async for _ in stream:
                pass
        except EngineError:
            return


async def one_stream(world: World) -> None:
    async with world.open_engine() as eng:
        await read(eng)


def told(world: World) -> str:
    """What is wrong with the history of `world`."""
    with pytest.raises(AssertionError, match="the history of this world is wrong") as caught:
        check_history(world)
    return str(caught.value)


def past(*script: object) -> World:
    world = World(0, plan=Plan.always(*script))  # type: ignore[arg-type]  # faults of any kind
    world.run(one_stream)
    check_history(world)
    return world


def drop(events: list[StreamEvent]) -> None:
    del events[3]


def double(events: list[StreamEvent]) -> None:
    events.insert(3, events[3])


def swap(events: list[StreamEvent]) -> None:
    events[3], events[4] = events[4], events[3]


@pytest.mark.parametrize(
    ("lie", "guess"), [(drop, "lost?"), (double, "doubled?"), (swap, "reordered?")]
)
@pytest.mark.parametrize("script", [(), (Cut(7),), (Refuse(),)], ids=["whole", "cut", "refusal"])
def test_a_delta_that_is_not_the_next_one_is_found(
    script: Script, lie: Callable[[list[StreamEvent]], None], guess: str
) -> None:
    world = past(*script)
    lie(world.streams[0].events)
    assert re.search(r"stream 1 \(gpt-4.1\): delta \d was", told(world))
    assert guess in told(world)


def test_the_end_of_an_answer_cannot_be_missing() -> None:
    world = past()
    events = world.streams[0].events
    last = max(i for i, event in enumerate(events) if isinstance(event, TextDelta))
    del events[last]
    assert "not all of the 9 deltas were handed out" in told(world)


def test_words_of_another_answer_are_found() -> None:
    async def main(world: World) -> None:
        async with world.open_engine() as eng, trio.open_nursery() as nursery:
            nursery.start_soon(read, eng)
            nursery.start_soon(read, eng)

    world = World(0)
    world.run(main)
    one, other = world.streams
    one.events, other.events = other.events, one.events
    assert "stream 1 (gpt-4.1): delta 0" in told(world)
    assert "stream 2 (gpt-4.1): delta 0" in told(world)


def test_content_from_nowhere_is_found() -> None:
    world = World(0, plan=Plan.always(Reset(0)))
    world.run(one_stream)
    world.streams[0].events.append(TextDelta("Hello"))
    assert "content that no provider was asked for" in told(world)


def test_nothing_comes_after_the_end() -> None:
    world = past()
    world.streams[0].events.append(Finished("stop"))
    assert "events were handed out after Finished" in told(world)


def test_a_stream_has_one_end() -> None:
    world = past(Cut(3))
    world.streams[0].events.append(Finished("stop"))
    complaint = told(world)
    assert "it finished and failed" in complaint
    assert "its outcome is StreamOutcome.FAILED" in complaint


def test_a_mark_begins_another_answer_and_there_was_only_one() -> None:
    world = past()
    world.streams[0].events.insert(2, Restarted(2, "a test"))
    assert "content that no provider was asked for" in told(world)


def test_a_false_usage_is_found() -> None:
    world = past()
    (report,) = (e for e in world.streams[0].events if isinstance(e, UsageReport))
    world.streams[0].events.remove(report)
    check_history(world)
    record = world.provider.log[0]
    assert record.reply is not None
    assert report.usage.output_tokens == record.reply.output_tokens == 9


def test_a_deadline_that_was_passed_is_found() -> None:
    world = past()
    world.streams[0].deadline = 0.1
    assert "s after its deadline" in told(world)


def test_deadlines_are_kept_to_the_millisecond() -> None:
    async def main(world: World) -> ConsumerRecord:
        async with world.open_engine() as eng:
            await read(eng, timeout_s=1.0)
        return world.streams[0]

    record = World(0, plan=Plan.always(Stall(2))).run(main)
    assert record.stream.timings.ended_at == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize(
    "script",
    [
        (Reasoning(4),),
        (Reasoning(4, "reasoning"), Refuse()),
        (CallTool(arguments=LONG),),
        (CallTool(arguments=LONG), BadUtf8(0)),
        (BadUtf8(2),),
    ],
    ids=["reasoning", "refusal", "tool", "half a tool", "half a character"],
)
def test_every_kind_of_delta_is_compared(script: Script, n: int) -> None:
    async def main(world: World) -> None:
        async with world.open_engine() as eng:
            await read(eng, n=n)

    world = World(0, plan=Plan.always(*script))
    world.run(main)
    check_history(world)
    assert world.streams[0].finished
    del world.streams[0].events[1]
    assert "delta 1 was" in told(world)


def test_attempts_beyond_the_limit_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(world: World) -> None:
        async with world.open_engine(world.config(default_max_streams=2)) as eng:
            # The planted defect: slots come back while their attempts still run.
            admission = eng._admission
            async with trio.open_nursery() as nursery:
                for _ in range(2):
                    nursery.start_soon(read, eng)
                await trio.testing.wait_all_tasks_blocked()
                monkeypatch.setattr(admission, "_now_or_none", lambda demand: _Nothing())
                nursery.start_soon(read, eng)

    with pytest.raises(AssertionError, match=r"3 attempts of model 'gpt-4.1' ran with 2 slots"):
        World(0).run(main)


class _Nothing:
    def on_first_token(self, now: float) -> None: ...
    def on_overload(self, now: float, *, limited: bool = False) -> None: ...
    def on_rate_headers(self, news: object, now: float) -> None: ...
    def settle(self, usage: object) -> None: ...
    def release(self) -> None: ...
