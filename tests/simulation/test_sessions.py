"""Sessions on the simulated network: what happens to connections and messages, in virtual time."""

import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest
import trio

from streamnursery import (
    AuthError,
    ConfigError,
    ConnectionLostError,
    EngineClosedError,
    OverloadedError,
    RequestError,
    log_observer,
)
from streamnursery.facade import Engine
from streamnursery.sessions import Receipt, Session
from streamnursery.simulator import Link, Plan, RefuseConnect, Rule, Socket, Status, When
from streamnursery.simulator.script import Script
from streamnursery.testing import World, assert_quiescent
from streamnursery.values.errors import CallbackError, EngineError, MalformedChunkError
from streamnursery.values.lifecycle import (
    ConnectionLost,
    LifecycleRecord,
    Reconnected,
    Reconnecting,
)
from streamnursery.values.secret import Secret
from streamnursery.values.session import (
    Heartbeat,
    Pending,
    Reconnect,
    SendOutcome,
    SessionSettings,
    SessionState,
)

SETTINGS = SessionSettings()


def calm(**changes: Any) -> SessionSettings:
    """The defaults, with exact waits."""
    return attrs.evolve(SETTINGS, **{"reconnect": Reconnect(jitter=0.0), **changes})


def run(
    body: Callable[[World, Engine, Session], Awaitable[None]],
    *,
    plan: Plan | None = None,
    settings: SessionSettings | None = None,
    link: Link | None = None,
    path: str | None = None,
    heartbeat: Any = None,
) -> list[LifecycleRecord]:
    """What was told of the session while `body` ran in its block."""
    told: list[LifecycleRecord] = []
    world = World(5, plan=plan, link=link)

    async def main(world: World) -> None:
        async with world.open_engine(observers=(told.append,)) as eng:
            session = eng.session(
                "sim", settings=settings or calm(), path=path, heartbeat=heartbeat
            )
            async with session as open_session:
                await body(world, eng, open_session)
            assert open_session.state in (SessionState.CLOSED, SessionState.LOST)
            assert_quiescent(eng)

    world.run(main)
    return told


def on(*numbers: int, script: Script) -> Plan:
    return Plan((Rule(script, When(requests=numbers)),))


def echo(number: int) -> dict[str, Any]:
    return {"type": "echo", "id": number}


def heard(world: World) -> list[Any]:
    """The numbers that the provider heard, in order."""
    return [json.loads(data).get("id") for data in world.provider.heard]


def test_a_session_connects_by_itself_and_says_where_it_is() -> None:
    async def body(world: World, eng: Engine, session: Session) -> None:
        assert session.state is SessionState.CONNECTING
        await session.wait_open()
        assert session.state.value == "open"
        assert trio.current_time() == 4.0  # TCP, then the handshake
        await session.send(echo(1))
        assert trio.current_time() == 6.0  # there, and the confirmation back
        assert (await session.__anext__())["id"] == 1
        statistics = session.statistics()
        assert (statistics.outcomes["delivered"], statistics.pending_messages) == (1, 0)
        assert eng.statistics().session_connections == 1

    run(body, link=Link(latency=1.0))


def test_messages_wait_for_the_connection_and_keep_their_order() -> None:
    async def body(world: World, eng: Engine, session: Session) -> None:
        receipts = [session.send_nowait(echo(i)) for i in range(20)]
        assert {receipt.outcome for receipt in receipts} == {None}
        assert [await receipt.wait() for receipt in receipts] == [SendOutcome.DELIVERED] * 20
        assert heard(world) == list(range(20))
        assert [(await session.__anext__())["id"] for _ in range(20)] == list(range(20))

    run(body)


def test_the_beat_goes_every_interval_and_a_missed_one_ends_the_connection_at_once() -> None:
    async def body(world: World, eng: Engine, session: Session) -> None:
        await session.wait_open()
        await trio.sleep(95)
        assert session.statistics().beats == 3
        await trio.sleep_until(150 + 5 + 30)  # interval and timeout, at most
        assert session.statistics().missed_beats == 1
        assert session.state in (SessionState.RECONNECTING, SessionState.OPEN)

    told = run(body, plan=on(1, script=(Socket("silence", after=150.0),)))
    lost = next(record for record in told if isinstance(record, ConnectionLost))
    assert 150 + 5 <= lost.at <= 150 + 30 + 5
    assert not lost.permanent


