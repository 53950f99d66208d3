"""Several keys of one endpoint."""

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

import streamnursery as sn
from streamnursery.config import config_from_mapping
from streamnursery.simulator import Plan, Status
from streamnursery.testing import World, cancel_at_every_step, wait_quiescent
from streamnursery.values.keys import base_name, with_keys
from tests.support.bridged import aio_scene, run, sync_scene
from tests.support.recorded import Recorded, engine_at
from tests.support.scene import PACED, once, scene, virtual

POINTS = {"test": 8, "proof": 40, "soak": None}
URL = "http://main.example.com/v1"
KEYS = [sn.Secret("key-one"), sn.Secret("key-two"), sn.Secret("key-three")]


def main(count: int = 2, **more: Any) -> dict[str, Any]:
    """The endpoint of a scene, with so many keys."""
    return {"endpoints": {"main": {"url": URL, "keys": KEYS[:count], **more}}}


def route_of(outcome: sn.Outcome) -> str:
    assert outcome.completion is not None, outcome
    return outcome.completion.route


@given(
    count=st.integers(1, 3), most=st.integers(1, 3), tenants=st.text("ab", min_size=1, max_size=20)
)
def test_the_least_used_key_goes_first_and_each_has_the_limits_for_itself(
    count: int, most: int, tenants: str
) -> None:
    async def check() -> None:
        async with scene(profile=PACED, **main(count, max_streams=most)) as place:
            requests = [sn.ChatRequest("m", "Hi", tenant=tenant) for tenant in tenants]
            used = Counter(map(route_of, await place.engine.settle(requests)))
            names = [f"main{n}" for n in ("", "#2", "#3")[:count]]
            each = [used[f"{name}/m"] for name in names]
            assert max(each) - min(each) <= 1
            limits = {limit.name: limit for limit in place.engine.snapshot().limits}
            assert {limits[f"endpoint '{name}'"].max_streams for name in names} == {most}
            assert place.engine.statistics().total.peak_active <= count * most

    trio.run(check, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize(
    "refusal", [Status(401), Status(429, error="insufficient_quota")], ids=["401", "quota"]
)
@virtual
async def test_a_key_that_is_refused_rests_and_the_request_goes_on_with_another(
    refusal: Status,
) -> None:
    async with scene(once(refusal), **main()) as place:
        eng = place.engine
        first = await eng.complete("m", "Hi")
        assert first.route == "main#2/m"
        assert [attempt.route for attempt in first.attempts] == ["main/m", "main#2/m"]
        for _ in range(4):
            assert (await eng.complete("m", "Hi")).route == "main#2/m", "the bad one rests"
        await trio.sleep(61)
        assert {(await eng.complete("m", "Hi")).route for _ in range(2)} == {"main/m", "main#2/m"}


@virtual
async def test_when_all_keys_are_refused_each_was_tried_once() -> None:
    async with scene(Plan.always(Status(401)), **main(3)) as place:
        with pytest.raises(sn.AuthError) as caught:
            await place.engine.complete("m", "Hi")
        assert [a.route for a in caught.value.attempts] == ["main/m", "main#2/m", "main#3/m"]
        assert place.asked == 3


@virtual
async def test_budgets_and_reports_know_the_endpoint_and_not_its_keys() -> None:
    price = {"price": {"input": "1", "output": "1"}}
    budget: dict[str, Any] = {"budgets": {"endpoints": {"main": {"daily": "0.000030"}}}}
    async with scene(model=price, **main(), **budget) as place:
        requests = [sn.ChatRequest("m", "Hi", max_tokens=10) for _ in range(9)]
        outcomes = await place.engine.settle(requests)
        assert 1 <= sum(outcome.ok for outcome in outcomes) <= 3
        lines = place.engine.usage_report().lines
    assert {line.endpoint for line in lines} == {"main"}


@virtual
async def test_a_reload_takes_keys_over() -> None:
    async with scene(**main(1)) as place:
        assert (await place.engine.complete("m", "Hi")).route == "main/m"
        models = {"m": {"routes": [{"endpoint": "main"}]}}
        place.engine.reload({**main(2), "models": models})
        routes = {(await place.engine.complete("m", "Hi")).route for _ in range(2)}
        assert routes == {"main/m", "main#2/m"}


ANSWER = [
    b'data: {"choices":[{"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\n',
    b"data: [DONE]\n\n",
]
MODEL: dict[str, Any] = {"models": {"m": {"routes": [{"endpoint": "main"}], "max_streams": 1}}}


@given(
    before=st.lists(st.sampled_from(KEYS), min_size=1, unique=True),
    after=st.lists(st.sampled_from(KEYS), min_size=1, unique=True),
    queued=st.integers(1, 6),
)
@example(before=KEYS[:2], after=KEYS[2:], queued=2)
def test_what_is_queued_goes_with_the_keys_that_are_now(
    before: list[sn.Secret], after: list[sn.Secret], queued: int
) -> None:
    async def check() -> None:
        recorded = Recorded(ANSWER)
        config = {"endpoints": {"main": {"url": URL, "keys": before}}, **MODEL}
        async with engine_at(recorded, config) as eng, trio.open_nursery() as nursery:
            async with eng.lease("m"):
                for number in range(queued):
                    ask = partial(eng.complete, "m", "Hi", tenant="ab"[number % 2])
                    nursery.start_soon(ask)
                await wait_all_tasks_blocked()
                eng.reload({"endpoints": {"main": {"url": URL, "keys": after}}, **MODEL})
        sent = {asked.headers["authorization"] for asked in recorded.asked}
        assert len(recorded.asked) == queued
        assert sent <= {f"Bearer {key.reveal()}" for key in after}

    trio.run(check, clock=MockClock(autojump_threshold=0))


@virtual
async def test_a_key_that_was_replaced_rests_no_longer() -> None:
    models = {"m": {"routes": [{"endpoint": "main"}]}}
    async with scene(once(Status(401)), **main(2)) as place:
        eng = place.engine
        assert (await eng.complete("m", "Hi")).route == "main#2/m"
        eng.reload({"endpoints": {"main": {"url": URL, "keys": KEYS[2:0:-1]}}, "models": models})
        assert {(await eng.complete("m", "Hi")).route for _ in range(2)} == {"main/m", "main#2/m"}


def test_keys_come_from_files_and_the_environment_and_what_is_absent_is_left_out(
    tmp_path: Path,
) -> None:
    (tmp_path / "key").write_text("of-a-file\n")
    keys = [{"env": "GONE"}, {"env": "ONE"}, {"file": str(tmp_path / "key")}]
    mapping = {"endpoints": {"main": {"url": URL, "keys": keys}}}
    endpoint = config_from_mapping(mapping, environ={"ONE": "of-env"}).endpoints["main"]
    assert endpoint.key is not None
    assert endpoint.secrets == (sn.Secret("of-env"), sn.Secret("of-a-file"))
    assert "of-env" not in repr(endpoint)
    alone = {"endpoints": {"main": {"url": URL, "keys": keys[:1]}}}
    absent = config_from_mapping(alone, environ={}).endpoints["main"]
    assert "GONE is not set" in absent.missing_key


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"keys": ["sk-secret"]}, "a key does not belong here"),
        ({"keys": []}, "must be a list such as"),
        ({"keys": {"env": "A"}}, "must be a list such as"),
        ({"keys": [{"command": "print-it"}]}, "`command` must be an array of a program"),
        ({"keys": [{"command": ["x"]}, {"command": ["x"]}]}, "names one key twice"),
        ({"keys": [KEYS[0], KEYS[0]]}, "names one key twice"),
        ({"keys": KEYS, "key": KEYS[0]}, "`key` another one; leave one of them out"),
    ],
)
def test_keys_that_cannot_be_used_are_mistakes(fields: Any, message: str) -> None:
    with pytest.raises(sn.ConfigError) as caught:
        config_from_mapping({"endpoints": {"main": {"url": URL, **fields}}}, environ={})
    assert message in str(caught.value)
    assert "sk-secret" not in str(caught.value)


