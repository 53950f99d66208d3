"""Answers over a session: lanes, chains, breaks, slow readers, limits."""

from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest
import trio

from streamnursery import (
    ConnectionLostError,
    ContentError,
    EngineClosedError,
    OverloadedError,
    RateLimitedError,
    RequestError,
)
from streamnursery.facade import Engine
from streamnursery.sessions import Session
from streamnursery.simulator import Cut, InStreamError, Plan, Respond, Rule, Socket, Status, When
from streamnursery.simulator.script import Script
from streamnursery.testing import World, assert_quiescent
from streamnursery.values.errors import EngineError, ServerError
from streamnursery.values.events import Finished, TextDelta
from streamnursery.values.policy import Patience, Retries
from streamnursery.values.session import Reconnect, SessionSettings, SessionState

SETTINGS = SessionSettings(reconnect=Reconnect(jitter=0.0))
SLOW = "gpt-4.1"


def run(
    body: Callable[[World, Engine, Session], Awaitable[None]],
    *,
    plan: Plan | None = None,
    config: dict[str, Any] | None = None,
    speed: float = 1.0,
    socket_age: float | None = None,
    **settings: Any,
) -> None:
    world = World(5, plan=plan)
    world.add_provider("sim", plan=plan, speed=speed)
    if socket_age is not None:
        world.provider.socket_age = socket_age

    async def main(world: World) -> None:
        async with world.open_engine(config or {"defaults": {"max_streams": 100}}) as eng:
            async with eng.session("sim", settings=attrs.evolve(SETTINGS, **settings)) as session:
                await body(world, eng, session)
            assert_quiescent(eng)
            assert session._core.buffers.current_bytes == 0

    world.run(main)


def on(*numbers: int, script: Script) -> Plan:
    return Plan((Rule(script, When(requests=numbers)),))


async def text(session: Session, model: str = SLOW, **options: Any) -> str:
    async with session.stream(model, "Hi", **options) as stream:
        return (await stream.completion()).text


@pytest.mark.parametrize(("before", "times"), [(0.05, 1), (1.0, 3), (3.0, 3)])
def test_events_that_lie_unread_move_the_clocks_before_they_strike(
    before: float, times: int
) -> None:
    patience = Patience(first_byte=2.0, first_token=2.0, idle=2.0)

    async def body(world: World, eng: Engine, session: Session) -> None:
        async def one() -> None:
            assert (await text(session, f"{SLOW}?respond=200", patience=patience)).strip()

        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, trio.testing.MockClock)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one)
            for _ in range(times):
                await trio.sleep(before)
                clock.jump(2.3)  # as if the process had been stopped
        total = eng.statistics().total
        assert (total.succeeded, total.retries) == (1, 0)

    run(body)


def test_an_answer_is_a_stream_like_any_other_with_usage_and_a_name() -> None:
    async def body(world: World, eng: Engine, session: Session) -> None:
        async with session.stream("fast?respond=3", "Hi") as stream:
            events = [event async for event in stream]
        assert events[-1] == Finished("completed", "stop")
        assert sum(isinstance(event, TextDelta) for event in events) == 3
        assert stream.usage is not None
        assert stream.usage.output_tokens == 3
        assert stream.route == "sim/fast?respond=3"
        assert eng.statistics().total.succeeded == 1

    run(body)


def test_answers_run_side_by_side_and_none_gets_a_word_of_another() -> None:
    async def body(world: World, eng: Engine, session: Session) -> None:
        texts: dict[int, str] = {}

        async def one(number: int) -> None:
            texts[number] = await text(session, f"{SLOW}?respond={20 + number}")

        async with trio.open_nursery() as nursery:
            for number in range(12):
                nursery.start_soon(one, number)
        assert sorted(len(t.split()) for t in texts.values()) == list(range(20, 32))
        assert trio.current_time() < 4.0  # one after the other they would take 8 s
        assert session.statistics().lanes == 12

    run(body)


def test_no_more_answers_than_the_mode_allows_are_under_way_and_nobody_holds_a_slot_for_it() -> (
    None
):
    async def body(world: World, eng: Engine, session: Session) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(9):
                nursery.start_soon(text, session)
            await trio.sleep(1)
            assert session.statistics().streams == 3
            assert eng.statistics().active == 3
            assert world.provider.requests_in_progress == 3

    run(body, max_in_flight=3)


def test_answers_on_one_lane_come_one_after_the_other() -> None:
    async def body(world: World, eng: Engine, session: Session) -> None:
        ended: list[int] = []

        async def one(number: int) -> None:
            await text(session, "fast?respond=5", lane="mine")
            ended.append(number)

        await text(session, "fast")  # the server has shown that it knows lanes
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(one, number)
                await trio.testing.wait_all_tasks_blocked(0)
        assert ended == list(range(5))
        assert set(session._core.lanes.named) == {"sn-1", "mine"}

    run(body)


