"""Sessions against aimock's WebSockets: answers, a realtime dialogue, errors, and its death."""

import contextlib
import json
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from streamnursery import (
    Engine,
    EngineError,
    Finished,
    RateLimitedError,
    ServerError,
    SessionSettings,
    TextDelta,
    open_engine,
)
from streamnursery.sessions import Session
from streamnursery.values.session import Reconnect
from tests.support.cli import empty_world
from tests.support.peers import INSTALLED, free_port, needs, serving

AIMOCK = "npm/node_modules/.bin/aimock"
pytestmark = [pytest.mark.contract, needs(AIMOCK, "node")]
ANSWER = "Hello in several chunks. Ünïcödé 日本語 🙂 done."
FIXTURES: list[dict[str, Any]] = [
    {"match": {"userMessage": "hello"}, "response": {"content": ANSWER}, "chunkSize": 5},
    {
        "match": {"userMessage": "slow"},
        "response": {"content": ANSWER},
        "chunkSize": 4,
        "latency": 30,
    },
    {
        "match": {"userMessage": "tool"},
        "response": {"toolCalls": [{"name": "weather", "arguments": '{"city":"Oslo"}'}]},
    },
    {
        "match": {"userMessage": "limit"},
        "response": {"error": {"message": "m", "type": "rate_limit_error"}, "status": 429},
    },
    {
        "match": {"userMessage": "boom"},
        "response": {"error": {"message": "m", "type": "server_error"}, "status": 503},
    },
]
RECONNECT = Reconnect(attempts=60, base=0.05, cap=1.0, max_restarts=1000)
SETTINGS = SessionSettings(reconnect=RECONNECT)


def command(folder: Path, port: int) -> list[str]:
    (folder / "f.json").write_text(json.dumps({"fixtures": FIXTURES}))
    # Its other command, `aimock`, reads a configuration file instead.
    program = (INSTALLED / AIMOCK).with_name("llmock")
    return [str(program), "-p", str(port), "-h", "127.0.0.1", "-f", str(folder / "f.json")]


def config(url: str, attempts: int = 1) -> dict[str, Any]:
    return {
        "endpoints": {"peer": {"url": url, "dialect": "openai-responses", "auth": "none"}},
        "defaults": {"max_streams": 200, "retries": {"attempts": attempts, "base": 0.05}},
    }


@asynccontextmanager
async def aimock(folder: Path, **options: Any) -> AsyncIterator[tuple[Engine, Session]]:
    port = free_port()
    with serving(port, folder, *command(folder, port)) as url, trio.fail_after(200):
        async with open_engine(config(url)) as eng:
            async with eng.session("peer", settings=SETTINGS, **options) as session:
                yield eng, session


async def text(opener: Any, prompt: str) -> str:
    async with opener.stream("m", prompt) as stream:
        found: str = (await stream.completion()).text
    return found


async def test_answers_come_over_http_and_over_a_session_alike(tmp_path: Path) -> None:
    async with aimock(tmp_path) as (eng, session):
        assert await text(eng, "hello") == ANSWER
        assert [await text(session, "hello") for _ in range(3)] == [ANSWER] * 3
        async with session.stream("m", "tool") as stream:
            (call,) = (await stream.completion()).tool_calls
        assert (call.name, call.arguments) == ("weather", '{"city":"Oslo"}')
        # It does not say which lane an event belongs to.
        assert session._core.lanes.lanes_known is False
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(text, session, "slow")


async def test_errors_are_typed_and_the_session_goes_on(tmp_path: Path) -> None:
    async with aimock(tmp_path) as (_, session):
        with pytest.raises(RateLimitedError):
            await text(session, "limit")
        await trio.sleep(2)
        with pytest.raises(ServerError):
            await text(session, "boom")
        assert await text(session, "hello") == ANSWER
        assert session.statistics().reconnects == 0


async def test_an_answer_that_is_left_does_not_reach_the_next_one(tmp_path: Path) -> None:
    async with aimock(tmp_path) as (_, session):
        for _ in range(3):
            async with session.stream("m", "slow") as stream:
                async for _ in stream:
                    break
            assert await text(session, "hello") == ANSWER


async def test_a_realtime_dialogue_has_text_turns(tmp_path: Path) -> None:
    async with aimock(tmp_path, path="/v1/realtime?model=gpt-realtime") as (_, session):
        await session.send({"type": "session.update", "session": {"modalities": ["text"]}})
        content = [{"type": "input_text", "text": "hello"}]
        item = {"type": "message", "role": "user", "content": content}
        for _ in range(2):
            await session.send({"type": "conversation.item.create", "item": item})
            await session.send({"type": "response.create"})
            said = ""
            async for event in session.typed():
                if isinstance(event, TextDelta):
                    said += event.text
                elif isinstance(event, Finished):
                    break
            assert said == ANSWER


@contextmanager
def mortal(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A server that somebody may kill."""
    with (folder / "mortal.log").open("ab") as out:
        process = subprocess.Popen(
            command(folder, port), env=empty_world(folder), stdout=out, stderr=out
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        process.wait()


async def kill_and_restart(
    folder: Path, port: int, times: int, alive: float, done: trio.Event
) -> int:
    killed = 0
    while not done.is_set():
        with mortal(folder, port):
            with trio.move_on_after(alive if killed < times else 600):
                await done.wait()
        if not done.is_set():
            killed += 1
            await trio.sleep(0.2)
    return killed


@pytest.mark.parametrize(("sessions", "turns", "kills"), [(100, 20, 10)])
async def test_killed_and_restarted_in_mid_turn_every_turn_is_whole_or_a_typed_failure(
    tmp_path: Path, sessions: int, turns: int, kills: int
) -> None:
    port = free_port()
    outcomes: Counter[str] = Counter()
    partials: list[str] = []
    done = trio.Event()
    killed = 0

    async def killer() -> None:
        nonlocal killed
        killed = await kill_and_restart(tmp_path, port, kills, 0.5, done)

    async def talk(eng: Engine) -> None:
        async with eng.session("peer", settings=SETTINGS) as session:
            for _ in range(turns):
                try:
                    said = await text(session, "slow")
                except EngineError as error:
                    outcomes[error.category] += 1
                    partials.append(error.partial.text if error.partial else "")
                else:
                    assert said == ANSWER
                    outcomes["whole"] += 1

    with trio.fail_after(280):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(killer)
            async with open_engine(config(f"http://127.0.0.1:{port}/v1", attempts=5)) as eng:
                async with trio.open_nursery() as talkers:
                    for _ in range(sessions):
                        talkers.start_soon(talk, eng)
                assert eng.statistics().sessions == 0
                assert eng.statistics().session_connections == 0
            done.set()
    print(f"{killed} kills; {dict(outcomes)}")
    assert sum(outcomes.values()) == sessions * turns
    assert all(ANSWER.startswith(partial) for partial in partials)
    assert killed == kills
    assert set(outcomes) <= {"whole", "network_error", "server_error", "truncated_error"}
    assert outcomes["whole"] > sessions * turns / 2
