"""`models`: what is configured and what is simulated."""

import json

import pytest

from engine.simulator import PROFILES
from tests.support.cli import Command


def test_the_simulated_models_are_always_there(command: Command) -> None:
    listed = json.loads(command("models", "--json").out)
    assert [model["name"] for model in listed["models"]] == [f"sim/{name}" for name in PROFILES]
    assert listed["default_endpoint"] is None


def test_configured_models_come_first_with_routes_and_limits(command: Command) -> None:
    text = (
        '[endpoints.a]\nurl = "http://127.0.0.1:9/v1"\n'
        '[models.falcon]\nroutes = [{ endpoint = "a", model = "f-1" }]\nmax_streams = 3\n'
        'fallback = ["sim/fast"]\n[models.owl]\n[models."sim/fast"]\nmax_streams = 99\n'
    )
    command.write("streamnursery.toml", text)
    falcon, owl, *simulated = json.loads(command("models", "--json").out)["models"]
    assert falcon == {
        "name": "falcon",
        "routes": ["a/f-1"],
        "max_streams": 3,
        "fallback": ["sim/fast"],
    }
    assert owl["routes"] == ["a/owl"]
    assert simulated[-1]["max_streams"] == 99


def test_the_table_has_a_line_for_each(command: Command) -> None:
    ran = command("models")
    assert len(ran.out.splitlines()) == 1 + len(PROFILES)
    assert "OPENAI_API_KEY" in ran.err


def test_the_default_endpoint_is_named(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    assert "any other name goes to openai at http://127.0.0.1:9/v1" in command("models").err
