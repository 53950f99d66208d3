"""What the strategies make is valid, and comes in every kind."""

from datetime import timedelta

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import DeadlineExceeded

from streamnursery import ChatRequest, EngineConfig
from streamnursery.simulator import Plan, parse_plan, parse_script
from streamnursery.simulator.fault import NetworkFault
from streamnursery.simulator.grammar import dump_plan, dump_script
from streamnursery.simulator.script import FAULTS, Script
from streamnursery.testing import World, fault_scripts, plans, simulate
from streamnursery.testing.strategies import chunkings, configs, requests


@given(script=fault_scripts())
def test_scripts_can_be_written_down(script: Script) -> None:
    assert parse_script(dump_script(script)) == script


@given(plan=plans())
def test_plans_can_be_written_down(plan: Plan) -> None:
    assert parse_plan(dump_plan(plan)) == plan


def test_real_time_says_nothing_about_a_simulated_test() -> None:
    before = settings.get_current_profile_name()
    hurried = settings(settings.default, deadline=timedelta(microseconds=1), max_examples=3)
    settings.register_profile("hurried", hurried)
    settings.load_profile("hurried")
    try:

        @simulate()
        async def complete(world: World) -> None:
            async with world.open_engine() as eng:
                await eng.complete("fast", "Hello")

    finally:
        settings.load_profile(before)
    complete()
    with pytest.raises(DeadlineExceeded):  # settings of one's own are obeyed
        hurried(complete)()


def test_every_fault_is_drawn() -> None:
    seen: set[str] = set()

    def all_seen(plan: Plan) -> bool:
        seen.update(fault.name for rule in plan.rules for fault in rule.script)
        return seen == FAULTS.keys()

    once = settings(max_examples=2000, phases=[Phase.generate], database=None)
    assert find(plans(max_rules=20), all_seen, settings=once).rules


@given(script=fault_scripts())
def test_a_request_meets_no_fault_of_the_network(script: Script) -> None:
    assert not any(isinstance(fault, NetworkFault) for fault in script)


@given(data=st.binary(max_size=60), draw=st.data())
def test_chunkings_lose_nothing(data: bytes, draw: st.DataObject) -> None:
    pieces = draw.draw(chunkings(data))
    assert b"".join(pieces) == data
    assert all(pieces)


@simulate(config=configs(), request=requests())
async def test_any_request_succeeds_under_any_config(
    world: World, config: EngineConfig, request: ChatRequest
) -> None:
    async with world.open_engine(config) as eng:
        answer = await eng.complete(request)
    assert [choice.text for choice in answer.choices] == [
        world.provider.log[0].intended(index) for index in range(request.n or 1)
    ]
