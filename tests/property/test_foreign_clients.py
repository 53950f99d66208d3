"""Foreign clients in a world: their mistakes are found, and a right one passes."""

import os

import httpx
import pytest
from hypothesis import seed, settings

from streamnursery.simulator import Cut, Plan
from streamnursery.simulator.script import FAULTS
from streamnursery.testing import World, plans, simulate
from streamnursery.testing.lone_faults import LONE
from tests.support.toy_clients import MISTAKES, ToyClient

TIER = os.environ.get("STREAMNURSERY_TIER", "test")
SEEDS = {"test": 1, "proof": 4, "soak": 100}[TIER]
RIGHT = {"test": 100, "proof": 400, "soak": 10_000}[TIER]
MOST = 100
"""Examples in which a mistake must be found."""

# httpx leaves the generators of a body to the collector when reading ends early.
pytestmark = pytest.mark.filterwarnings("ignore:Async generator 'httpx:ResourceWarning")


def examples_until_found(mistake: str, number: int) -> int | None:
    """How many examples it took; None if it took more than `MOST`."""
    counted = 0

    @simulate(plan=plans())
    async def confront(world: World, plan: Plan) -> None:
        nonlocal counted
        counted += 1
        world.provider.plan = plan
        async with httpx.AsyncClient(transport=world.http.transport) as http:
            await world.http.confront(ToyClient(http, mistake))

    unshrunk = settings(max_examples=MOST, deadline=None, database=None, derandomize=False)
    try:
        seed(number)(unshrunk(confront))()
    except AssertionError:
        return None if counted > MOST else counted
    return None


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_found_within_a_hundred_examples(mistake: str) -> None:
    took = [examples_until_found(mistake, number) for number in range(SEEDS)]
    assert sum(count is not None for count in took) >= 0.95 * SEEDS, took


def test_each_kind_of_fault_comes_alone_within_the_first_sixty() -> None:
    assert {type(fault) for one in LONE for fault in one.script} == set(FAULTS.values())
    assert len(LONE) <= 60


def test_there_are_more_than_twenty_mistakes() -> None:
    assert len(set(MISTAKES)) >= 20


@settings(max_examples=RIGHT, deadline=None)
@simulate(plan=plans())
async def test_a_right_client_raises_no_alarm(world: World, plan: Plan) -> None:
    world.provider.plan = plan
    async with httpx.AsyncClient(transport=world.http.transport) as http:
        await world.http.confront(ToyClient(http))


@simulate(each_fault=True)
async def test_a_right_client_passes_each_fault_at_each_place(world: World, plan: Plan) -> None:
    world.provider.plan = plan
    async with httpx.AsyncClient(transport=world.http.transport) as http:
        await world.http.confront(ToyClient(http))


@pytest.mark.parametrize("name", ["httpx", "httpx2"])
def test_both_editions_of_httpx_are_served_and_their_mistakes_found(name: str) -> None:
    edition = pytest.importorskip(name)

    async def main(world: World, mistake: str) -> None:
        async with edition.AsyncClient(transport=world.http.transport) as http:
            await world.http.confront(ToyClient(http, mistake))

    World(0).run(main, "")
    with pytest.raises(AssertionError, match="a part of an answer, said to be the whole"):
        World(0, plan=Plan.always(Cut(3, how="end"))).run(main, "end_is_success")
