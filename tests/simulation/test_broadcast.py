"""Several readers of one stream: what each is handed, and who holds back whom."""

from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from streamnursery import EngineError, Finished, RequestError, TextDelta
from streamnursery.pipeline.broadcast import Reader
from streamnursery.simulator import Cut, Plan, Profile, Reset, Respond, Rule, When
from streamnursery.testing import World, cancel_at_every_step, wait_quiescent
from streamnursery.values.policy import OnAbort
from tests.conftest import TIER
from tests.support.scene import AT_ONCE, always, scene, virtual

EXAMPLES = {"test": 25, "proof": 120, "soak": 2000}
POINTS = {"test": 15, "proof": 50, "soak": None}
MANY = Profile(output_tokens=(3000, 3000))


async def text_of(reader: Reader, pause: float = 0.0) -> str:
    text = ""
    async for event in reader:
        if isinstance(event, TextDelta):
            text += event.text
        if pause:
            await trio.sleep(pause)
    return text


@pytest.mark.parametrize("slow", [0.0, 0.5])
def test_every_reader_is_handed_everything(slow: float) -> None:
    @virtual
    async def check() -> None:
        texts: dict[int, str] = {}
        async with scene() as s:
            async with s.engine.stream("m", "hello") as stream:
                shared = stream.broadcast()

                async def read(number: int) -> None:
                    with shared.reader() as events:
                        texts[number] = await text_of(events, slow * number)

                async with trio.open_nursery() as nursery:
                    for number in range(3):
                        nursery.start_soon(read, number)
                completion = await stream.completion()
            assert set(texts.values()) == {s.provider.log[0].intended()} == {completion.text}

    check()


@virtual
async def test_a_full_reader_that_blocks_holds_back_the_provider_one_that_drops_does_not() -> None:
    async with scene(profile=MANY) as s:
        async with s.engine.stream("m", "hello", buffer_events=10) as stream:
            shared = stream.broadcast(replay_bytes=0)
            with shared.reader(max_events=5) as slow, shared.reader() as fast:
                first = await anext(slow)
                with trio.move_on_after(5):
                    await text_of(fast)
                assert slow.statistics().current_events >= 5
                assert stream.statistics().buffer.sender_waiting
                slow.detach()
                text = await text_of(fast)
                assert text.endswith(s.provider.log[0].intended()[-40:])
        assert isinstance(first, TextDelta)
    async with scene(profile=MANY) as s:
        async with s.engine.stream("m", "hello") as stream:
            shared = stream.broadcast(replay_bytes=0)
            with shared.reader(max_events=5, when_full="drop_oldest") as slow:
                await anext(slow)
                with shared.reader() as fast:
                    await text_of(fast)
                said = slow.statistics()
                assert said.current_events <= 5
                assert said.dropped + said.current_events + 1 == shared.next_offset
                rest = [event async for event in slow]
                assert isinstance(rest[-1], Finished)


@virtual
async def test_a_late_reader_replays_from_an_offset_within_the_journal() -> None:
    async with scene(profile=AT_ONCE) as s:
        async with s.engine.stream("m", "hello") as stream:
            shared = stream.broadcast(replay_bytes=64 * 6 + 40)
            with shared.reader() as first:
                everything = [event async for event in first]
                assert shared.next_offset == len(everything)
                start = shared.first_offset
                assert 0 < start < len(everything)
                with shared.reader(offset=start) as late:
                    assert [event async for event in late] == everything[start:]
                with pytest.raises(RequestError, match="replay_bytes"), shared.reader(offset=0):
                    pass
                with shared.reader() as at_the_end:
                    assert [event async for event in at_the_end] == []


@virtual
async def test_every_reader_gets_the_same_error_behind_the_events_before_it() -> None:
    async with scene(always(Cut(4))) as s:
        async with s.engine.stream("m", "hello") as stream:
            shared = stream.broadcast()
            errors: list[EngineError] = []

            async def read() -> None:
                with shared.reader() as events:
                    try:
                        await text_of(events)
                    except EngineError as error:
                        errors.append(error)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                nursery.start_soon(read)
            assert errors == [stream.error] * 2


@pytest.mark.parametrize("how", ["cancel", "drain"])
def test_the_last_reader_that_leaves_leaves_the_stream(how: OnAbort) -> None:
    @virtual
    async def check() -> None:
        async with scene() as s:
            async with s.engine.stream("m", "hello", on_abort=how) as stream:
                shared = stream.broadcast()
                with shared.reader() as one:
                    with shared.reader() as two:
                        await anext(two)
                    assert stream.statistics().outcome is None
                    await anext(one)
                assert stream.statistics().outcome is not None
                await trio.sleep(3)
            assert s.provider.log[0].aborted == (how == "cancel")

    check()


