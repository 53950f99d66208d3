"""Limits over several models: groups of them, and tenants. One decision, all or nothing."""

from collections import Counter
from typing import Any

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

import streamnursery as sn
from streamnursery.config import config_from_mapping
from streamnursery.testing import World, cancel_at_every_step, wait_quiescent
from tests.support.bridged import aio_scene, run, sync_scene
from tests.support.scene import scene, virtual

POINTS = {"test": 10, "proof": 60, "soak": None}
GROUPS = {"all": ["m-*"], "big": ["m-1", "m-2*"], "one": ["m-1"]}
MODELS = ("m-1", "m-2", "m-3")

most = st.none() | st.integers(1, 4)
calls = st.lists(
    st.tuples(
        st.sampled_from(MODELS), st.sampled_from("abc"), st.integers(1, 5), st.integers(0, 6)
    ),
    max_size=25,
)
"""Model, tenant, seconds that it holds its slots, seconds after which it gives up waiting; 0: no
bound."""


def members(name: str) -> set[str]:
    return {"all": set(MODELS), "big": {"m-1", "m-2"}, "one": {"m-1"}}[name]


@given(
    calls,
    st.fixed_dictionaries(dict.fromkeys(GROUPS, most)),
    st.fixed_dictionaries({"a": most, "b": most}),
    st.integers(1, 6),
)
@example([("m-1", "a", 1, 0)] * 2, dict.fromkeys(GROUPS), {"a": 1, "b": None}, 2)
@example([("m-1", "c", 1, 0)] * 2, {**dict.fromkeys(GROUPS), "one": 1}, {"a": None, "b": None}, 2)
def test_no_limit_is_passed_and_nothing_is_free_that_somebody_waits_for(
    calls: list[tuple[str, str, int, int]],
    groups: dict[str, int | None],
    tenants: dict[str, int | None],
    total: int,
) -> None:
    config = {
        "engine": {"max_streams": total},
        "groups": {
            name: {"models": GROUPS[name], **({} if limit is None else {"max_streams": limit})}
            for name, limit in groups.items()
        },
        "tenants": {
            name: {} if limit is None else {"max_streams": limit} for name, limit in tenants.items()
        },
    }
    held: Counter[tuple[str, str]] = Counter()
    waiting: Counter[tuple[str, str]] = Counter()

    def room(model: str, tenant: str) -> bool:
        """Whether a call would fit, by our own books."""
        taken = {
            name: sum(n for (m, _), n in held.items() if m in members(name)) for name in GROUPS
        }
        own = sum(n for (_, t), n in held.items() if t == tenant)
        limits = [(held.total(), total), (own, tenants.get(tenant))]
        limits += [(taken[name], groups[name]) for name in GROUPS if model in members(name)]
        return all(limit is None or count < limit for count, limit in limits)

    async def main() -> None:
        async with sn.open_engine(config) as eng:

            async def one(model: str, tenant: str, seconds: int, patience: int) -> None:
                waiting[model, tenant] += 1
                try:
                    async with eng.lease(model, tenant=tenant, timeout=patience or None):
                        waiting[model, tenant] -= 1
                        assert room(model, tenant)
                        held[model, tenant] += 1
                        try:
                            await trio.sleep(seconds)
                        finally:
                            held[model, tenant] -= 1
                except sn.AdmissionError:
                    waiting[model, tenant] -= 1

            async def watch() -> None:
                while True:
                    await trio.sleep(0.5)
                    await wait_all_tasks_blocked()
                    for (model, tenant), count in waiting.items():
                        assert not (count and room(model, tenant)), (model, tenant)

            async with trio.open_nursery() as all_:
                all_.start_soon(watch)
                async with trio.open_nursery() as nursery:
                    for call in calls:
                        nursery.start_soon(one, *call)
                all_.cancel_scope.cancel()
            assert held.total() == waiting.total() == 0

    trio.run(main, clock=MockClock(autojump_threshold=0))


@virtual
async def test_explain_names_the_limit_that_binds() -> None:
    config: dict[str, Any] = {
        "groups": {"expensive": {"models": ["m", "x*"], "max_streams": 2}},
        "tenants": {"acme": {"max_streams": 1}},
    }
    async with scene(**config) as place:
        eng = place.engine
        async with eng.lease("x1", tenant="acme"):
            told = str(eng.explain("m", "Hi", tenant="acme"))
            assert "a slot of tenant 'acme' (1 of 1 taken)" in told
            assert "could start now" in str(eng.explain("m", "Hi"))
            async with eng.lease("x2"):
                told = str(eng.explain("m", "Hi"))
                assert "a slot of group 'expensive' (2 of 2 taken)" in told
                names = {limit.name: limit for limit in eng.snapshot().limits}
                assert names["group 'expensive'"].taken == 2
                assert names["tenant 'acme'"].max_streams == 1