def test_pings_that_nobody_answers_are_missed_though_events_come() -> None:
    async def body(world: World, eng: Engine, session: Session) -> None:
        await session.wait_open()
        receipts: list[Receipt] = []
        while session.state is SessionState.OPEN:
            receipts.append(session.send_nowait(echo(len(receipts))))
            await trio.sleep(1)
        assert session.statistics().missed_beats == 1
        assert trio.current_time() == pytest.approx(5, abs=1.1)
        assert receipts[0].outcome is SendOutcome.UNKNOWN

    run(body, plan=on(1, script=(Socket("no_pong"),)))


def test_reconnects_follow_the_schedule_and_are_told() -> None:
    refused = Plan((Rule((RefuseConnect(),), When(since=9.0, until=20.0)),))
    drop = on(1, script=(Socket("drop", after=10.0),))

    async def body(world: World, eng: Engine, session: Session) -> None:
        world.provider.plan = Plan((*refused.rules, *drop.rules))
        await session.wait_open()
        await trio.sleep(60)
        assert session.state is SessionState.OPEN
        statistics = session.statistics()
        assert (statistics.reconnects, statistics.connections) == (1, 5)

    told = run(body)
    waits = [(r.at, r.attempt, r.delay) for r in told if isinstance(r, Reconnecting)]
    assert waits == [(10.0, 1, 1.0), (11.0, 2, 2.0), (13.0, 3, 4.0), (17.0, 4, 8.0)]
    (again,) = (record for record in told if isinstance(record, Reconnected))
    assert (again.at, again.attempts) == (25.0, 4)


def test_enough_attempts_are_enough_and_everybody_is_told() -> None:
    async def body(world: World, eng: Engine, session: Session) -> None:
        receipt = session.send_nowait(echo(1))
        with pytest.raises(ConnectionLostError, match="no connection in 5 attempts") as caught:
            await session.__anext__()
        assert not caught.value.retryable
        assert session.state is SessionState.LOST
        assert receipt.outcome is SendOutcome.REFUSED
        assert trio.current_time() == 1 + 2 + 4 + 8 + 16
        for call in (session.send(echo(2)), session.wait_open(), session.__anext__()):
            with pytest.raises(ConnectionLostError):
                await call
        with pytest.raises(ConnectionLostError):
            session.send_nowait(echo(3))
        assert isinstance(session.error, ConnectionLostError)

    told = run(body, plan=Plan((Rule((RefuseConnect(),)),)))
    assert [r.permanent for r in told if isinstance(r, ConnectionLost)] == [True]


@pytest.mark.parametrize("code", [1000, 1002, 1008, 3000, 4000, 4999])
def test_codes_that_say_no_are_not_asked_again(code: int) -> None:
    async def body(world: World, eng: Engine, session: Session) -> None:
        with pytest.raises(ConnectionLostError) as caught:
            await session.__anext__()
        assert (caught.value.code, caught.value.body) == (str(code), "go away")
        assert "go away" not in str(caught.value)
        assert trio.current_time() == 3.0
        assert session.statistics().connections == 1

    script = (Socket("close", after=3.0, code=code, reason="go away"),)
    told = run(body, plan=on(1, script=script))
    assert not any(isinstance(record, Reconnecting) for record in told)


@pytest.mark.parametrize("code", [1001, 1011, 1012, 1013])
def test_codes_of_a_passing_trouble_are_followed_by_another_connection(code: int) -> None:
    async def body(world: World, eng: Engine, session: Session) -> None:
        await session.wait_open()
        await trio.sleep(10)
        await session.send(echo(1))
        assert session.statistics().reconnects == 1

    run(body, plan=on(1, script=(Socket("close", after=3.0, code=code),)))


