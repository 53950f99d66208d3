"""Sessions from asyncio and from threads, with the provider that is built in."""

import asyncio
import threading
from typing import Any

import pytest

import streamnursery.aio as an
import streamnursery.sync as sn
from streamnursery.values.session import Heartbeat, SendOutcome, SessionSettings
from tests.support.bridged import run
from tests.support.guard import GUARD

REALTIME = "/v1/realtime?model=fast"
ITEM: dict[str, Any] = {
    "type": "conversation.item.create",
    "item": {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": "Hi"}],
    },
}
OFTEN = SessionSettings(heartbeat=Heartbeat(interval=0.01, timeout=GUARD))


def test_asyncio_streams_over_a_session_and_reads_its_events() -> None:
    async def main() -> None:
        async with an.open_engine() as eng:
            async with eng.session("sim") as session:
                await session.wait_open()
                async with session.stream("sim/fast", "Hi") as stream:
                    completion = await stream.completion()
                again = session.stream(
                    "sim/fast", "Go on", previous_response_id=completion.response_id
                )
                async with again as stream:
                    assert "".join([text async for text in stream.text()])
                assert await session.beat() >= 0
                assert (session.number, session.endpoint) == (1, "sim")
                assert session.state.value == "open"
                assert session.error is None
                assert (await session.statistics()).connections == 1
                assert "AioSession 1 with sim" in repr(session)
            assert session.state.value == "closed"
            assert (await eng.statistics()).sessions == 0

    run(main)


def test_asyncio_sends_and_reads_a_realtime_dialogue() -> None:
    async def main() -> None:
        async with an.open_engine() as eng:
            async with eng.session("sim", path=REALTIME) as session:
                receipt = session.send_nowait(ITEM)
                assert await receipt.wait() is SendOutcome.DELIVERED
                assert receipt.outcome is SendOutcome.DELIVERED
                await session.send({"type": "response.create"})
                kinds = []
                async for event in session:
                    kinds.append(event["type"])
                    if event["type"] == "response.done":
                        break
                assert len(kinds) > 3
                await session.send({"type": "response.create"})
                async for typed in session.typed():
                    if isinstance(typed, an.Finished):
                        break
                with pytest.raises(an.RequestError):
                    await session.send("no object")  # type: ignore[arg-type]
                reading = asyncio.create_task(anext(session))
                await eng.statistics()
                reading.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await reading
            with pytest.raises(an.EngineError):
                await session.send(ITEM)

    run(main)


def test_a_session_that_cannot_be_opened_says_why() -> None:
    async def main() -> None:
        async with an.open_engine() as eng:
            with pytest.raises(an.ConfigError, match="no endpoint is called"):
                async with eng.session("nowhere"):
                    pytest.fail("entered")

    run(main)
    with sn.open_engine() as eng, pytest.raises(sn.ConfigError, match="no endpoint is called"):
        with eng.session("nowhere"):
            pytest.fail("entered")


def test_a_heartbeat_of_asyncio_runs_on_its_loop() -> None:
    beats: set[int] = set()

    async def main() -> None:
        beaten = asyncio.Event()

        async def beat(session: an.Session) -> None:
            assert session.endpoint == "sim"
            beats.add(threading.get_ident())
            beaten.set()

        async with an.open_engine() as eng:
            async with eng.session("sim", settings=OFTEN, heartbeat=beat) as session:
                await session.wait_open()
                await beaten.wait()

    run(main)
    assert beats == {threading.get_ident()}


def test_threads_have_sessions_too() -> None:
    beaten = threading.Event()
    with sn.open_engine() as eng:
        with eng.session(
            "sim", path=REALTIME, settings=OFTEN, heartbeat=lambda _: beaten.set()
        ) as session:
            session.wait_open()
            session.send(ITEM)
            assert session.send_nowait({"type": "response.create"}).wait() is SendOutcome.DELIVERED
            for event in session:
                if event["type"] == "response.done":
                    break
            session.send({"type": "response.create"})
            found = next(e for e in session.typed() if isinstance(e, sn.Finished))
            assert found.reason == "completed"
            assert beaten.wait(GUARD)
            assert session.statistics().connections == 1
            assert session.beat() >= 0
        with eng.session("sim") as session, session.stream("sim/fast", "Hi") as stream:
            assert stream.completion().text
        assert eng.statistics().sessions == 0
