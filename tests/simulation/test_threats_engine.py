"""Threats to the whole engine, by their ids: keys, prompts, floods, callbacks."""

import copy
import logging
import pickle
import random
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from streamnursery import (
    AuthError,
    ChatRequest,
    Engine,
    EngineError,
    Patience,
    RequestError,
    TextDelta,
    ToolCallDelta,
    log_observer,
    open_engine,
)
from streamnursery.simulator import (
    BadJson,
    CallTool,
    Cut,
    Drip,
    Garbage,
    InStreamError,
    Plan,
    Profile,
    Provider,
    Redirect,
    RefuseConnect,
    Reset,
    ResolveFail,
    SimNetwork,
    Stall,
    Status,
)
from streamnursery.simulator.fault import Fault
from streamnursery.values.lifecycle import LifecycleRecord
from streamnursery.values.secret import Secret
from tests.support.scene import AT_ONCE, always, ask, scene, virtual

KEY = "sk-canary-0123456789"
OTHER_KEY = "sk-other-9876543210"
HEADER = "canary-in-a-header"
PROMPT = "canary prompt, please"

FAILURES: list[Fault] = [
    ResolveFail(),
    RefuseConnect(),
    Status(401),
    Status(429, retry_after=999),
    Status(500, body=f"{KEY} {PROMPT}"),
    Redirect(f"https://elsewhere.example.com/?key={KEY}"),
    Garbage("html"),
    Garbage("not_http"),
    Garbage("endless_line"),
    Reset(2),
    Cut(2),
    BadJson(1),
    InStreamError(1, message=f"{PROMPT} {KEY}"),
    Stall(at=1, seconds=None),
    Stall(at=0, seconds=None),
]


@asynccontextmanager
async def keyed(
    plan: Plan, backup: Plan | None = None
) -> AsyncIterator[tuple[Engine, dict[str, Provider]]]:
    """Two endpoints, each with its own key and headers, on a network that logs what it was sent."""
    plans = {"main": plan, "spare": backup or Plan()}
    keys = {"main": Secret(KEY), "spare": Secret(OTHER_KEY)}
    settings = {
        "defaults": {"retries": {"attempts": 1}, "patience": {"idle": 5, "first_token": 5}},
        "endpoints": {
            name: {"url": f"http://{name}.example.com/v1", "key": keys[name]} for name in plans
        },
        "models": {
            "m": {"routes": [{"endpoint": "main"}]},
            "both": {
                "routes": [{"endpoint": "main", "model": "m"}, {"endpoint": "spare", "model": "m"}]
            },
        },
    }
    providers = {
        name: Provider(
            dice=random.Random(1), models={"m": AT_ONCE}, plan=plans[name], key=keys[name]
        )
        for name in plans
    }
    async with trio.open_nursery() as nursery:
        hosts = {f"{name}.example.com": provider for name, provider in providers.items()}
        network = SimNetwork(nursery, hosts)
        async with open_engine(settings, network=network, observers=[log_observer()]) as eng:
            yield eng, providers
        nursery.cancel_scope.cancel()


async def failure_of(eng: Engine, model: str = "m") -> EngineError:
    with pytest.raises(EngineError) as caught:
        await eng.complete(model, PROMPT)
    return caught.value


