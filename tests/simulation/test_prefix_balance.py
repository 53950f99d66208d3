"""Balancing by what replicas have seen of a prompt: four of them with a prefix cache each."""

import random
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

import streamnursery as sn
from streamnursery.core.routing.prefix_affinity import BLOCK, FREE, SLACK, PrefixAffinity, prefixes
from streamnursery.simulator import Plan, Status
from streamnursery.simulator.prefix_cache import PrefixCache
from streamnursery.simulator.question import question_of
from streamnursery.testing import World, cancel_at_every_step, wait_quiescent
from tests.support.bridged import aio_scene, run, sync_scene
from tests.support.scene import AT_ONCE, Scene, once, scene, virtual

POINTS = {"test": 6, "proof": 30, "soak": None}
REPLICAS = ("main", "r2", "r3", "r4")
BACKUPS = {name: Plan() for name in REPLICAS[1:]}
PREFIX: dict[str, Any] = {"balance": "prefix"}
KEYED: dict[str, Any] = {
    "endpoints": {
        "main": {
            "url": "http://main.example.com/v1",
            "keys": [sn.Secret(f"key-{number}") for number in range(4)],
        }
    }
}


CACHING = attrs.evolve(AT_ONCE, prefix_cache=1_000_000)


def conversations(count: int, turns: int, seed: int) -> list[str]:
    """Prompts of so many conversations, each with a system prompt of one of eight applications,
    growing turn by turn and interleaved by chance."""
    dice = random.Random(seed)
    apps = ["".join(dice.choices("abcdefgh ", k=3000)) for _ in range(8)]
    said = [apps[dice.randrange(8)] for _ in range(count)]
    prompts = []
    left = [number for number in range(count) for _ in range(turns)]
    dice.shuffle(left)
    for number in left:
        said[number] += "".join(dice.choices("ijklmn ", k=dice.randrange(300, 1500)))
        prompts.append(said[number])
    return prompts


def route_of(outcome: sn.Outcome) -> str:
    assert outcome.completion is not None, outcome.error
    return outcome.completion.route.partition("/")[0]


async def hit_rate(place: Scene, prompts: Sequence[str]) -> tuple[float, float]:
    """Ask for all prompts of two tenants, one after the other: what was found in the caches of what
    one cache for all would have had, and the largest load of the mean."""
    whole, perfect, load, hits = PrefixCache(), 0, Counter[str](), 0
    for number, prompt in enumerate(prompts):
        request = sn.ChatRequest("m", prompt, max_tokens=1, tenant="ab"[number % 2])
        [outcome] = await place.engine.settle([request])
        load[route_of(outcome)] += 1
        assert outcome.completion is not None and outcome.completion.usage is not None
        hits += outcome.completion.usage.cached_tokens or 0
        perfect += whole.look_up(question_of(request), CACHING.prefix_cache)
    return hits / perfect, max(load.values()) * len(load) / len(prompts)


@pytest.mark.every(3)
@pytest.mark.parametrize("seed", range(3))
def test_nearly_all_that_could_be_cached_is_found_and_no_replica_is_crowded(seed: int) -> None:
    @virtual
    async def check() -> None:
        async with scene(profile=CACHING, backups=BACKUPS, model=PREFIX) as place:
            found, crowded = await hit_rate(place, conversations(60, 8, seed))
        assert found >= 0.9 and crowded <= 1.5

    check()


@pytest.mark.every(3)
@pytest.mark.parametrize("seed", range(3))
def test_keys_of_one_endpoint_are_replicas_too(seed: int) -> None:
    @virtual
    async def check() -> None:
        async with scene(profile=CACHING, model=PREFIX, **KEYED) as place:
            found, crowded = await hit_rate(place, conversations(60, 8, seed))
        assert found >= 0.9 and crowded <= 1.5

    check()


