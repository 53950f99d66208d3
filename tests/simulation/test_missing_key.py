"""An endpoint without its key is passed over, and nothing else suffers."""

from typing import Any

import pytest
import trio

from streamnursery import ConfigError, Rerouted, open_engine
from streamnursery.config import config_from_mapping
from streamnursery.simulator import Plan, Status
from streamnursery.testing import World
from streamnursery.values.events import StreamEvent

WHY = "the environment variable ABSENT_FOR_SURE is not set"


def config(*names: str, **more: Any) -> dict[str, Any]:
    """Model "m" with these routes; "keyless" is an endpoint without its key."""
    urls = {name: {"url": f"http://{name}.test/v1"} for name in ("main", "backup", "keyless")}
    key = {"key": {"env": "ABSENT_FOR_SURE"}}
    return {
        "endpoints": {**urls, "keyless": {**urls["keyless"], **key}},
        "models": {
            "m": {"routes": [{"endpoint": name, "model": "fast"} for name in names], **more},
            "other": {"routes": [{"endpoint": "backup", "model": "fast"}]},
        },
    }


def events(settings: dict[str, Any], main: Plan | None = None) -> tuple[list[StreamEvent], int]:
    """Those of one request, and how many requests reached the keyless endpoint."""

    async def run(world: World) -> tuple[list[StreamEvent], int]:
        world.add_provider("main", plan=main)
        world.add_provider("backup")
        keyless = world.add_provider("keyless")
        async with world.open_engine(settings) as eng, eng.stream("m", "Hi") as stream:
            found = [event async for event in stream]
            return found, len(keyless.log)

    return World(1).run(run)


def reroutes(found: list[StreamEvent]) -> list[Rerouted]:
    return [event for event in found if isinstance(event, Rerouted)]


def test_a_route_without_a_key_is_passed_over() -> None:
    found, asked = events(config("keyless", "backup"))
    assert reroutes(found) == [Rerouted("keyless/fast", "backup/fast", "no key")]
    assert isinstance(found[0], Rerouted)
    assert asked == 0


def test_a_backup_without_a_key_is_left_out_and_the_next_one_taken() -> None:
    settings = config("main", "keyless", "backup", retries={"attempts": 1})
    found, asked = events(settings, Plan.always(Status(503)))
    assert [(e.source, e.target) for e in reroutes(found)] == [("main/fast", "backup/fast")]
    assert asked == 0


def test_a_fallback_model_is_asked_where_no_route_of_the_model_has_a_key() -> None:
    found, asked = events(config("keyless", fallback=["other"]))
    assert reroutes(found) == [Rerouted("keyless/fast", "backup/fast", "no key")]
    assert asked == 0


def test_alone_it_is_a_config_error_when_it_is_used() -> None:
    async def run(world: World) -> None:
        world.add_provider("backup")
        async with world.open_engine(config("keyless")) as eng:
            with pytest.raises(ConfigError, match=f"no key for endpoint 'keyless': {WHY}"):
                await eng.complete("m", "Hi")
            await eng.complete("other", "Hi")

    World(1).run(run)


def test_a_plan_says_what_it_passes_over() -> None:
    async def run(world: World) -> str:
        async with world.open_engine(config("keyless", "backup")) as eng:
            return str(eng.plan("m", "Hi"))

    text = World(1).run(run)
    assert f"left out: keyless/fast for m: no key for endpoint 'keyless': {WHY}" in text
    assert "1. backup/fast" in text


def test_a_balanced_model_never_begins_at_a_route_without_a_key() -> None:
    settings = config("keyless", "main", "backup", balance="p2c")
    found, asked = events(settings)
    assert asked == 0
    assert all(event.why == "no key" for event in reroutes(found))


def test_a_route_to_a_provider_whose_variable_is_not_set_is_no_mistake() -> None:
    routes = [{"endpoint": "deepseek"}, {"endpoint": "main"}]
    mapping = {"endpoints": config()["endpoints"], "models": {"m": {"routes": routes}}}
    found = config_from_mapping(mapping, environ={})
    assert found.endpoints["deepseek"].missing_key == (
        "the environment variable DEEPSEEK_API_KEY is not set"
    )
    with_key = config_from_mapping(mapping, environ={"DEEPSEEK_API_KEY": "canary"})
    assert with_key.endpoints["deepseek"].missing_key == ""


def test_a_mapping_that_does_not_name_openai_says_why_its_variable_serves_nothing() -> None:
    environ = {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}
    unnamed = config_from_mapping({"models": {"m": {"max_streams": 3}}}, environ=environ)
    named = config_from_mapping({"endpoints": {"openai": {}}}, environ=environ)

    async def run() -> None:
        async with open_engine(unnamed) as eng:
            with pytest.raises(ConfigError) as caught:
                await eng.complete("m", "Hi")
            assert "OPENAI_BASE_URL is set" in str(caught.value)
            assert '"endpoints": {"openai": {}}' in str(caught.value)
            assert "did you mean" not in str(caught.value)
        async with open_engine(named) as eng:
            assert [str(stop.route) for stop in eng.plan("any", "Hi").stops] == ["openai/any"]

    trio.run(run)