def test_a_server_that_accepts_and_hangs_up_is_given_up() -> None:
    async def body(world: World, eng: Engine, session: Session) -> None:
        with pytest.raises(ConnectionLostError, match="max_restarts = 4"):
            await session.__anext__()
        assert session.statistics().connections == 5

    settings = calm(reconnect=Reconnect(max_restarts=4, period=60.0))
    run(body, plan=Plan.always(Socket("drop", after=0.1)), settings=settings)


def test_a_refused_handshake_is_the_error_that_its_status_means() -> None:
    async def body(world: World, eng: Engine, session: Session) -> None:
        with pytest.raises(AuthError) as caught:
            await session.wait_open()
        assert (caught.value.status, session.state) == (401, SessionState.LOST)

    run(body, plan=Plan.always(Status(401)))


def test_what_a_handshake_asks_us_to_wait_is_a_floor() -> None:
    async def body(world: World, eng: Engine, session: Session) -> None:
        await session.wait_open()
        assert trio.current_time() == 7.0

    told = run(body, plan=on(1, script=(Status(503, retry_after=7.0),)))
    assert [r.delay for r in told if isinstance(r, Reconnecting)] == [7.0]


def test_a_wait_beyond_the_cap_is_a_reason_to_give_up() -> None:
    async def body(world: World, eng: Engine, session: Session) -> None:
        with pytest.raises(ConnectionLostError, match="retry_after_cap") as caught:
            await session.wait_open()
        assert (caught.value.status, caught.value.retry_after) == (429, 3600.0)

    run(body, plan=Plan.always(Status(429, retry_after=3600)))


def test_a_redirect_is_not_followed() -> None:
    from streamnursery.simulator import Redirect

    async def body(world: World, eng: Engine, session: Session) -> None:
        with pytest.raises(EngineError, match="keys do not follow"):
            await session.wait_open()

    run(body, plan=Plan.always(Redirect("ws://elsewhere.test/")))


def test_a_message_is_sent_again_only_where_that_is_harmless() -> None:
    async def body(world: World, eng: Engine, session: Session) -> None:
        await session.wait_open()
        await trio.sleep(2.9)
        plain = session.send_nowait(echo(1))
        again = session.send_nowait({"type": "session.update", "session": {}})
        asked = session.send_nowait(echo(3), idempotent=True)
        assert await plain.wait() is SendOutcome.UNKNOWN
        assert again.maybe_sent
        assert await again.wait() is SendOutcome.DELIVERED
        assert await asked.wait() is SendOutcome.DELIVERED

    # The provider hears nothing any more from 3 s on, when the messages are still under way.
    run(body, plan=on(1, script=(Socket("drop", after=3.0),)), link=Link(latency=0.5))


def test_a_sender_whose_message_may_have_arrived_is_told_so() -> None:
    async def body(world: World, eng: Engine, session: Session) -> None:
        await session.wait_open()
        await trio.sleep_until(4.9)
        with pytest.raises(ConnectionLostError) as caught:
            await session.send(echo(1))
        assert caught.value.code == "maybe_sent"
        assert not caught.value.retryable

    run(body, plan=on(1, script=(Socket("drop", after=3.0),)), link=Link(latency=0.5))


def test_a_full_queue_refuses_waits_or_drops_as_it_was_told() -> None:
    async def refuse(world: World, eng: Engine, session: Session) -> None:
        kept = [session.send_nowait(echo(i)) for i in range(2)]
        with pytest.raises(OverloadedError, match="max_messages = 2"):
            session.send_nowait(echo(2))
        with pytest.raises(OverloadedError):
            await session.send(echo(3))
        assert [await receipt.wait() for receipt in kept] == [SendOutcome.DELIVERED] * 2

    async def drop(world: World, eng: Engine, session: Session) -> None:
        receipts = [session.send_nowait(echo(i)) for i in range(5)]
        assert [r.outcome for r in receipts[:3]] == [SendOutcome.REFUSED] * 3
        assert [await r.wait() for r in receipts[3:]] == [SendOutcome.DELIVERED] * 2
        assert heard(world) == [3, 4]

    async def wait(world: World, eng: Engine, session: Session) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(session.send, echo(number))
                await trio.testing.wait_all_tasks_blocked(0)
        assert heard(world) == list(range(20))

    for policy, body in (("refuse", refuse), ("drop_oldest", drop), ("wait", wait)):
        pending = Pending(max_messages=2, when_full=policy)  # type: ignore[arg-type]
        run(body, settings=calm(pending=pending))