def test_a_lane_too_many_is_refused() -> None:
    async def body(world: World, eng: Engine, session: Session) -> None:
        for lane in ("a", "b"):
            await text(session, "fast", lane=lane)
        with pytest.raises(RequestError, match="max_lanes = 2"):
            session.stream("fast", "Hi", lane="c")
        assert await text(session, "fast")  # takes one that there is

    run(body, max_lanes=2)


def test_an_answer_goes_on_from_the_one_before() -> None:
    async def body(world: World, eng: Engine, session: Session) -> None:
        async with session.stream("fast", "Hi") as stream:
            first = await stream.completion()
        async with session.stream("fast", "And?", previous_response_id=first.response_id) as stream:
            second = await stream.completion()
        assert second.usage is not None
        assert first.usage is not None
        assert first.usage.input_tokens is not None
        assert second.usage.input_tokens is not None
        assert second.usage.input_tokens > first.usage.input_tokens + 3
        with pytest.raises(ContentError) as caught:
            await text(session, "fast", previous_response_id="resp_nobody")
        assert caught.value.code == "previous_response_not_found"

    run(body)


def test_what_only_its_connection_remembers_is_gone_with_it() -> None:
    async def body(world: World, eng: Engine, session: Session) -> None:
        async with session.stream("fast", "Hi", extra={"store": False}) as stream:
            first = (await stream.completion()).response_id
        assert await text(session, "fast", previous_response_id=first)
        await trio.sleep(15)
        with pytest.raises(ContentError):
            await text(session, "fast", previous_response_id=first)

    run(body, plan=on(1, script=(Socket("drop", after=10.0),)))


def test_a_break_before_the_first_token_costs_time_and_nothing_else() -> None:
    async def body(world: World, eng: Engine, session: Session) -> None:
        async with session.stream(f"{SLOW}?respond=4", "Hi") as stream:
            events = [event async for event in stream]
        assert [type(e) for e in events].count(TextDelta) == 4
        assert len(stream.attempts) == 2
        assert session.statistics().reconnects == 1

    run(body, plan=on(2, script=(Socket("drop", at=0),)))


@pytest.mark.parametrize("fault", [Cut(2), Socket("drop", at=2), Socket("close", at=2, code=1012)])
def test_a_break_after_the_first_token_is_one_typed_error_with_the_partial(fault: Any) -> None:
    async def body(world: World, eng: Engine, session: Session) -> None:
        with pytest.raises(ConnectionLostError) as caught:
            await text(session, f"{SLOW}?respond=5")
        assert caught.value.partial is not None
        assert len(caught.value.partial.text.split()) == 2
        assert len((await text(session, f"{SLOW}?respond=5")).split()) == 5

    run(body, plan=on(2, script=(fault,)))


def test_a_lost_session_ends_its_answers_and_takes_no_more() -> None:
    async def body(world: World, eng: Engine, session: Session) -> None:
        with pytest.raises(ConnectionLostError):
            await text(session)
        assert session.state is SessionState.LOST
        with pytest.raises(ConnectionLostError):
            session.stream("fast", "Hi")

    run(body, plan=on(1, script=(Socket("close", after=0.5, code=4000),)))


def test_leaving_the_session_ends_its_answers() -> None:
    async def main(world: World) -> None:
        async with world.open_engine() as eng:
            async with eng.session("sim") as session:
                stack = session.stream(SLOW, "Hi")
                stream = await stack.__aenter__()
                await trio.sleep(1)
            with pytest.raises(EngineError) as caught:
                await stream.completion()
            assert isinstance(caught.value, EngineClosedError | ConnectionLostError)
            await stack.__aexit__(None, None, None)
            assert_quiescent(eng)

    World(5).run(main)


def test_leaving_an_answer_cancels_it_at_the_server_and_its_late_events_reach_nobody() -> None:
    async def body(world: World, eng: Engine, session: Session) -> None:
        await text(session, "fast")
        async with session.stream(f"{SLOW}?respond=500", "Hi") as stream:
            async for _ in stream:
                break
        await trio.sleep(0.1)
        assert world.provider.requests_in_progress == 0
        assert any(b"response.cancel" in data for data in world.provider.heard)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(text, session, "fast?respond=9")
        assert world.provider.requests_in_progress == 0
        assert session.statistics().buffered_events == 0

    run(body)