@virtual
async def test_limits_per_minute_are_shared_and_corrected_by_what_was_used() -> None:
    config: dict[str, Any] = {
        "groups": {"g": {"models": ["a", "b"], "tpm": 1000, "burst": 1}},
        "tenants": {"t": {"rpm": 2, "burst": 1}},
    }
    async with scene(**config) as place:
        eng = place.engine
        async with eng.lease("a", input_tokens=900) as lease:
            lease.report(input_tokens=600)
        async with eng.lease("b", input_tokens=400):
            assert trio.current_time() == 0
        with pytest.raises(sn.errors.QueueDeadlineError, match="group 'g'"):
            await eng.run("a", trio.sleep, 0, input_tokens=1, timeout=1)
        with pytest.raises(sn.errors.TooManyTokensError, match="of group 'g'"):
            await eng.run("a", trio.sleep, 0, input_tokens=1001)
        for model in ("c", "d"):
            await eng.run(model, trio.sleep, 0, tenant="t")
        with pytest.raises(sn.errors.QueueDeadlineError, match="tenant 't'"):
            await eng.run("e", trio.sleep, 0, tenant="t", timeout=1)


@virtual
async def test_a_reload_changes_tenants_and_groups() -> None:
    models = {"m": {"routes": [{"endpoint": "main"}]}}
    endpoints = {"main": {"url": "http://main.example.com/v1"}}
    base: dict[str, Any] = {"models": models, "endpoints": endpoints}
    async with scene(tenants={"a": {"max_streams": 1}}) as place:
        eng = place.engine
        async with eng.lease("x", tenant="a"):
            more = {"tenants": {"a": {"max_streams": 2}, "b": {"max_streams": 1}}}
            report = eng.reload({**base, **more, "groups": {"g": {"models": ["m"]}}})
            assert report.changed == ("tenants.a", "tenants.b", "groups.g")
            async with eng.lease("x", tenant="a"), eng.lease("x", tenant="b"):
                with pytest.raises(sn.errors.NestedLeaseError, match="1 slots of tenant 'b'"):
                    await eng.run("y", trio.sleep, 0, tenant="b")


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"groups": {"g": {"max_streams": 2}}}, 'write models = ["gpt-4.1*"]'),
        ({"groups": {"g": {"models": "m"}}}, "groups.g.models"),
        ({"tenants": {"t": {"rpm": 0}}}, "tenants.t.rpm"),
    ],
)
def test_a_limit_that_cannot_hold_is_a_mistake(mapping: dict[str, Any], message: str) -> None:
    with pytest.raises(sn.ConfigError) as caught:
        config_from_mapping(mapping, environ={})
    assert message in str(caught.value)


def test_from_asyncio_and_threads_groups_hold_too() -> None:
    config: dict[str, Any] = {"groups": {"g": {"models": ["m"], "max_streams": 1}}}
    requests = [sn.ChatRequest("m", "Hi", tenant=tenant) for tenant in "abab"]

    async def body() -> None:
        async with aio_scene(**config) as (eng, _):
            assert all(outcome.ok for outcome in await eng.settle(requests))
            assert (await eng.statistics()).models["m"].peak_active == 1

    run(body)
    with sync_scene(**config) as (eng, _):
        assert all(outcome.ok for outcome in eng.settle(requests))
        assert eng.statistics().models["m"].peak_active == 1


def test_a_request_under_all_kinds_of_limits_that_is_cancelled_anywhere_leaves_nothing(
    tier: str,
) -> None:
    async def scenario(world: World, scope: trio.CancelScope) -> None:
        config: dict[str, Any] = {
            "groups": {"g": {"models": ["sim/*"], "max_streams": 1, "rpm": 100}},
            "tenants": {"a": {"max_streams": 1}, "b": {"tpm": 100_000}},
        }
        async with world.open_engine(config) as eng:
            with scope:
                requests = [
                    sn.ChatRequest("sim/fast", "Hi", max_tokens=2, tenant=tenant)
                    for tenant in "abab"
                ]
                assert all(outcome.ok for outcome in await eng.settle(requests))
            await wait_quiescent(eng)

    report = cancel_at_every_step(scenario, most=POINTS[tier])
    assert report.points >= min(report.possible, 8)