def test_a_sender_that_was_dropped_for_a_newer_one_is_told() -> None:
    async def body(world: World, eng: Engine, session: Session) -> None:
        async def first() -> None:
            with pytest.raises(OverloadedError, match="newer"):
                await session.send(echo(1))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(first)
            await trio.testing.wait_all_tasks_blocked(0)
            await session.send(echo(2))

    pending = Pending(max_messages=1, when_full="drop_oldest")
    run(body, settings=calm(pending=pending), link=Link(latency=1.0))


def test_a_cancelled_sender_takes_back_what_was_not_sent() -> None:
    async def body(world: World, eng: Engine, session: Session) -> None:
        with trio.move_on_after(1.0):
            await session.send(echo(1))
        await session.send(echo(2))
        assert heard(world) == [2]
        assert session.statistics().outcomes["refused"] == 1

    run(body, link=Link(latency=2.0))


def test_an_inbox_that_nobody_reads_says_what_is_missing_and_goes_on() -> None:
    async def body(world: World, eng: Engine, session: Session) -> None:
        for number in range(9):
            await session.send(echo(number))
        assert session.statistics().buffered_events == 4
        assert [(await session.__anext__())["id"] for _ in range(4)] == [0, 1, 2, 3]
        with pytest.raises(OverloadedError, match="5 events"):
            await session.__anext__()
        await session.send(echo(9))
        assert (await session.__anext__())["id"] == 9

    run(body, settings=calm(buffer_events=4))


def test_a_wall_clock_that_jumps_is_answered_with_a_beat() -> None:
    async def body(world: World, eng: Engine, session: Session) -> None:
        await session.wait_open()
        await trio.sleep(1)
        world.wall.jump(3600)
        await trio.sleep(5)
        statistics = session.statistics()
        assert (statistics.wall_jumps, statistics.beats) == (1, 1)

    run(body)


def test_the_callers_own_heartbeat_goes_with_each_beat() -> None:
    beats: list[float] = []

    async def heartbeat(session: Session) -> None:
        beats.append(trio.current_time())
        await session.send(echo(0))

    async def body(world: World, eng: Engine, session: Session) -> None:
        await session.wait_open()
        await trio.sleep(100)
        assert len(beats) == 3

    run(body, heartbeat=heartbeat)


def test_a_heartbeat_of_the_caller_that_hangs_or_raises_ends_the_connection() -> None:
    async def hang(session: Session) -> None:
        await trio.sleep_forever()

    async def fail(session: Session) -> None:
        raise ValueError("x")

    async def missed(world: World, eng: Engine, session: Session) -> None:
        await session.wait_open()
        await trio.sleep(60)
        assert session.statistics().missed_beats >= 1

    async def lost(world: World, eng: Engine, session: Session) -> None:
        with pytest.raises(CallbackError) as caught:
            await session.__anext__()
        assert caught.value.__cause__ is not None

    run(missed, heartbeat=hang)
    run(lost, heartbeat=fail)


def test_leaving_the_block_says_goodbye_and_a_silent_server_is_waited_for_in_vain() -> None:
    for script, seconds in (((), 0.0), ((Socket("silence", after=1.0),), 2.0)):
        ended: list[float] = []
        world = World(5, plan=Plan.always(*script))

        async def main(world: World, ended: list[float] = ended) -> None:
            async with world.open_engine() as eng:
                async with eng.session("sim") as session:
                    await session.wait_open()
                    await trio.sleep(1.5)
                    left = session.send_nowait(echo(1))
                ended.append(trio.current_time())
                assert left.outcome in (SendOutcome.UNKNOWN, SendOutcome.REFUSED)
                for call in (session.send(echo(1)), session.wait_open()):
                    with pytest.raises(EngineClosedError):
                        await call
                with pytest.raises(StopAsyncIteration):
                    await session.__anext__()
                assert_quiescent(eng)

        world.run(main)
        assert ended == [1.5 + seconds]