@virtual
async def test_a_key_that_rests_is_left_out_whatever_it_has_seen() -> None:
    refusals = once(Status(401), requests=(2,))
    async with scene(refusals, profile=CACHING, model=PREFIX, **KEYED) as place:
        ask = partial(place.engine.complete, "m", "word " * 100, max_tokens=1)
        first = (await ask()).route
        second = await ask()
        assert second.attempts[0].route == first != second.route
        later = {(await ask()).route for _ in range(3)}
        assert len(later) == 1 and first not in later


@virtual
async def test_one_popular_prompt_is_spread_when_it_is_too_much_for_one() -> None:
    async with scene(profile=AT_ONCE, backups=BACKUPS, model=PREFIX) as place:
        requests = [sn.ChatRequest("m", "x" * 5000, max_tokens=1) for _ in range(200)]
        load = Counter(map(route_of, await place.engine.settle(requests)))
    assert max(load.values()) <= 1.5 * 200 / 4


@virtual
async def test_an_affinity_key_holds_prompts_together_that_have_nothing_in_common() -> None:
    async with scene(profile=AT_ONCE, backups=BACKUPS, model=PREFIX) as place:
        routes: dict[str, set[str]] = {}
        for number in range(40):
            key = "abcdefgh"[number % 8]
            request = sn.ChatRequest("m", f"{number} of all", max_tokens=1, affinity=key)
            [outcome] = await place.engine.settle([request])
            routes.setdefault(key, set()).add(route_of(outcome))
        assert all(len(found) == 1 for found in routes.values())
        with pytest.raises(sn.RequestError, match="affinity must be text"):
            await place.engine.complete("m", "Hi", affinity=5)  # type: ignore[call-overload]


texts = st.lists(st.text("ab", max_size=3 * BLOCK), min_size=1, max_size=4)


@given(texts, texts)
def test_prefixes_are_shared_as_far_as_prompts_are(one: list[str], other: list[str]) -> None:
    def names(parts: list[str]) -> Sequence[bytes]:
        return prefixes(sn.ChatRequest("m", [{"role": "user", "content": part} for part in parts]))

    assert names(one) == names(one)
    assert names([*one, *other])[: len(names(one))] == names(one)
    assert (names(one) == names(other)) == (one == other)


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 5)), max_size=200), st.integers(2, 5))
def test_a_replica_never_has_more_than_its_share_and_a_quarter(
    asked: list[tuple[int, float]], count: int
) -> None:
    affinity, now = PrefixAffinity(), 0.0
    replicas = [f"r{number}" for number in range(count)]
    for prompt, seconds in asked:
        now += seconds
        affinity.choose(replicas, (bytes([prompt]),), now)
        loads = [affinity._loads[name].now(now) for name in replicas]
        assert max(loads) <= SLACK * sum(loads) / count + FREE + 1e-9


def test_from_asyncio_and_threads_prompts_stay_together_too() -> None:
    options: dict[str, Any] = {"backups": BACKUPS, "model": PREFIX}

    async def body() -> None:
        async with aio_scene(**options) as (eng, _):
            found = {(await eng.complete("m", "x" * 999, affinity="k")).route for _ in range(3)}
            assert len(found) == 1

    run(body)
    with sync_scene(**options) as (eng, _):
        assert len({eng.complete("m", "x" * 999).route for _ in range(3)}) == 1


def test_a_request_that_is_balanced_and_cancelled_anywhere_leaves_nothing(tier: str) -> None:
    async def scenario(world: World, scope: trio.CancelScope) -> None:
        world.add_provider("r1")
        world.add_provider("r2")
        routes = [{"endpoint": name, "model": "fast"} for name in ("r1", "r2")]
        endpoints = {name: {"url": f"http://{name}.test/v1"} for name in ("r1", "r2")}
        models = {"m": {"routes": routes, "balance": "prefix"}}
        async with world.open_engine({"endpoints": endpoints, "models": models}) as eng:
            with scope:
                for tenant in "ab":
                    await eng.complete("m", "Hi", tenant=tenant, max_tokens=3)
            await wait_quiescent(eng)

    report = cancel_at_every_step(scenario, most=POINTS[tier])
    assert report.points >= min(report.possible, 5)