@virtual
async def test_cancel_ends_it_for_all_of_them() -> None:
    async with scene() as s:
        async with s.engine.stream("m", "hello", on_abort="drain") as stream:
            shared = stream.broadcast()
            with shared.reader() as one, shared.reader() as two:
                await anext(one)
                shared.cancel()
                for reader in (one, two):
                    with pytest.raises(EngineError, match="cancel"):
                        await text_of(reader)
        await trio.sleep(0.1)
        assert s.provider.log[0].aborted


@pytest.mark.parametrize(
    "options", [{"max_events": 0}, {"when_full": "wait"}, {"offset": -1}, {"offset": True}]
)
@virtual
async def test_what_a_reader_cannot_be_is_refused(options: dict[str, Any]) -> None:
    async with scene() as s:
        async with s.engine.stream("m", "hello") as stream:
            with pytest.raises(RequestError):
                stream.broadcast().reader(**options)
            with pytest.raises(RequestError):
                stream.broadcast(replay_bytes=-1)


@settings(max_examples=EXAMPLES[TIER])
@given(
    random=st.random_module(),
    seed=st.integers(0, 2**32),
    readers=st.lists(
        st.tuples(st.integers(1, 6), st.sampled_from((0.0, 0.03, 0.3)), st.booleans()),
        min_size=1,
        max_size=4,
    ),
    cut=st.integers(0, 12),
)
def test_who_stays_to_the_end_is_handed_everything(
    random: object,
    seed: int,
    readers: list[tuple[int, float, bool]],
    cut: int,
) -> None:
    """Readers of all speeds; some go away in the middle, and take nobody's turn with them."""
    texts: list[str] = []

    async def main(world: World) -> None:
        async with world.open_engine() as eng:
            async with eng.stream(
                "gpt-4.1", "x", max_tokens=10, on_interrupt="restart", buffer_events=2
            ) as stream:
                shared = stream.broadcast()

                async def read(size: int, pause: float, stays: bool) -> None:
                    with shared.reader(max_events=size) as events:
                        with trio.move_on_after(1e9 if stays else 0.8):
                            texts.append(await text_of(events, pause))

                with shared.reader(max_events=3) as anchor:
                    async with trio.open_nursery() as nursery:
                        for size, pause, stays in readers:
                            nursery.start_soon(read, size, pause, stays)
                        nursery.start_soon(text_of, anchor)
            await wait_quiescent(eng)
        assert stream.error is None
        assert len(set(texts)) <= 1

    plan = Plan((Rule((Reset(cut),), When(requests=(1,))),))
    World(seed, plan=plan).run(main)


def test_a_broadcast_is_cancelled_at_any_step_and_leaves_nothing(tier: str) -> None:
    async def scenario(world: World, scope: trio.CancelScope) -> None:
        async with world.open_engine() as eng:
            with scope:
                async with eng.stream("gpt-4.1", "x", max_tokens=4) as stream:
                    shared = stream.broadcast()

                    async def read() -> None:
                        with shared.reader(max_events=1) as events:
                            await text_of(events)

                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(read)
                        nursery.start_soon(read)
            await wait_quiescent(eng)

    cancel_at_every_step(scenario, most=POINTS[tier])


@virtual
async def test_a_reader_that_coalesces_gets_all_of_the_text_in_fewer_events() -> None:
    async with scene(profile=MANY) as s:
        async with s.engine.stream("m", "hello", buffer_events=10) as stream:
            shared = stream.broadcast(replay_bytes=0)
            with shared.reader(max_events=5, when_full="coalesce") as slow, shared.reader() as fast:
                whole = await text_of(fast)
                events = [event async for event in slow]
                statistics = slow.statistics()
        text = "".join(event.text for event in events if isinstance(event, TextDelta))
        assert text == whole == s.provider.log[0].intended()
        assert len(events) < 20
        assert statistics.coalesced > 2900
        assert statistics.offset == shared.next_offset
        assert statistics.current_events == statistics.dropped == 0


@virtual
async def test_a_reader_that_coalesces_holds_back_the_stream_when_it_is_full_of_bytes() -> None:
    huge = "x" * 100_000
    async with scene(always(Respond(text=" ".join([huge] * 8)))) as s:
        async with s.engine.stream("m", "hello") as stream:
            shared = stream.broadcast(replay_bytes=0)
            with shared.reader(when_full="coalesce"), shared.reader() as fast:
                text = ""
                with trio.move_on_after(30):
                    text = await text_of(fast)
                assert text == ""
                assert shared.next_offset < 8