def test_a_reader_that_is_too_slow_fails_its_own_answer_and_no_other() -> None:
    async def body(world: World, eng: Engine, session: Session) -> None:
        await text(session, "fast")

        async def slow() -> None:
            async with session.stream(f"{SLOW}?respond=200", "Hi", buffer_events=10) as stream:
                await trio.sleep(20)
                with pytest.raises(OverloadedError, match="buffer_events"):
                    await stream.completion()
                assert stream.partial.text.split()[:1]

        async with trio.open_nursery() as nursery:
            nursery.start_soon(slow)
            for _ in range(4):
                assert len((await text(session, f"{SLOW}?respond=50")).split()) == 50
        assert session.statistics().missed_beats == 0

    run(body, speed=10.0)


def test_all_answers_of_a_session_together_are_bounded() -> None:
    async def body(world: World, eng: Engine, session: Session) -> None:
        await text(session, "fast")
        failed = 0

        async def slow() -> None:
            nonlocal failed
            async with session.stream(f"{SLOW}?respond=100", "Hi") as stream:
                await trio.sleep(100)
                try:
                    await stream.completion()
                except OverloadedError:
                    failed += 1

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(slow)
            await trio.sleep(50)
            assert session.statistics().buffered_bytes < 30_000
        assert failed

    run(body, max_buffered_bytes=20_000)


def test_a_server_that_knows_no_lanes_gets_one_answer_at_a_time() -> None:
    async def body(world: World, eng: Engine, session: Session) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(text, session, f"{SLOW}?respond=5")
            await trio.sleep(1)
            assert world.provider.requests_in_progress == 1
        async with session.stream(f"{SLOW}?respond=50", "Hi") as stream:
            async for _ in stream:
                break
        assert len((await text(session, "fast?respond=7")).split()) == 7

    run(body, plan=on(1, script=(Socket("no_lanes"),)))


def test_a_connection_is_renewed_before_the_server_ends_it() -> None:
    async def body(world: World, eng: Engine, session: Session) -> None:
        for _ in range(40):
            await session.send({"type": "echo"})
            assert len((await text(session, f"{SLOW}?respond=30")).split()) == 30
            await trio.sleep(7)
        statistics = session.statistics()
        assert statistics.renewals >= 3
        assert (statistics.reconnects, statistics.outcomes["delivered"]) == (0, 40)

    run(body, socket_age=100.0, max_age=100.0)


def test_a_server_with_a_shorter_patience_than_we_thought_is_met_again() -> None:
    async def body(world: World, eng: Engine, session: Session) -> None:
        await session.wait_open()
        await trio.sleep(60)
        assert session.state is SessionState.OPEN
        assert session.statistics().connections == 2

    run(body, socket_age=50.0)


def test_errors_of_the_server_are_typed_and_those_that_pass_are_tried_again() -> None:
    async def body(world: World, eng: Engine, session: Session) -> None:
        await text(session, "fast")
        with pytest.raises(RateLimitedError) as caught:
            await text(session, "fast", retries=Retries(attempts=1))
        assert caught.value.retry_after == 2.0
        await trio.sleep(5)
        assert await text(session, "fast")  # 503 first
        with pytest.raises(ServerError) as failed:
            await text(session, f"{SLOW}?respond=5")
        assert failed.value.committed

    plan = Plan((
        Rule((Status(429, retry_after=2),), When(requests=(3,))),
        Rule((Status(503),), When(requests=(4,))),
        Rule((InStreamError(3),), When(requests=(6,))),
    ))
    run(body, plan=plan)


def test_a_doubled_event_is_told_once() -> None:
    async def body(world: World, eng: Engine, session: Session) -> None:
        assert await text(session, "fast") == "One two three."

    run(body, plan=on(2, script=(Respond(text="One two three."), Socket("duplicate", at=1))))


def test_a_realtime_dialogue_runs_over_the_same_session() -> None:
    async def main(world: World) -> None:
        async with world.open_engine() as eng:
            async with eng.session("sim", path="/v1/realtime?model=fast") as session:
                assert (await session.__anext__())["type"] == "session.created"
                await session.send({"type": "session.update", "session": {"type": "realtime"}})
                item = {"id": "i1", "type": "message", "role": "user", "content": "Hi"}
                await session.send({"type": "conversation.item.create", "item": item})
                await session.send({"type": "response.create"})
                events = []
                async for event in session.typed():
                    events.append(event)
                    if isinstance(event, Finished):
                        break
                said = "".join(e.text for e in events if isinstance(e, TextDelta))
                assert said == world.provider.log[-1].intended()

    World(5).run(main)


def test_limits_of_a_model_hold_for_answers_over_sessions_too() -> None:
    async def body(world: World, eng: Engine, session: Session) -> None:
        await text(session, "fast")
        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(text, session)
            await trio.sleep(1.0)
            assert world.provider.requests_in_progress == 2

    run(body, config={"models": {SLOW: {"max_streams": 2}}})