def test_an_endpoint_that_is_called_like_a_key_is_a_mistake() -> None:
    config = config_from_mapping({"endpoints": {"main": {"url": URL, "keys": KEYS}}}, environ={})
    other = attrs.evolve(config.endpoints["main"], name="main#2", more_keys=())
    config = attrs.evolve(config, endpoints={**config.endpoints, "main#2": other})
    with pytest.raises(sn.ConfigError, match="stands for a key of 'main'"):
        with_keys(config)
    assert (base_name("main#12"), base_name("a#b")) == ("main", "a#b")


def test_from_asyncio_and_threads_keys_take_turns_too() -> None:
    async def body() -> None:
        async with aio_scene(**main()) as (eng, _):
            assert {(await eng.complete("m", "Hi")).route for _ in range(2)} == {
                "main/m",
                "main#2/m",
            }

    run(body)
    with sync_scene(**main()) as (eng, _):
        assert len({eng.complete("m", "Hi").route for _ in range(2)}) == 2


def test_a_request_with_several_keys_that_is_cancelled_anywhere_leaves_nothing(tier: str) -> None:
    async def scenario(world: World, scope: trio.CancelScope) -> None:
        world.add_provider("keyed", plan=once(Status(401)))
        endpoints = {"keyed": {"url": "http://keyed.test/v1", "keys": KEYS}}
        models = {"m": {"routes": [{"endpoint": "keyed", "model": "fast"}], "max_streams": 1}}
        async with world.open_engine({"endpoints": endpoints, "models": models}) as eng:
            with scope:
                for tenant in "ab":
                    await eng.complete("m", "Hi", tenant=tenant, max_tokens=3)
            await wait_quiescent(eng)

    report = cancel_at_every_step(scenario, most=POINTS[tier])
    assert report.points >= min(report.possible, 5)