def test_a_crash_of_the_block_or_of_the_engine_leaves_nothing() -> None:
    async def crash(world: World, eng: Engine, session: Session) -> None:
        await session.wait_open()
        raise KeyError("mine")

    with pytest.raises(KeyError):
        run(crash)

    async def main(world: World) -> None:
        with trio.move_on_after(3.0):
            async with world.open_engine() as eng:
                async with eng.session("sim") as session:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(session.__anext__)
                        nursery.start_soon(session.send, echo(1))

    World(5, link=Link(latency=1.0)).run(main)


def test_what_cannot_be_asked_is_refused_at_once() -> None:
    async def main(world: World) -> None:
        async with world.open_engine() as eng:
            with pytest.raises(ConfigError, match="no endpoint is called 'nobody'"):
                async with eng.session("nobody"):
                    pass
            with pytest.raises(RequestError, match="whole path"):
                async with eng.session("sim", path="v1/responses"):
                    pass
            async with eng.session("sim") as session:
                for message in ("text", {"a": float("nan")}, {"a": object()}):
                    with pytest.raises(RequestError):
                        await session.send(message)  # type: ignore[arg-type]
                with pytest.raises(RequestError, match="lane"):
                    session.stream("fast", "Hi", lane="")

    World(5).run(main)


def test_without_the_library_a_session_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "trio_websocket", None)

    async def main(world: World) -> None:
        async with world.open_engine() as eng:
            with pytest.raises(ConfigError, match="pip install 'trio-websocket"):
                async with eng.session("sim"):
                    pass

    World(5).run(main)


def test_a_message_that_is_no_object_is_an_error_in_its_place() -> None:
    from streamnursery.sessions.core import _object

    assert isinstance(_object(b"[1]"), MalformedChunkError)
    assert isinstance(_object(b"\xff"), MalformedChunkError)
    assert _object(b'{"a":1}') == {"a": 1}


def test_the_key_goes_with_the_handshake_to_its_own_origin() -> None:
    async def main(world: World) -> None:
        async with world.open_engine() as eng:
            async with eng.session("keyed") as session:
                await session.send(echo(1))
            assert world.providers["keyed"].log[-1].credential == "right"
            assert "s3cret" not in repr(session)

    world = World(5)
    world.add_provider("keyed", key=Secret("s3cret"))
    world.run(main)


def test_a_session_may_speak_to_the_simulator_in_process() -> None:
    async def main() -> None:
        from streamnursery import open_engine

        async with open_engine({}, seed=1) as eng:
            async with eng.session("sim") as session:
                async with session.stream("sim/fast?respond=3", "Hi") as stream:
                    assert (await stream.completion()).usage is not None

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_a_machine_without_beats_of_others_reads_everything_before_a_verdict() -> None:
    async def body(world: World, eng: Engine, session: Session) -> None:
        await session.wait_open()
        clock: Any = trio.lowlevel.current_clock()
        session.send_nowait(echo(1))  # its ping is out
        await trio.sleep(0.3)  # and its pong on the way back
        clock.jump(60)  # this program did something else for a minute
        await trio.sleep(1)
        assert session.statistics().missed_beats == 0
        assert session.state is SessionState.OPEN

    run(body, link=Link(latency=0.2), settings=calm(heartbeat=Heartbeat(30.0, 5.0)))


def test_what_a_session_loses_is_logged_as_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    async def main(world: World) -> None:
        async with world.open_engine(observers=(log_observer(),)) as eng:
            async with eng.session("sim", settings=calm()) as session:
                await session.wait_open()
                await trio.sleep(20)

    with caplog.at_level(logging.INFO, "streamnursery"):
        World(5, plan=on(1, script=(Socket("drop", after=3.0),))).run(main)
    lines = [(record.levelname, record.message.split()[0]) for record in caplog.records]
    assert lines == [
        ("WARNING", "ConnectionLost"),
        ("WARNING", "Reconnecting"),
        ("INFO", "Reconnected"),
    ]