@pytest.mark.parametrize("fault", FAILURES, ids=repr)
def test_t1_t2_t6_no_failure_shows_a_key_or_a_prompt(
    fault: Fault, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    @virtual
    async def check() -> None:
        async with keyed(always(fault)) as (eng, _):
            error = await failure_of(eng)
            error.body = None  # the provider's own words stand there and nowhere else
            shown = [
                repr(error),
                str(error),
                repr(error.attempts),
                repr(eng),
                repr(eng.config),
                repr(eng.statistics()),
                repr(copy.copy(error)),
                *traceback.TracebackException.from_exception(error, capture_locals=True).format(),
            ]
            for text in shown:
                assert KEY not in text, text
            for text in shown[:3]:
                assert PROMPT not in text, text

    with caplog.at_level(logging.DEBUG):
        check()
    assert caplog.records
    for record in caplog.records:
        line = record.getMessage() + repr(record.__dict__)
        assert KEY not in line
        assert PROMPT not in line
    assert not recwarn.list


@virtual
async def test_t2_an_error_is_pickled_without_its_keys() -> None:
    async with keyed(always(Status(401))) as (eng, _):
        error = await failure_of(eng)
        data = pickle.dumps(error)
        assert KEY.encode() not in data
        again = pickle.loads(data)
        assert (type(again), again.status, str(again)) == (AuthError, 401, str(error))
        with pytest.raises(TypeError):
            pickle.dumps(eng.config.endpoints["main"])


@virtual
async def test_t4_a_backup_never_sees_the_key_of_the_primary() -> None:
    sent: list[bytes] = []
    async with keyed(always(Status(503))) as (eng, providers):
        transport = eng._transports[0]
        connect = transport._connector.connect

        async def listen(peer: object, another: object) -> object:
            connection = await connect(peer, another)  # type: ignore[arg-type]
            send_all = connection.send_all

            async def record(data: bytes) -> None:
                sent.append(bytes(data))
                await send_all(data)

            connection.send_all = record  # type: ignore[method-assign,assignment]
            return connection

        transport._connector.connect = listen  # type: ignore[method-assign,assignment]
        completion = await eng.complete("both", PROMPT)
        assert completion.route == "spare/m"
        assert providers["spare"].log[0].credential == "right"
    to_main, to_spare = (b"".join(d for d in sent if host in d) for host in (b"main.", b"spare."))
    assert KEY.encode() in to_main
    assert OTHER_KEY.encode() not in to_main
    assert OTHER_KEY.encode() in to_spare
    assert KEY.encode() not in to_spare


@virtual
async def test_t12_a_thousand_drips_do_not_slow_a_hundred_good_streams() -> None:
    settings = {
        "endpoints": {
            "slow": {"url": "http://slow.example.com/v1"},
            "good": {"url": "http://good.example.com/v1"},
        },
        "models": {
            "slow": {"routes": [{"endpoint": "slow", "model": "m"}], "max_streams": 1000},
            "good": {"routes": [{"endpoint": "good", "model": "m"}], "max_streams": 100},
        },
        "engine": {"max_streams": 2000},
    }
    paced = Profile(tokens_per_second=10, output_tokens=(10, 10))
    drip = always(Drip(bytes=1, every=50.0))
    async with trio.open_nursery() as nursery:
        network = SimNetwork(
            nursery,
            {
                "slow.example.com": Provider(dice=random.Random(1), models={"m": paced}, plan=drip),
                "good.example.com": Provider(dice=random.Random(1), models={"m": paced}),
            },
        )
        async with open_engine(settings, network=network) as eng:
            for number in range(200):  # each holds a connection and a task, as a thousand would
                nursery.start_soon(swallow, eng, ChatRequest("slow", [message(number)]))
            await trio.sleep(1)
            before = trio.current_time()
            outcomes = await eng.settle(ChatRequest("good", [message(i)]) for i in range(100))
            assert all(outcome.ok for outcome in outcomes)
            assert trio.current_time() - before == pytest.approx(0.9, rel=0.05)
            eng.cancel_all()
        nursery.cancel_scope.cancel()


def message(number: int) -> dict[str, str]:
    return {"role": "user", "content": str(number)}


async def swallow(eng: Engine, request: ChatRequest) -> None:
    with pytest.raises(EngineError):
        await eng.complete(request)


@virtual
async def test_t13_a_flood_of_small_events_is_held_back_at_the_socket() -> None:
    flood = Profile(output_tokens=(100_000, 100_000))
    async with scene(profile=flood, model={"patience": {"total": 1e9}}) as s:
        async with s.engine.stream("m", "hi", buffer_events=200, buffer_bytes=20_000) as stream:
            seen = 0
            async for event in stream:
                seen += isinstance(event, TextDelta)
                if seen % 10_000 == 0:
                    await trio.sleep(1)
            buffer = stream.statistics().buffer
        assert seen == 100_000
        assert buffer.peak_bytes <= 20_000 + 64 * 1024


@virtual
async def test_t16_tool_arguments_are_text_and_are_handed_over_as_they_came() -> None:
    arguments = '{"__import__": "os", "cmd": [1, 2' + "}" * 5
    async with scene(always(CallTool(function="run", arguments=arguments, fragment=3))) as s:
        reading = await ask(s.engine)
        deltas = [e for e in reading.events if isinstance(e, ToolCallDelta)]
        assert "".join(d.arguments for d in deltas) == arguments
        assert deltas[0].name == "run"


@virtual
async def test_t22_an_observer_that_raises_costs_no_stream() -> None:
    calls = []

    def broken(record: LifecycleRecord) -> None:
        calls.append(record)
        raise ZeroDivisionError

    async with open_engine({}, observers=[broken]) as eng:
        assert (await eng.complete("sim/fast", "hello")).text
    assert len(calls) == 1


@virtual
async def test_t22_an_observer_that_ends_the_program_ends_the_engine() -> None:
    def leave(record: LifecycleRecord) -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        async with open_engine({}, observers=[leave]) as eng:
            await eng.complete("sim/fast", "hello")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"timeout": float("nan")}, "timeout must be a number"),
        ({"deadline": float("nan")}, "deadline must be a number"),
        ({"timeout": -1}, "timeout must be 0 or more"),
        ({"buffer_events": 0}, "buffer_events must be"),
        ({"buffer_bytes": True}, "buffer_bytes must be"),
        ({"max_tokens": 0}, "max_tokens must be"),
        ({"temperature": 9}, "temperature must be"),
        ({"extra": {"stream": False}}, "may not contain 'stream'"),
        ({"nonsense": 1}, "nonsense"),
        ({"priority": "urgent"}, "priority must be a Priority"),
        ({"patience": {"idle": 1}}, "patience must be a Patience"),
        ({"retries": 3}, "retries must be a Retries"),
    ],
)
def test_bad_options_are_one_request_error_that_names_them(
    options: dict[str, object], says: str
) -> None:
    @virtual
    async def check() -> None:
        async with open_engine({}) as eng:
            with pytest.raises(RequestError, match=says):
                eng.stream("sim/fast", "hello", **options)  # type: ignore[arg-type]
            with pytest.raises(RequestError, match="empty"):
                eng.stream("sim/fast", [])

    check()


@virtual
async def test_limits_must_be_whole_numbers() -> None:
    async with open_engine({}) as eng:
        for bad in (-1, 1.5, True, "3"):
            with pytest.raises(RequestError, match="max_streams must be a whole number"):
                eng.set_limits(model="m", max_streams=bad)  # type: ignore[arg-type]


def test_patience_is_refused_when_it_is_nonsense() -> None:
    with pytest.raises((ValueError, TypeError), match="idle"):
        Patience(idle=-1)
